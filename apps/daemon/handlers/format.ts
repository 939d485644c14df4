import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import type { UpgradeResult } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { mustOperate } from '../world.ts'

export const format = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/upgrade',
    async handle(): Promise<UpgradeResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const from = mesh.state.format
      const to = mesh.oplog.knownFormat
      if (to <= from) return { from, to: from }
      const behind = membersBehind(mesh, to)
      if (behind.length > 0) throw notYet(to, behind)
      await mesh.append([{ type: 'format.activate', format: to, at: Date.now() }])
      return { from, to }
    }
  }
]

/** Names of members that are not lost and do not say that they know the format. */
function membersBehind(mesh: Mesh, format: number): string[] {
  return [...mesh.state.nodes.values()]
    .filter(({ state, lost }) => state === 'member' && !lost)
    .filter(({ id }) => (mesh.gossip.get(id, 'facts')?.body.format ?? 0) < format)
    .map(({ displayName }) => displayName)
}

const notYet = (format: number, behind: string[]): BrumeError =>
  new BrumeError(
    'UPGRADE_WAITS',
    `format ${format} is not known on every member: ${behind.join(', ')} would stop understanding the mesh`,
    { next: 'upgrade brume there first, or give up who will not come back: brume node lost NAME' }
  )
