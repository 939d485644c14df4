import type { BundleResult } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { mustOperate } from '../world.ts'

export const bundles = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/bundles',
    async handle(request): Promise<BundleResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      return await mesh.bundles.put(request.body)
    }
  }
]
