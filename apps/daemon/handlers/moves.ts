/** Replicas that go elsewhere because a person says so: a wish in the oplog, which the leader heeds. */
import { BrumeError } from '../../../core/errors.ts'
import type { Op } from '../../../core/state/index.ts'
import { isStopped } from '../../../core/state/policies.ts'
import { slotKey } from '../../../core/state/state.ts'
import type { MoveRequest, RebalanceResult, ReplicaJson } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import { resolveNode } from '../references.ts'
import { replicas, toReplicaJson } from '../replicas.ts'
import type { Route } from '../socket.ts'
import { mustKnowFormat, mustOperate, nodeName, offlineNodes, replicaWorld } from '../world.ts'

export const moves = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/replicas/:application/:microservice/:slot/move',
    async handle(request): Promise<ReplicaJson> {
      const member = daemon.member()
      const { mesh } = member
      mustOperate(mesh)
      mustKnowFormat(mesh, 'moving replicas')
      const { application = '', microservice = '', slot: text = '' } = request.params
      const slot = Number(text)
      const key = slotKey({ application, microservice, slot })
      const { placements, homes, microservices } = mesh.state
      const spec = microservices.get(`${application}/${microservice}`)?.spec
      const isAsked = spec !== undefined && !isStopped(spec) && slot < Number(spec.replicas)
      // What waits for the node with its volumes can go elsewhere, too.
      if (!placements.has(key) && !(isAsked && homes.has(key))) {
        throw new BrumeError('UNKNOWN_REFERENCE', `there is no replica "${key}" that runs`, {
          next: 'brume ps'
        })
      }
      const { node: name } = await request.json<MoveRequest>()
      const node = name === null ? null : memberNamed(mesh.state, name).id
      const op: Op = { type: 'slot.move', application, microservice, slot, node, at: Date.now() }
      await mesh.append([op])
      const row = replicas(replicaWorld(member)).find(
        (r) => slotKey(r) === key && r.wanted !== null
      )
      if (row === undefined) throw new BrumeError('UNKNOWN_REFERENCE', `${key} is gone meanwhile`)
      return toReplicaJson(row)
    }
  },
  {
    method: 'POST',
    path: '/rebalance',
    async handle({ query }): Promise<RebalanceResult> {
      const { mesh, node } = daemon.member()
      mustOperate(mesh)
      mustKnowFormat(mesh, 'moving replicas')
      const found = node.rebalance()
      if (query.get('dry-run') !== '1' && found.length > 0) {
        const at = Date.now()
        await mesh.append(
          found.map(({ application, microservice, slot, to }): Op => {
            return { type: 'slot.move', application, microservice, slot, node: to, at }
          })
        )
      }
      const shown = found.map(({ from, to, ...slot }) => ({
        ...slot,
        from: nodeName(mesh.state, from),
        to: nodeName(mesh.state, to)
      }))
      return { moves: shown, offline: offlineNodes(mesh) }
    }
  }
]

function memberNamed(state: Parameters<typeof resolveNode>[0], name: string) {
  const node = resolveNode(state, name)
  if (node.state === 'member') return node
  throw new BrumeError('NODE_REMOVED', `${node.displayName} is ${node.state}, not a member`, {
    next: 'brume nodes'
  })
}
