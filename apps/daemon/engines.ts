/** Opens the engine a node was told to use. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { BrumeError } from '../../core/errors.ts'
import type { Engine, Owner } from '../../roles/agent/engine.ts'
import type { EngineChoice } from '../api.ts'

const SOCKET = '/var/run/docker.sock'

/** null where this node runs no containers. @throws BrumeError as `roles/agent/engine.ts` says. */
export async function openEngine(
  choice: EngineChoice,
  owner: Owner,
  dir: string
): Promise<Engine | null> {
  switch (choice) {
    case 'none':
      return null
    case 'process': {
      const { openProcess } = await import('../../roles/agent/process.ts')
      return openProcess(owner, { dir: join(dir, 'process'), volumesDir: join(dir, 'volumes') })
    }
    case 'docker':
      return openDocker(owner)
    case 'auto':
      return (await mayHaveDocker()) ? openDocker(owner) : null
  }
}

async function openDocker(owner: Owner): Promise<Engine> {
  const { openDocker } = await import('../../roles/agent/docker.ts')
  return openDocker(owner, {})
}

/** A socket without a daemon behind it counts: at boot dockerd may come later than we do. */
async function mayHaveDocker(): Promise<boolean> {
  if (process.env['DOCKER_HOST'] !== undefined) return true
  try {
    await access(SOCKET)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return false
    throw new BrumeError('ENGINE_UNREACHABLE', `${SOCKET} cannot be looked at: ${code}`, {
      cause: error
    })
  }
}
