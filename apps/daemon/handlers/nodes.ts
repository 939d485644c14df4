import type { NodeRecord } from '../../../core/state/state.ts'
import { LOST_AFTER_MS } from '../../../roles/node.ts'
import type { NodeJson } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'

export const nodes = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/nodes',
    async handle(): Promise<NodeJson[]> {
      const { mesh } = daemon.member()
      const alive = mesh.alive()
      const silent = mesh.silent(alive)
      const heard = mesh.lastHeardMs()
      return [...mesh.state.nodes.values()].map((record) => {
        const facts = mesh.gossip.get(record.id, 'facts')?.body ?? null
        return {
          name: record.displayName,
          id: record.id,
          role: record.role,
          labels: record.labels,
          engine: facts?.engine.kind ?? null,
          state: stateOf(record, alive.has(record.id), silent.get(record.id) ?? Infinity),
          version: facts?.version ?? null,
          lastHeardMs: record.id === mesh.self ? 0 : (heard.get(record.id) ?? null)
        }
      })
    }
  }
]

function stateOf(record: NodeRecord, alive: boolean, silentMs: number): NodeJson['state'] {
  if (record.state !== 'member') return record.state
  if (alive) return 'alive'
  return silentMs < LOST_AFTER_MS ? 'silent' : 'lost'
}
