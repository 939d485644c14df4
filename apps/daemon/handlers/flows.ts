import { BrumeError } from '../../../core/errors.ts'
import type { State } from '../../../core/state/state.ts'
import type { ForwardJson, RefJson } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import { resolve } from '../references.ts'
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
      const { application, microservice, slot } = serviceOf(mesh.state, query)
      const service = node.directory().get(`${application}/${microservice}`)
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
      const target = serviceOf(mesh.state, query)
      const port = Number(query.get('port'))
      if (!Number.isInteger(port) || port < 1 || port > 65_535) {
        throw new BrumeError('BAD_REQUEST', 'expected a port from 1 to 65535')
      }
      return { attach: await node.flows.open({ ...target, port, from: null }) }
    }
  }
]

/** @throws BrumeError as `resolve`, and BAD_REFERENCE for a whole application of many. */
function serviceOf(state: State, query: URLSearchParams): RefJson & { microservice: string } {
  const text = query.get('ref') ?? ''
  const ref = resolve(state, text)
  if (ref.microservice !== null) return { ...ref, microservice: ref.microservice }
  const names = [...state.microservices.values()]
    .filter(({ application }) => application === ref.application)
    .map(({ name }) => name)
  const [only, ...others] = names
  if (only !== undefined && others.length === 0) return { ...ref, microservice: only }
  throw new BrumeError(
    'BAD_REFERENCE',
    `"${text}" is an application of ${names.length} microservices`,
    {
      next: `say which, e.g. ${ref.application}/${only ?? 'NAME'}`
    }
  )
}
