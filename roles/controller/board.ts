/**
 * What a plan is made on: nodes with what is placed on them, microservices with their slots, and who
 * runs what. It changes as a plan is made; what it began from, and what it was given, do not.
 */
import type {
  ContainerStatus,
  FactsBody,
  HoldsBody,
  StatusBody
} from '../../core/gossip-records.ts'
import { exposuresOf, isOpenOn, type Exposure } from '../../core/state/exposures.ts'
import { placingOf } from '../../core/state/policies.ts'
import { recordAt, rolloutOf } from '../../core/state/rollouts.ts'
import {
  microserviceKey,
  slotKey,
  type MicroserviceRecord,
  type NodeRecord,
  type PlacementMove,
  type State
} from '../../core/state/state.ts'
import { MAX_VOLUMES_TOLD, volumeNames } from '../../core/state/volumes.ts'
import {
  ADOPTS,
  fixedPorts,
  hasNoEngine,
  KEEPS,
  milliCpus,
  READY,
  refusing,
  ROOM,
  type NodeUse,
  type Spot
} from './constraints.ts'
import { Holders } from './holders.ts'
import type { Wave } from './rollout.ts'

export interface Slot {
  application: string
  microservice: string
  slot: number
}

export interface Placed extends Slot {
  /** Node id. */
  node: string
  revision: string
  moved?: PlacementMove
}

/** A microservice and its slots. */
export interface Service {
  key: string
  record: MicroserviceRecord
  /** Where a rollout says whose turn it is. */
  wave: Wave | null
  /** By slot number. */
  placed: Map<number, Placed>
}

export interface BoardInput {
  state: State
  alive: ReadonlySet<string>
  silentMs: ReadonlyMap<string, number>
  facts: ReadonlyMap<string, FactsBody>
  status: ReadonlyMap<string, StatusBody>
  holds: ReadonlyMap<string, HoldsBody>
  waves: ReadonlyMap<string, Wave>
}

interface Use extends NodeUse {
  ports: Map<string, number>
  replicas: Map<string, number>
}

/** Replicas of one microservice by the label they are spread over; made where somebody asks. */
type Counts = Map<string, number>

export class Board {
  /** By id. */
  readonly spots: (Spot & { use: Use })[]
  /** By name. */
  readonly services: Service[]
  readonly #state: State
  readonly #spotOf = new Map<string, Spot & { use: Use }>()
  /** Containers by node id, and by microservice. */
  readonly #containers: ReadonlyMap<string, ReadonlyMap<string, readonly ContainerStatus[]>>
  readonly #status: ReadonlyMap<string, StatusBody>
  readonly #failing = new Set<string>()
  readonly #counts = new Map<Service, Counts>()
  readonly #present = new Map<Service, boolean>()
  readonly #eligible = new Map<MicroserviceRecord, Spot[]>()

