/** Which engine the three nodes get, decided once and said aloud. */
import { BrumeError } from '../../core/errors.ts'
import { defaultSocket } from '../../roles/agent/docker/connection.ts'
import { hasImage } from '../../roles/agent/docker/images.ts'
import { tryRules } from '../../roles/connector/packet-rules.ts'
import { ensureNodeImage } from './base-image.ts'

export type EngineKind = 'docker' | 'process'

export interface ChosenEngine {
  kind: EngineKind
  /** Why this one: a sentence for the person who waits. */
  because: string
}

/** What the examples ask for. */
export const IMAGE = 'local/node:20'

/**
 * Docker with its base image in place if its socket answers and containers can have names, child
 * processes otherwise. Makes the image, of this machine's own node: seconds, once.
 *
 * @throws BrumeError of the engine where `asked` is docker and it cannot be used.
 */
export async function chooseEngine(asked: EngineKind | null): Promise<ChosenEngine> {
  if (asked === 'process') return { kind: 'process', because: 'as asked for' }
  const socket = defaultSocket()
  try {
    await hasImage(socket, IMAGE)
  } catch (error) {
    if (asked === 'docker' || !(error instanceof BrumeError)) throw error
    return { kind: 'process', because: `no Docker here: ${error.message}` }
  }
  try {
    await tryRules()
  } catch (error) {
    if (!(error instanceof BrumeError)) throw error
    if (asked !== 'docker') return { kind: 'process', because: `not Docker: ${error.message}` }
    throw new BrumeError(error.code, error.message, {
      next: 'as root, with `ip` and `iptables`; or npm run quickstart -- --engine process'
    })
  }
  await ensureNodeImage(socket, IMAGE)
  return { kind: 'docker', because: `its socket answers; ${IMAGE} is made of this machine's node` }
}
