import { BrumeError } from '../../../core/errors.ts'
import type { NetJson, ServiceNetJson, ServiceReplicaJson } from '../../api.ts'
import { serviceKey } from '../../../roles/connector/directory.ts'
import { exposedOf } from '../../../roles/node/world.ts'
import type { Daemon, Member } from '../daemon.ts'
import { exposedRows } from '../exposed.ts'
import { serviceOf } from '../references.ts'
import type { Route } from '../socket.ts'
import { nodeName } from '../world.ts'

export const net = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/net',
    handle: async (): Promise<NetJson[]> => daemon.member().mesh.network()
  },
  {
    method: 'GET',
    path: '/net/service',
    async handle({ query }): Promise<ServiceNetJson> {
      const member = daemon.member()
      const { application, microservice } = serviceOf(member.mesh.state, query.get('ref') ?? '')
      const service = member.node.directory().get(serviceKey({ application, microservice }))
      if (service === undefined) {
        throw new BrumeError('NOT_READY', `${application}/${microservice} was deployed just now`, {
          next: 'ask again in a second'
        })
      }
      const replicas = replicasOf(member, member.node.flows.order(service))
      const name = `${microservice}.${application}.brume`
      const told = { state: member.mesh.state, alive: member.mesh.alive() }
      const key = serviceKey({ application, microservice })
      const exposed = exposedRows(key, { ...told, exposed: exposedOf(member.mesh) })
      return { application, microservice, name, ports: service.ports, replicas, exposed }
    }
  }
]

function replicasOf(
  { mesh }: Member,
  order: ReturnType<Member['node']['flows']['order']>
): ServiceReplicaJson[] {
  const rows = new Map(mesh.network().map((row) => [row.id, row]))
  return order.map(({ replica: { slot, node }, flows, why }) => {
    const row = rows.get(node)
    const { path, via } = row?.tunnel ?? row ?? { path: 'down' as const, via: null }
    const name = nodeName(mesh.state, node)
    return { slot, node: name, path, via, rttMs: row?.rttMs ?? null, flows, why }
  })
}