  constructor({ state, alive, silentMs, facts, status, holds, waves }: BoardInput) {
    this.#state = state
    this.#status = status
    this.#containers = new Map([...status].map(([node, body]) => [node, indexOf(body)]))
    const nodes = [...state.nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
    const exposures = [...state.microservices.values()].flatMap(({ spec }) => exposuresOf(spec))
    const holders = new Holders({ state, alive, silentMs, holds })
    this.spots = nodes.map((node) => ({
      node,
      facts: facts.get(node.id) ?? null,
      isAlive: alive.has(node.id),
      silentMs: alive.has(node.id) ? null : (silentMs.get(node.id) ?? null),
      exposed: exposedOn(node, exposures),
      holders,
      use: { slots: 0, milliCpus: 0, memoryBytes: 0, ports: new Map(), replicas: new Map() }
    }))
    for (const spot of this.spots) this.#spotOf.set(spot.node.id, spot)
    for (const [node, body] of status) {
      for (const revision of body.failing) this.#failing.add(`${node} ${revision}`)
    }
    const services = new Map<string, Service>()
    for (const [key, record] of state.microservices) {
      services.set(key, { key, record, wave: waves.get(key) ?? null, placed: new Map() })
    }
    for (const placed of state.placements.values()) {
      const service = services.get(`${placed.application}/${placed.microservice}`)
      // Apply leaves no placement of what is not asked for, nor on a node nobody knows.
      if (service === undefined || !this.#spotOf.has(placed.node)) continue
      const { replicas } = service.record.spec
      if (replicas !== 'all' && placed.slot >= replicas) continue
      this.put(service, placed)
    }
    this.services = [...services.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** A node that may be gone from the mesh. */
  spotIfAny(id: string): Spot | null {
    return this.#spotOf.get(id) ?? null
  }

  spot(id: string): Spot {
    const found = this.#spotOf.get(id)
    if (found === undefined) throw new Error(`no node ${id}`)
    return found
  }

  put(service: Service, placed: Placed): void {
    service.placed.set(placed.slot, placed)
    this.#count(service, placed, 1)
  }

  take(service: Service, placed: Placed): void {
    service.placed.delete(placed.slot)
    this.#count(service, placed, -1)
  }

  /** What a slot that has this place is to be made of; null in place of one that has none. */
  aim(service: Service, placed: Placed | null): MicroserviceRecord {
    const { record } = service
    if (placed === null || this.later(service, placed) === null) return record
    return recordAt(this.#state, record, placed.revision) ?? this.#before(service)
  }

  /**
   * Whether it can only come up as something else: nobody knows any more what its revision is made of,
   * since another came before its rollout was over, and it does not run.
   */
  isLost(service: Service, { node, slot, revision }: Placed): boolean {
    const isKnown = recordAt(this.#state, service.record, revision) !== null
    return !isKnown && !this.runs(node, service, slot, revision)
  }

  /** Why a slot does not take its new revision yet; null where its turn is now, or over. */
  later({ wave, record }: Service, placed: Placed): string | null {
    if (wave === null || placed.revision === record.revision) return null
    return wave.renewed.has(slotKey(placed)) ? null : wave.reason
  }

  /** Whether a node works on a slot placed there. A retiring copy counts: it has only not seen that yet. */
  holds(node: string, service: Service, slot: number): boolean {
    return this.#copies(node, service).some((c) => c.slot === slot && c.state !== 'failed')
  }

  /** Whether a node could take the slot over as it is: same content, running, not unhealthy. */
  runs(node: string, service: Service, slot: number, revision: string): boolean {
    return this.#copies(node, service).some((c) => c.slot === slot && adoptable(c, revision))
  }

  /** The first node that may get a slot and runs it already. */
  runner(service: Service, slot: number, record: MicroserviceRecord): Spot | null {
    if (!this.#isAnywhere(service)) return null
    const found = this.spots.find(
      (spot) =>
        this.runs(spot.node.id, service, slot, record.revision) &&
        refusing(ADOPTS, spot, record) === null
    )
    return found ?? null
  }

  /** The slots of a microservice that a node runs, lowest first. */
  running(node: string, service: Service): number[] {
    return this.#copies(node, service)
      .filter((c) => adoptable(c, this.aim(service, service.placed.get(c.slot) ?? null).revision))
      .map(({ slot }) => slot)
      .sort((a, b) => a - b)
  }

  /**
   * Where the volumes of a slot are: it runs there or nowhere, until a person says otherwise. null where
   * it has none, or their node is no member any more, given up, or here to say that it has none.
   */
  home({ record }: Service, slot: number): Spot | null {
    if (volumeNames(record.spec).length === 0) return null
    const { application, name: microservice } = record
    const key = slotKey({ application, microservice, slot })
    const spot = this.spotIfAny(this.#state.homes.get(key)?.node ?? '')
    if (spot?.node.state !== 'member' || (spot.node.lost && !spot.isAlive)) return null
    return this.#isGone(spot, key) ? null : spot
  }

  /** The slots whose volumes a node has, lowest first. */
  homesOn(node: string, service: Service): number[] {
    if (volumeNames(service.record.spec).length === 0) return []
    const { application, name } = service.record
    return [...this.#state.homes.values()]
      .filter((h) => h.application === application && h.microservice === name)
      .map(({ slot }) => slot)
      .filter((slot) => this.home(service, slot)?.node.id === node)
      .sort((a, b) => a - b)
  }

  /** They were not made yet, or somebody removed them by hand: its node sees that. */
  #isGone({ node, facts, isAlive }: Spot, key: string): boolean {
    const status = this.#status.get(node.id)
    const isSure = isAlive && status !== undefined && facts?.engine.problem === null
    if (!isSure || facts.engine.kind === 'none') return false
    const told = status.volumes ?? []
    return told.length < MAX_VOLUMES_TOLD && !told.some((one) => one.startsWith(`${key}/`))
  }

  /** Whether any node has failed anything. */
  get hasFailures(): boolean {
    return this.#failing.size > 0
  }

  isFailing(node: string, record: MicroserviceRecord): boolean {
    return this.#failing.has(`${node} ${microserviceKey(record)}@${record.revision}`)
  }

  replicasOn(node: string, service: Service): number {
    return this.#spotOf.get(node)?.use.replicas.get(service.key) ?? 0
  }

  /** How many replicas have the same value of the label it is spread over as a node has. */
  spreadOf(service: Service): (spot: Spot) => number {
    const label = spreadLabel(service)
    const counts = this.#countsOf(service)
    return ({ node }) => counts.get(node.labels[label] ?? '') ?? 0
  }

  /** A fixed port it shares with another replica placed on its node. */
  clash(service: Service, placed: Placed): string | null {
    const ports = portsOf(this.#made(service, placed))
    if (ports.length === 0) return null
    const { ports: taken } = this.spot(placed.node).use
    return ports.find((port) => (taken.get(port) ?? 0) > 1) ?? null
  }

  /** Nodes that may get a replica, room aside. */
  eligible(record: MicroserviceRecord): readonly Spot[] {
    const known = this.#eligible.get(record)
    if (known !== undefined) return known
    const found = this.spots.filter(
      (spot) => !refusing(KEEPS, spot, record) && !refusing(READY, spot, record)
    )
    this.#eligible.set(record, found)
    return found
  }

  /** Members that could run it, in reach or not, but not given up: half of them may replace the others. */
  couldRun(record: MicroserviceRecord): readonly Spot[] {
    return this.spots.filter((spot) => {
      if (spot.node.lost && !spot.isAlive) return false
      if (spot.facts !== null && hasNoEngine(spot.facts)) return false
      return refusing(KEEPS, spot, record) === null
    })
  }

  hasRoom(spot: Spot, record: MicroserviceRecord): boolean {
    return refusing(ROOM, spot, record) === null
  }

  /** Whether any node has a container of it. */
  #isAnywhere(service: Service): boolean {
    const known = this.#present.get(service)
    if (known !== undefined) return known
    const found = [...this.#containers.values()].some((by) => by.has(service.key))
    this.#present.set(service, found)
    return found
  }

  #copies(node: string, { key }: Service): readonly ContainerStatus[] {
    return this.#containers.get(node)?.get(key) ?? NONE
  }

  /** What ran before all changes that are under way; where that is asked for again, this. */
  #before({ record }: Service): MicroserviceRecord {
    const from = rolloutOf(this.#state, record)?.from ?? null
    return (from && recordAt(this.#state, record, from.revision)) ?? record
  }

  /** The record whose content a placement has. */
  #made({ record }: Service, { revision }: Placed): MicroserviceRecord {
    if (record.revision === revision) return record
    return recordAt(this.#state, record, revision) ?? record
  }

  #count(service: Service, placed: Placed, by: 1 | -1): void {
    const { use, node } = this.#spotOf.get(placed.node) as Spot & { use: Use }
    const record = this.#made(service, placed)
    use.slots += by
    use.milliCpus += by * milliCpus(record.spec)
    use.memoryBytes += by * (record.spec.resources.memoryBytes ?? 0)
    for (const port of portsOf(record)) add(use.ports, port, by)
    const counts = this.#counts.get(service)
    add(use.replicas, service.key, by)
    if (counts !== undefined) add(counts, valueOf(node, service), by)
  }

  #countsOf(service: Service): Counts {
    const known = this.#counts.get(service)
    if (known !== undefined) return known
    const counts: Counts = new Map()
    for (const { node } of service.placed.values()) {
      add(counts, valueOf(this.spot(node).node, service), 1)
    }
    this.#counts.set(service, counts)
    return counts
  }
}

const NO_PORT: ReadonlySet<string> = new Set()

function exposedOn(node: NodeRecord, exposures: readonly Exposure[]): ReadonlySet<string> {
  const open = exposures.filter((exposure) => isOpenOn(exposure, node))
  return open.length === 0 ? NO_PORT : new Set(open.map(({ port }) => `${port}/tcp`))
}

const NONE: readonly ContainerStatus[] = []
const indexes = new WeakMap<StatusBody, Map<string, ContainerStatus[]>>()

/** Containers by microservice. Of one word of a node they are sorted once. */
function indexOf(body: StatusBody): ReadonlyMap<string, readonly ContainerStatus[]> {
  const known = indexes.get(body)
  if (known !== undefined) return known
  const index = new Map<string, ContainerStatus[]>()
  for (const status of body.containers) {
    const key = `${status.application}/${status.microservice}`
    const list = index.get(key)
    if (list) list.push(status)
    else index.set(key, [status])
  }
  indexes.set(body, index)
  return index
}

function adoptable({ revision, state, healthy }: ContainerStatus, wanted: string): boolean {
  if (revision !== wanted || healthy === false) return false
  return state === 'running' || state === 'retiring'
}

const NO_PORTS: readonly string[] = []
const portsOf = (record: MicroserviceRecord): readonly string[] =>
  record.spec.ports.length === 0 ? NO_PORTS : fixedPorts(record)

const spreadLabel = ({ record }: Service): string => placingOf(record.spec).spread ?? 'zone'

const valueOf = ({ labels }: NodeRecord, service: Service): string =>
  labels[spreadLabel(service)] ?? ''

function add(to: Map<string, number>, key: string, by: 1 | -1): void {
  const sum = (to.get(key) ?? 0) + by
  if (sum === 0) to.delete(key)
  else to.set(key, sum)
}
