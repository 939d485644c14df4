import { diskProblem } from '../../../core/disk.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { quorumOf } from '../../../core/state/recover.ts'
import type { RunningNode } from '../../../roles/node.ts'
import type {
  FlowsJson,
  InitRequest,
  JoinRequest,
  LeaveRequest,
  StatusJson,
  StopResult
} from '../../api.ts'
import { VERSION } from '../../version.ts'
import type { Daemon } from '../daemon.ts'
import { conflictCount } from './conflicts.ts'
import { withProgress, type Route } from '../socket.ts'

export const mesh = (daemon: Daemon): Route[] => [
  { method: 'GET', path: '/status', handle: async () => status(daemon) },
  {
    method: 'POST',
    path: '/init',
    async handle(request) {
      const body = await request.json<InitRequest>()
      return withProgress(() => daemon.init(body))
    }
  },
  {
    method: 'POST',
    path: '/join',
    async handle(request) {
      const body = await request.json<JoinRequest>()
      return withProgress((report) => daemon.join(body, report))
    }
  },
  {
    method: 'POST',
    path: '/leave',
    async handle(request) {
      const body = await request.json<LeaveRequest>()
      return withProgress((report) => daemon.leave({ force: body.force === true }, report))
    }
  },
  {
    method: 'POST',
    path: '/stop',
    async handle() {
      setImmediate(() => daemon.requestStop())
      return { stopped: true, pid: process.pid } satisfies StopResult
    }
  }
]

async function status(daemon: Daemon): Promise<StatusJson> {
  const { mesh, node, events } = daemon.member()
  const { lease, nodes, fork } = mesh.state
  const leads = lease !== null && mesh.alive().has(lease.node)
  return {
    name: mesh.me?.displayName ?? mesh.membership.name,
    id: mesh.self,
    mesh: mesh.membership.paper.mesh,
    peers: mesh.links.ids.length,
    engine: node.engine(),
    names: node.names(),
    exposed: node.exposed(),
    flows: flowsJson(node),
    oplog: mesh.oplog.lengths(),
    ...confirmation(mesh),
    fork: { epoch: fork.epoch, ahead: mesh.follower.ahead() !== null },
    format: { active: mesh.state.format, known: mesh.oplog.knownFormat },
    leader: leads ? (nodes.get(lease.node)?.displayName ?? null) : null,
    term: lease?.term ?? 0,
    leaderSince: events.all.findLast(({ kind }) => kind === 'leader')?.at ?? null,
    election: node.election(),
    version: VERSION,
    role: mesh.me?.role ?? 'viewer',
    pid: process.pid,
    uptimeMs: Date.now() - daemon.startedAt,
    dataDir: daemon.dir,
    actors: node.actors(),
    refusedOps: mesh.oplog.refused.size,
    conflicts: await conflictCount(mesh),
    droppedOps: [...mesh.state.dropped.values()].reduce((sum, n) => sum + n, 0),
    locked: mesh.state.mesh?.locked ?? false,
    refusal: mesh.refusal?.message ?? null,
    disk: (await diskProblem(daemon.dir))?.message ?? null,
    asksForOwnEnd: mesh.oplog.held
  }
}

const flowsJson = ({ flows }: RunningNode): FlowsJson[] =>
  [...flows.figures()].map(([key, figures]) => {
    const [application = '', microservice = ''] = key.split('/')
    return { application, microservice, ...figures }
  })

function confirmation(mesh: Mesh): Pick<StatusJson, 'indexers' | 'quorum' | 'stalled'> {
  const alive = mesh.alive()
  const indexers = mesh.state.indexers.map((id) => ({
    name: mesh.state.nodes.get(id)?.displayName ?? id,
    alive: alive.has(id)
  }))
  const quorum = quorumOf(indexers.length)
  const missing = indexers.filter((one) => !one.alive).map(({ name }) => name)
  const { confirmed, tentative } = mesh.oplog.lengths()
  const stalls = indexers.length - missing.length < quorum && tentative > confirmed
  return { indexers, quorum, stalled: stalls ? { changes: tentative - confirmed, missing } : null }
}
