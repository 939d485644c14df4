/**
 * Who may be reached where: a pure function of what is placed and what nodes report. A replica that
 * is not alive and well is in no answer.
 */
import type { ContainerStatus, StatusBody } from '../../core/gossip-records.ts'
import type { Port } from '../../core/state/microservices.ts'
import { allowedBy } from '../../core/state/policies.ts'
import { isGateway } from '../../core/state/services.ts'
import { slotKey, type State } from '../../core/state/state.ts'

/** A replica that serves; of an outside service a node that dials it. */
export interface Replica {
  application: string
  microservice: string
  /** Of an outside service the node's place among all that dial it. */
  slot: number
  /** Node id. */
  node: string
  /** Another one is to take its place: it is last. */
  leaving: boolean
}

export interface Service {
  application: string
  microservice: string
  /** What it publishes, and what a running image of it says it listens on. */
  ports: Pick<Port, 'container' | 'protocol'>[]
  /** Who of other applications may reach it: APP or APP/MICROSERVICE. */
  allow: readonly string[]
  /** Where it is, of one that is outside the mesh. */
  outside: string | null
  /** By slot. */
  replicas: Replica[]
}

export const serviceKey = (of: { application: string; microservice: string }): string =>
  `${of.application}/${of.microservice}`

/** By `serviceKey`; one that has no replica is in it too. */
export type Directory = ReadonlyMap<string, Service>

export interface DirectoryInput {
  state: Pick<State, 'microservices' | 'placements' | 'services' | 'nodes'>
  alive: ReadonlySet<string>
  status: ReadonlyMap<string, StatusBody>
}

export function directory({ state, alive, status }: DirectoryInput): Directory {
  const services = new Map<string, Service>()
  for (const [key, { application, name, spec }] of state.microservices) {
    const ports = spec.ports.map(({ container, protocol }) => ({ container, protocol }))
    const allow = allowedBy(spec)
    const service = { application, microservice: name, ports, allow, outside: null, replicas: [] }
    services.set(key, service)
  }
  for (const node of alive) {
    for (const container of status.get(node)?.containers ?? []) {
      const { application, microservice, slot } = container
      const key = `${application}/${microservice}`
      const checked = (state.microservices.get(key)?.spec.healthcheck ?? null) !== null
      if (!serves(container, checked)) continue
      const placed = state.placements.get(slotKey(container))
      // What is asked for no more is on its way out.
      if (placed === undefined) continue
      const leaving = placed.node !== node || container.state === 'retiring'
      const service = services.get(key)
      service?.replicas.push({ application, microservice, slot, node, leaving })
      for (const port of container.exposes ?? []) if (service !== undefined) addPort(service, port)
    }
  }
  for (const service of outside(state, alive)) {
    // On two sides of a split somebody may have named both the same.
    const key = serviceKey(service)
    if (!services.has(key)) services.set(key, service)
  }
  for (const { ports, replicas } of services.values()) {
    ports.sort((a, b) => a.container - b.container || (a.protocol < b.protocol ? -1 : 1))
    replicas.sort(bySlot)
  }
  return services
}

function outside(
  { services, nodes }: Pick<State, 'services' | 'nodes'>,
  alive: ReadonlySet<string>
): Service[] {
  const inOrder = [...nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  return [...services.values()].map(({ application, name, spec }) => {
    const named = { application, microservice: name }
    const ports = spec.ports.map(({ port, protocol }) => ({ container: port, protocol }))
    const replicas = inOrder
      .filter((node) => isGateway(spec, node))
      .map(({ id }, slot): Replica => ({ ...named, slot, node: id, leaving: false }))
      .filter(({ node }) => alive.has(node))
    return { ...named, ports, allow: spec.allow, outside: spec.host, replicas }
  })
}

function addPort({ ports }: Service, { container, protocol }: Service['ports'][number]): void {
  const isKnown = ports.some((each) => each.container === container && each.protocol === protocol)
  if (!isKnown) ports.push({ container, protocol })
}

/** One that is checked serves once a check said so. */
const serves = ({ state, healthy }: ContainerStatus, checked: boolean): boolean =>
  (state === 'running' || state === 'retiring') && (checked ? healthy === true : healthy !== false)

const bySlot = (a: Replica, b: Replica): number =>
  a.slot - b.slot || Number(a.leaving) - Number(b.leaving) || (a.node < b.node ? -1 : 1)

/** What the choice among replicas goes by. */
export interface Vicinity {
  /** This node. */
  self: string
  /** null where it has none. */
  zoneOf: (node: string) => string | null
  /** null where no link tells. */
  rttMs: (node: string) => number | null
  /** Under way from here. */
  flowsTo: (replica: Replica) => number
  /** It kept the last flow waiting. */
  isDoubtful: (node: string) => boolean
}

/** In the order in which they are tried: here, in my zone, over the quickest link, least used. */
export function nearestFirst(replicas: readonly Replica[], vicinity: Vicinity): Replica[] {
  const { self, zoneOf, rttMs, flowsTo, isDoubtful } = vicinity
  const mine = zoneOf(self)
  const rank = (replica: Replica): number[] => [
    Number(replica.leaving),
    Number(isDoubtful(replica.node)),
    Number(replica.node !== self),
    Number(mine === null || zoneOf(replica.node) !== mine),
    roughly(rttMs(replica.node) ?? Infinity),
    flowsTo(replica),
    replica.slot
  ]
  const ranked = replicas.map((replica) => ({ replica, rank: rank(replica) }))
  ranked.sort((a, b) => compare(a.rank, b.rank))
  return ranked.map(({ replica }) => replica)
}

/** What its place among the others comes from, in words. */
export function placeOf(replica: Replica, vicinity: Vicinity): string {
  const { self, zoneOf, rttMs, flowsTo, isDoubtful } = vicinity
  const { node, leaving } = replica
  if (leaving) return 'about to end: only where nobody else serves'
  if (isDoubtful(node)) return 'kept a flow waiting a moment ago: tried last'
  if (node === self) return 'runs here'
  const zone = zoneOf(self)
  const rtt = rttMs(node)
  const flows = flowsTo(replica)
  return [
    ...(zone !== null && zoneOf(node) === zone ? [`in zone ${zone} as well`] : []),
    rtt === null ? 'no link tells how far' : `${Number(rtt.toFixed(2))} ms away`,
    ...(flows > 0 ? [`${flows} under way`] : [])
  ].join(', ')
}

/** Steps of a factor of two from a millisecond on: links that differ by less share the work. */
const roughly = (ms: number): number => Math.max(0, Math.ceil(Math.log2(ms)))

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, x] of a.entries()) {
    const y = b[i] ?? 0
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}
