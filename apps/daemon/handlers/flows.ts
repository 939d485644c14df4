import { BrumeError } from '../../../core/errors.ts'
import type { ForwardJson } from '../../api.ts'
import { serviceKey } from '../../../roles/connector/directory.ts'
import type { Daemon } from '../daemon.ts'
import { serviceOf } from '../references.ts'
import type { Route } from '../socket.ts'
import { mustOperate, nodeName } from '../world.ts'

/** A person's flows to a replica, from any node. */
export const flowRoutes = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/flows/target',
    async handle({ query }): Promise<ForwardJson> {
      const { mesh, node } = daemon.member()
      mustOperate(mesh)
      const { application, microservice, slot } = serviceOf(mesh.state, query.get('ref') ?? '')
      const service = node.directory().get(serviceKey({ application, microservice }))
      return {
        application,
        microservice,
        slot,
        ports: service?.ports ?? [],
        replicas: (service?.replicas ?? [])
          .filter((replica) => (slot ?? replica.slot) === replica.slot)
          .map((replica) => ({ slot: replica.slot, node: nodeName(mesh.state, replica.node) }))
      }
    }
  },
  {
    method: 'GET',
    path: '/flows',
    async handle({ query }) {
      const { mesh, node } = daemon.member()
      mustOperate(mesh)
      const target = serviceOf(mesh.state, query.get('ref') ?? '')
      const port = Number(query.get('port'))
      if (!Number.isInteger(port) || port < 1 || port > 65_535) {
        throw new BrumeError('BAD_REQUEST', 'expected a port from 1 to 65535')
      }
      const protocol = query.get('protocol') ?? 'tcp'
      if (protocol !== 'tcp' && protocol !== 'udp') {
        throw new BrumeError('BAD_REQUEST', 'expected the protocol tcp or udp')
      }
      return { attach: await node.flows.open({ ...target, port, protocol, from: null }) }
    }
  }
]
