import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { survey } from '../../../core/state/recover.ts'
import type { NodeRecord } from '../../../core/state/state.ts'
import type { RecoverPlan, RecoverRequest, RecoverResult } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'

export const recover = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/recover',
    async handle(): Promise<RecoverPlan> {
      const { mesh } = daemon.member()
      mustAdminister(mesh)
      return plan(mesh)
    }
  },
  {
    method: 'POST',
    path: '/recover',
    async handle(request): Promise<RecoverResult> {
      const { mesh } = daemon.member()
      mustAdminister(mesh)
      const { minority } = await request.json<RecoverRequest>()
      const { confirms, members, reached, unreached, ...rest } = plan(mesh)
      if (confirms) throw nothingLost()
      if (rest.minority && minority !== true) throw tooFew(members, reached, unreached)
      await mesh.recover()
      return { epoch: mesh.oplog.fork.epoch, reached, members }
    }
  }
]

function plan(mesh: Mesh): RecoverPlan {
  const alive = mesh.alive()
  const { members, reached, most, confirming, quorum } = survey(mesh.state, alive)
  const names = (nodes: NodeRecord[]): string[] => nodes.map(({ displayName }) => displayName)
  const indexers = mesh.state.indexers.flatMap((id) => mesh.state.nodes.get(id) ?? [])
  return {
    confirms: confirming >= quorum && confirming > 0,
    missing: names(indexers.filter(({ id }) => !alive.has(id))),
    members: members.length,
    reached: reached.length,
    unreached: names(members.filter(({ id }) => !alive.has(id))),
    minority: !most
  }
}

function mustAdminister(mesh: Mesh): void {
  const role = mesh.me?.role
  if (role === 'admin') return
  throw new BrumeError(
    'FORBIDDEN',
    `this node is a ${role ?? 'stranger'}: only an admin recovers a mesh`,
    { next: 'run the command on an admin node (see `brume nodes`)' }
  )
}

const nothingLost = (): BrumeError =>
  new BrumeError(
    'RECOVER_NOT_NEEDED',
    'enough of the nodes that confirm are in reach: nothing is to be recovered',
    { next: 'brume status' }
  )

const tooFew = (members: number, reached: number, unreached: string[]): BrumeError =>
  new BrumeError(
    'RECOVER_MINORITY',
    `${reached} of ${members} members are in reach, which is not more than half: the others (${listed(unreached)}) may be going on without this side`,
    {
      next: 'say which will not come back with `brume node lost NAME`, or go on with `brume recover --minority`'
    }
  )

const listed = (names: string[]): string =>
  names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')}, …`
