/**
 * What decides whether a node may run a replica. Each constraint says yes or no and can say why
 * not, in words that follow a node's name ("has no label zone=site-a") or a count of nodes. To add
 * one: write the object, list it in CONSTRAINTS, give it a row in the test.
 */
import { devicesOf } from '../../core/state/devices.ts'
import { imageToHave, MAX_IMAGES_ASKED } from '../../core/state/images.ts'
import { imageFor, type MicroserviceSpec, type Port } from '../../core/state/microservices.ts'
import { placingOf } from '../../core/state/policies.ts'
import type { FactsBody } from '../../core/gossip-records.ts'
import {
  microserviceKey,
  type MicroserviceRecord,
  type NodeRecord
} from '../../core/state/state.ts'
import { isFulfilled, readWish, type Wish } from '../../core/state/wishes.ts'
import type { Holders } from './holders.ts'

/** A node, and what is known of it and placed on it. */
export interface Spot {
  node: NodeRecord
  /** null where it has not told them yet. */
  facts: FactsBody | null
  isAlive: boolean
  /** null while it is alive, and for ever where it is not known. */
  silentMs: number | null
  /** Ports it opens for what is exposed, whether it runs it or not, as `80/tcp`. */
  exposed: ReadonlySet<string>
  /** Who has bundles: the same for every node. */
  holders: Holders
  use: NodeUse
}

/** What the placements on one node ask for together. */
export interface NodeUse {
  slots: number
  /** Thousandths of a core: what adds up in any order to the same. */
  milliCpus: number
  memoryBytes: number
  /** `80/tcp`, and how many want it. */
  ports: ReadonlyMap<string, number>
  /** By `application/microservice`. */
  replicas: ReadonlyMap<string, number>
}

export interface Constraint {
  name: string
  /**
   * `asked`: what operators wrote; a placement that breaks it goes, on a silent node too.
   * `able`: what the node is; the same, as far as its facts are known.
   * `ready`: how it is now; asked of a node that is to get a replica, not of one that has it.
   * `parts`: whether it can have what the container is made of; asked of a node that is to make one, of a
   * new revision too, and not of one that runs it.
   * `room`: what the replicas on it leave free.
   */
  kind: 'asked' | 'able' | 'ready' | 'parts' | 'room'
  admits(spot: Spot, microservice: MicroserviceRecord): boolean
  /** Only asked where `admits` says no. */
  refusal(spot: Spot, microservice: MicroserviceRecord): Refusal
}

export interface Refusal {
  /** After the name of one node. */
  one: string
  /** After a number of nodes, which are counted together where this is the same. */
  many: string
}

const MIB = 2 ** 20

const member: Constraint = {
  name: 'member',
  kind: 'asked',
  admits: ({ node }) => node.state === 'member' && node.role !== 'viewer',
  refusal: ({ node }) => {
    if (node.role === 'viewer') return { one: 'is a viewer', many: 'are viewers' }
    return { one: `is ${node.state}`, many: `are ${node.state}` }
  }
}

const pin: Constraint = {
  name: 'pin',
  kind: 'asked',
  admits: ({ node }, { spec }) => spec.node === null || spec.node === node.displayName,
  refusal: (_, { spec }) => ({ one: `is not ${spec.node}`, many: `are not ${spec.node}` })
}

const labels: Constraint = {
  name: 'labels',
  kind: 'asked',
  admits: (spot, { spec }) => wishesOf(spec).every((wish) => labelAdmits(wish, spot)),
  refusal: (spot, { spec }) => {
    const wish = wishesOf(spec).find((w) => !labelAdmits(w, spot)) ?? parseWish('')
    const label = `label ${nameOf(wish)}`
    if (wish.negated) return { one: `has the ${label}`, many: `have the ${label}` }
    return { one: `has no ${label}`, many: `have no ${label}` }
  }
}

const presence: Constraint = {
  name: 'presence',
  kind: 'ready',
  admits: ({ isAlive }) => isAlive,
  refusal: ({ silentMs }) => {
    const since = silentMs === null ? '' : ` since ${Math.floor(silentMs / 1000)} s`
    return { one: `is silent${since}`, many: `are silent${since}` }
  }
}

