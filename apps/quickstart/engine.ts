/** Which engine the three nodes get, decided once and said aloud. */
import { BrumeError } from '../../core/errors.ts'
import { defaultSocket } from '../../roles/agent/docker.ts'
import { ensureNodeImage } from './base-image.ts'

export type EngineKind = 'docker' | 'process'

export interface ChosenEngine {
  kind: EngineKind
  /** Why this one: a sentence for the person who waits. */
  because: string
}

/** What `apps/examples/hello` asks for. */
export const IMAGE = 'local/node:20'

/**
 * Docker with its base image in place if its socket answers, child processes otherwise. Makes the
 * image, of this machine's own node: seconds, once.
 *
 * @throws BrumeError of the engine where `asked` is docker and it cannot be used.
 */
export async function chooseEngine(asked: EngineKind | null): Promise<ChosenEngine> {
  if (asked === 'process') return { kind: 'process', because: 'as asked for' }
  try {
    await ensureNodeImage(defaultSocket(), IMAGE)
    return {
      kind: 'docker',
      because: `its socket answers; ${IMAGE} is made of this machine's node`
    }
  } catch (error) {
    if (asked === 'docker' || !(error instanceof BrumeError)) throw error
    return { kind: 'process', because: `no Docker here: ${error.message}` }
  }
}
