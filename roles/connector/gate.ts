/** What a flow is asked for, and whether who asks may have it: pure. */
import { BrumeError } from '../../core/errors.ts'
import type { StatusBody } from '../../core/gossip-records.ts'
import { exposuresOf, isOpenOn } from '../../core/state/exposures.ts'
import { allowedBy } from '../../core/state/policies.ts'
import { isGateway } from '../../core/state/services.ts'
import { name } from '../../core/state/names.ts'
import { integer, literal, nullable, object, type Infer } from '../../core/state/shape.ts'
import { atLeast, type ServiceRecord, type State } from '../../core/state/state.ts'

const microservice = object({ application: name, microservice: name })

/** What a flow is for: the first word of who opens it. */
export const flowHead = object({
  to: object({ application: name, microservice: name, slot: integer(0, 99_999) }),
  /** Of the container. */
  port: integer(1, 65_535),
  protocol: literal('tcp', 'udp'),
  /** The microservice that asks; null for a person at that node, or whoever uses a port it opens. */
  from: nullable(microservice)
})
export type FlowHead = Infer<typeof flowHead>

export interface GateWorld {
  /** This node, which is asked. */
  self: string
  state: Pick<State, 'nodes' | 'placements' | 'microservices' | 'services'>
  /** What each node reports of its containers. */
  status: ReadonlyMap<string, StatusBody>
}

/** Why a flow is not let in; null where it is. */
export function refusal(from: string, head: FlowHead, world: GateWorld): BrumeError | null {
  const { to, port } = head
  const target = `${to.application}/${to.microservice}`
  const service = outsideOf(to, world)
  const refused = service === null ? null : offered(service, head, world)
  if (refused !== null) return refused
  if (head.from === null) {
    const role = world.state.nodes.get(from)?.role ?? 'viewer'
    if (atLeast(role, 'operator') || opens(from, head, world)) return null
    return new BrumeError('FORBIDDEN', `a ${role} node opens no flow to ${target}:${port}`)
  }
  const asker = `${head.from.application}/${head.from.microservice}`
  if (!runsOn(from, head.from, world)) {
    return new BrumeError('FORBIDDEN', `${asker} does not run on the node that speaks for it`)
  }
  const spec = world.state.microservices.get(target)?.spec
  const allow = spec === undefined ? (service?.spec.allow ?? []) : allowedBy(spec)
  if (mayReach(head.from, { application: to.application, allow })) return null
  return new BrumeError(
    'FORBIDDEN',
    `${asker} may not reach ${target}: it is of another application`,
    { next: `\`allow: [${asker}]\` at ${target} lets it` }
  )
}

/** The service outside the mesh that is meant; a microservice of that name goes before it. */
export function outsideOf(
  { application, microservice }: { application: string; microservice: string },
  { state }: { state: Pick<State, 'microservices' | 'services'> }
): ServiceRecord | null {
  const key = `${application}/${microservice}`
  return state.microservices.has(key) ? null : (state.services.get(key) ?? null)
}

/** Behind a gateway is a whole network: only what is named of it may be dialled, and by whom it is said. */
function offered(
  { application, name, spec }: ServiceRecord,
  { port, protocol }: FlowHead,
  { self, state }: GateWorld
): BrumeError | null {
  const target = `${application}/${name}`
  const me = state.nodes.get(self)
  if (me === undefined || !isGateway(spec, me)) {
    return new BrumeError('REPLICA_NOT_HERE', `${target} is not dialled from here`)
  }
  if (spec.ports.some((each) => each.port === port && each.protocol === protocol)) return null
  return new BrumeError('PORT_CLOSED', `${target} has no port ${port}/${protocol}`)
}

/** Whether the view has that node open a port for that one. */
function opens(node: string, { to, port, protocol }: FlowHead, { state }: GateWorld): boolean {
  const spec = state.microservices.get(`${to.application}/${to.microservice}`)?.spec
  if (spec === undefined || protocol !== 'tcp') return false
  const record = state.nodes.get(node)
  return exposuresOf(spec).some((each) => each.to === port && isOpenOn(each, record))
}

/** One of the same application, or one that is let in, by the name of its application or its own. */
export function mayReach(
  from: NonNullable<FlowHead['from']>,
  to: { application: string; allow: readonly string[] }
): boolean {
  if (from.application === to.application) return true
  const { application, microservice } = from
  return to.allow.some((each) => each === application || each === `${application}/${microservice}`)
}

/** Placed there, or reported from there as on its way out. */
function runsOn(
  node: string,
  { application, microservice }: NonNullable<FlowHead['from']>,
  { state, status }: GateWorld
): boolean {
  const isIt = (other: { application: string; microservice: string }): boolean =>
    other.application === application && other.microservice === microservice
  for (const placement of state.placements.values()) {
    if (placement.node === node && isIt(placement)) return true
  }
  return status.get(node)?.containers.some(isIt) ?? false
}