const open: Constraint = {
  name: 'open',
  kind: 'ready',
  admits: ({ node }) => (node.availability?.mode ?? 'active') === 'active',
  refusal: ({ node }) => {
    const { mode, reason } = node.availability ?? { mode: 'active', reason: '' }
    const why = `${mode === 'draining' ? 'drained' : 'cordoned'}${reason === '' ? '' : ` (${reason})`}`
    return { one: `is ${why}`, many: `are ${why}` }
  }
}

const engine: Constraint = {
  name: 'engine',
  kind: 'ready',
  admits: ({ facts }) =>
    facts !== null && facts.engine.kind !== 'none' && facts.engine.problem === null,
  refusal: ({ facts }) => {
    if (facts === null)
      return { one: 'has not told its facts yet', many: 'have not told their facts yet' }
    if (hasNoEngine(facts)) return { one: 'has no engine', many: 'have no engine' }
    const why = `an engine that does not work (${facts.engine.problem})`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const image: Constraint = {
  name: 'image',
  kind: 'able',
  admits: ({ facts }, { spec }) =>
    facts?.engine.kind !== 'docker' || imageFor(spec, facts.arch) !== null,
  refusal: ({ facts }) => {
    const why = `would need an image for ${facts?.arch ?? ''}`
    return { one: why, many: why }
  }
}

const command: Constraint = {
  name: 'command',
  kind: 'able',
  admits: ({ facts }, { spec }) => facts?.engine.kind !== 'process' || spec.command.length > 0,
  refusal: () => {
    const why = 'run processes, which need a command'
    return { one: why.replace('run', 'runs'), many: why }
  }
}

/** The first device asked for of which its node says so, or nothing; null where there is none. */
function deviceThat(
  says: false | undefined,
  { facts }: Spot,
  { spec }: MicroserviceRecord
): string | null {
  if (spec.devices === undefined) return null
  return devicesOf(spec).find(({ host }) => facts?.devices?.[host] === says)?.host ?? null
}

const device: Constraint = {
  name: 'device',
  kind: 'able',
  admits: (spot, record) => deviceThat(false, spot, record) === null,
  refusal: (spot, record) => {
    const what = `device ${deviceThat(false, spot, record)}`
    return { one: `lacks ${what}`, many: `lack ${what}` }
  }
}

/** The image it has to have already, where its node says so of it, or nothing; null where it does not. */
function imageThat(
  says: false | undefined,
  { facts }: Spot,
  { spec }: MicroserviceRecord
): string | null {
  if (spec.pull === undefined || facts?.engine.kind !== 'docker') return null
  const image = imageToHave(spec, facts.arch)
  if (image === null) return null
  const found = facts.images ?? {}
  return (Object.hasOwn(found, image) ? found[image] : undefined) === says ? image : null
}

/** Who runs it has no need of its image any more: it keeps it, unless that ended. */
const present: Constraint = {
  name: 'present',
  kind: 'parts',
  admits: (spot, record) => imageThat(false, spot, record) === null,
  refusal: (spot, record) => {
    const what = `not have image ${imageThat(false, spot, record)} (pull: never)`
    return { one: `does ${what}`, many: `do ${what}` }
  }
}

/** What a node that does not run it says against its staying there; null: nothing. */
export const imageGone = (spot: Spot, record: MicroserviceRecord): Refusal | null =>
  present.admits(spot, record) ? null : present.refusal(spot, record)

/** Until a node has looked for a device or an image it keeps what it has, and gets nothing that needs it. */
const sight: Constraint = {
  name: 'sight',
  kind: 'parts',
  admits: (spot, record) =>
    deviceThat(undefined, spot, record) === null && imageThat(undefined, spot, record) === null,
  refusal: (spot, record) => {
    const device = deviceThat(undefined, spot, record)
    const image = imageThat(undefined, spot, record)
    const isFull = Object.keys(spot.facts?.images ?? {}).length >= MAX_IMAGES_ASKED
    if (device === null && isFull) {
      const what = `for ${MAX_IMAGES_ASKED} images and no more, image ${image} not among them`
      return { one: `looks ${what}`, many: `look ${what}` }
    }
    const asked = device === null ? `image ${image}` : `device ${device}`
    const what = `not looked for ${asked} yet (nodes do once what is deployed asks for it)`
    return { one: `has ${what}`, many: `have ${what}` }
  }
}

const files: Constraint = {
  name: 'files',
  kind: 'parts',
  admits: ({ holders }, { spec }) => spec.files === null || holders.areInReach(spec.files.digest),
  refusal: ({ holders }, { spec }) => {
    const elsewhere = spec.files && holders.elsewhere(spec.files.digest)
    const where = elsewhere === null ? 'no node in reach has them' : `they are on ${elsewhere}`
    const why = `cannot get its files: ${where}`
    return { one: why, many: why }
  }
}

const ports: Constraint = {
  name: 'ports',
  kind: 'room',
  admits: ({ use, exposed }, { spec }) =>
    !spec.ports.some(
      (port) => port.host !== null && (use.ports.has(portKey(port)) || exposed.has(portKey(port)))
    ),
  refusal: ({ use, exposed }, microservice) => {
    const wanted = fixedPorts(microservice)
    const used = wanted.find((port) => use.ports.has(port))
    const why =
      used === undefined
        ? `port ${wanted.find((port) => exposed.has(port))} open for what is exposed`
        : `port ${used} in use`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const cpus: Constraint = {
  name: 'cpus',
  kind: 'room',
  admits: ({ facts, use }, { spec }) =>
    spec.resources.cpus === null ||
    milliCpus(spec) + use.milliCpus <= (facts?.cpus ?? Infinity) * 1000,
  refusal: ({ facts, use }, { spec }) => {
    const { cpus } = spec.resources
    const free = Math.max(0, (facts?.cpus ?? 0) * 1000 - use.milliCpus) / 1000
    return { one: `has ${free} cpus free of ${cpus}`, many: `have fewer than ${cpus} cpus free` }
  }
}

const spares: Constraint = {
  name: 'maxReplicasPerNode',
  kind: 'room',
  admits: ({ use }, record) => {
    const { maxPerNode } = placingOf(record.spec)
    return maxPerNode === null || (use.replicas.get(microserviceKey(record)) ?? 0) < maxPerNode
  },
  refusal: (_, { spec }) => {
    const { maxPerNode } = placingOf(spec)
    const why = `${maxPerNode} of it already (maxReplicasPerNode)`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const memory: Constraint = {
  name: 'memory',
  kind: 'room',
  admits: ({ facts, use }, { spec }) =>
    spec.resources.memoryBytes === null ||
    spec.resources.memoryBytes <= (facts?.memoryBytes ?? Infinity) - use.memoryBytes,
  refusal: ({ facts, use }, { spec }) => {
    const mib = (spec.resources.memoryBytes ?? 0) / MIB
    const free = Math.max(0, (facts?.memoryBytes ?? 0) - use.memoryBytes) / MIB
    return {
      one: `has ${Math.floor(free)} MiB free of ${Math.ceil(mib)} MiB`,
      many: `have less than ${Math.ceil(mib)} MiB free`
    }
  }
}

/** In the order a refusal is looked for: what an operator can change first, room last. */
export const CONSTRAINTS: readonly Constraint[] = [
  member,
  pin,
  labels,
  presence,
  open,
  engine,
  image,
  command,
  device,
  present,
  sight,
  files,
  spares,
  ports,
  cpus,
  memory
]

const of = (...kinds: Constraint['kind'][]): readonly Constraint[] =>
  CONSTRAINTS.filter(({ kind }) => kinds.includes(kind))

/** What a placement has to keep to for as long as it stands. */
export const KEEPS = of('asked', 'able')
/** What is asked of a node besides that is to get a replica, room aside. */
export const READY = of('ready', 'parts')
export const ROOM = of('room')
/** What is asked of a node that is to make another container of a replica it has. */
export const MAKES = of('parts', 'room')
/** What is asked of a node that runs a replica already and is to have it. */
export const ADOPTS = of('asked', 'able', 'ready', 'room')

/** The first of these that refuses, or null: the node fits. */
export function refusing(
  constraints: readonly Constraint[],
  spot: Spot,
  microservice: MicroserviceRecord
): Constraint | null {
  for (const constraint of constraints) {
    if (!constraint.admits(spot, microservice)) return constraint
  }
  return null
}

/** Why no node may get a replica: `3 nodes: 2 have no label zone=site-a, 1 is silent since 40 s`. */
export function explain(spots: Iterable<Spot>, microservice: MicroserviceRecord): string {
  const pinned = microservice.spec.node
  const asked = [...spots]
    .filter(({ node: n }) => n.state === 'member' && (pinned === null || n.displayName === pinned))
    .sort((a, b) => (a.node.id < b.node.id ? -1 : 1))
  if (pinned !== null && asked.length === 0) return `no member is named ${pinned}`

  const counts = new Map<string, { count: number; refusal: Refusal; rank: number }>()
  for (const spot of asked) {
    const constraint = refusing(CONSTRAINTS, spot, microservice)
    if (!constraint) continue
    const refusal = constraint.refusal(spot, microservice)
    const entry = counts.get(refusal.many)
    if (entry) entry.count++
    else counts.set(refusal.many, { count: 1, refusal, rank: CONSTRAINTS.indexOf(constraint) })
  }
  const only = asked.length === 1 ? asked[0] : undefined
  const because = [...counts.values()]
    .sort(
      (a, b) => a.rank - b.rank || b.count - a.count || (a.refusal.one < b.refusal.one ? -1 : 1)
    )
    .map(({ count, refusal }) => {
      if (only) return `${only.node.displayName} ${refusal.one}`
      return count === 1 ? `1 ${refusal.one}` : `${count} ${refusal.many}`
    })
  return only ? because.join(', ') : `${asked.length} nodes: ${because.join(', ')}`
}

export const milliCpus = ({ resources }: MicroserviceSpec): number =>
  Math.round((resources.cpus ?? 0) * 1000)

/** The greater of the shares of a node's cores and memory that are reserved, with one more replica. */
export function reservedWith({ spec }: MicroserviceRecord): (spot: Spot) => number {
  const [moreCpus, moreBytes] = [milliCpus(spec), spec.resources.memoryBytes ?? 0]
  return ({ facts, use }) => {
    if (facts === null) return 0
    const cpus = (use.milliCpus + moreCpus) / (facts.cpus * 1000)
    const memory = (use.memoryBytes + moreBytes) / facts.memoryBytes
    return cpus > memory ? cpus : memory
  }
}

/** The ports of the node a replica takes for itself, as `80/tcp`. */
export const fixedPorts = ({ spec }: MicroserviceRecord): string[] =>
  spec.ports.filter(({ host }) => host !== null).map(portKey)

const portKey = ({ host, protocol }: Port): string => `${host}/${protocol}`

/** By choice: one that is away at the moment has a problem. */
export const hasNoEngine = ({ engine }: FactsBody): boolean =>
  engine.kind === 'none' && engine.problem === null

function labelAdmits(wish: Wish, spot: Spot): boolean {
  const has = labelOf(wish.key, spot)
  return has === UNKNOWN || isFulfilled(wish, has)
}

const UNKNOWN = Symbol('not known yet')

/** A label, or one of the keys every node has. */
function labelOf(key: string, { node, facts }: Spot): string | undefined | typeof UNKNOWN {
  if (key === 'node') return node.displayName
  if (key === 'arch') return facts?.arch ?? UNKNOWN
  if (key === 'os') return facts?.os ?? UNKNOWN
  if (key === 'engine') {
    // An engine that is away at the moment is not an operator's change of mind.
    return facts && facts.engine.kind !== 'none' ? facts.engine.kind : UNKNOWN
  }
  return node.labels[key]
}

/** `zone=x`, `zone in (x, y)`, `zone`. */
function nameOf({ key, values }: Wish): string {
  if (values === null) return key
  return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(', ')})`
}

const wishes = new WeakMap<MicroserviceSpec, Wish[]>()

/** Of one record they are read once. */
function wishesOf(spec: MicroserviceSpec): Wish[] {
  const known = wishes.get(spec)
  if (known !== undefined) return known
  const read = spec.constraints.map(parseWish)
  wishes.set(spec, read)
  return read
}

/** As `core/state/wishes.ts` has them; what has none of its forms wishes for a label of that name. */
const parseWish = (text: string): Wish =>
  readWish(text) ?? { key: text, negated: false, values: null }
