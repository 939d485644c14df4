import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import type { KeyJson, LockJson } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { mustBeAdmin } from '../world.ts'

export const keys = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/key',
    handle: async (): Promise<KeyJson> => ({ key: await daemon.member().mesh.keyRing.show() })
  },
  {
    method: 'POST',
    path: '/key/rotate',
    async handle(): Promise<KeyJson> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const { rotation, seals } = mesh.keyRing.rotation()
      await mesh.append([{ type: 'key.rotate', rotation, at: Date.now() }, ...seals])
      return { key: await mesh.keyRing.show() }
    }
  },
  {
    method: 'POST',
    path: '/lock',
    async handle(): Promise<LockJson> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const saw = members(mesh)
      if (!isLocked(mesh)) await mesh.append([{ type: 'mesh.lock', saw, at: Date.now() }])
      return { locked: isLocked(mesh) }
    }
  },
  {
    method: 'POST',
    path: '/unlock',
    async handle(): Promise<LockJson> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      if (isLocked(mesh)) await mesh.append([{ type: 'mesh.unlock', at: Date.now() }])
      return { locked: isLocked(mesh) }
    }
  }
]

const isLocked = ({ state }: Mesh): boolean => state.mesh?.locked ?? false

function members({ state }: Mesh): string[] {
  const ids = [...state.nodes.values()].filter((n) => n.state === 'member').map(({ id }) => id)
  if (ids.length <= 4096) return ids
  throw new BrumeError('TOO_MANY_NODES', `a mesh of ${ids.length} nodes cannot be locked`)
}
