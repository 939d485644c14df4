/**
 * What decides whether a node may run a replica. Each constraint says yes or no and can say why
 * not, in words that follow a node's name ("has no label zone=site-a") or a count of nodes. To add
 * one: write the object, list it in CONSTRAINTS, give it a row in the test.
 */
import { imageFor } from '../../core/state/microservices.ts'
import type { FactsBody } from '../../core/gossip-records.ts'
import type { MicroserviceRecord, NodeRecord } from '../../core/state/state.ts'

/** What the placements on one node ask for together. */
export interface NodeUse {
  slots: number
  cpus: number
  memoryBytes: number
  /** `80/tcp`. */
  ports: ReadonlySet<string>
}

export interface Context {
  alive: ReadonlySet<string>
  silentMs: ReadonlyMap<string, number>
  facts: ReadonlyMap<string, FactsBody>
  use: (node: string) => NodeUse
}

export interface Constraint {
  name: string
  /**
   * `asked`: what operators wrote; a placement that breaks it goes, on a silent node too.
   * `able`: what the node is; the same, as far as its facts are known.
   * `ready`: how it is now; asked of a node that is to get a replica, not of one that has it.
   * `room`: what the replicas on it leave free.
   */
  kind: 'asked' | 'able' | 'ready' | 'room'
  admits(node: NodeRecord, microservice: MicroserviceRecord, context: Context): boolean
  /** Only asked where `admits` says no. */
  refusal(node: NodeRecord, microservice: MicroserviceRecord, context: Context): Refusal
}

export interface Refusal {
  /** After the name of one node. */
  one: string
  /** After a number of nodes. */
  many: string
}

const member: Constraint = {
  name: 'member',
  kind: 'asked',
  admits: (node) => node.state === 'member' && node.role !== 'viewer',
  refusal: (node) => {
    if (node.role === 'viewer') return { one: 'is a viewer', many: 'are viewers' }
    return { one: `is ${node.state}`, many: `are ${node.state}` }
  }
}

const pin: Constraint = {
  name: 'pin',
  kind: 'asked',
  admits: (node, { spec }) => spec.node === null || spec.node === node.displayName,
  refusal: (_, { spec }) => ({ one: `is not ${spec.node}`, many: `are not ${spec.node}` })
}

const labels: Constraint = {
  name: 'labels',
  kind: 'asked',
  admits: (node, { spec }, { facts }) =>
    spec.constraints.every((wish) => labelAdmits(wish, node, facts.get(node.id))),
  refusal: (node, { spec }, { facts }) => {
    const wish = spec.constraints.find((w) => !labelAdmits(w, node, facts.get(node.id))) ?? ''
    const { key, negated, value } = parseWish(wish)
    const label = `label ${key}=${value}`
    if (negated) return { one: `has the ${label}`, many: `have the ${label}` }
    return { one: `has no ${label}`, many: `have no ${label}` }
  }
}

const presence: Constraint = {
  name: 'presence',
  kind: 'ready',
  admits: (node, _, { alive }) => alive.has(node.id),
  refusal: (node, _, { silentMs }) => {
    const ms = silentMs.get(node.id)
    const since = ms === undefined ? '' : ` since ${Math.floor(ms / 1000)} s`
    return { one: `is silent${since}`, many: `are silent${since}` }
  }
}

const engine: Constraint = {
  name: 'engine',
  kind: 'ready',
  admits: (node, _, { facts }) => {
    const has = facts.get(node.id)?.engine
    return has !== undefined && has.kind !== 'none' && has.problem === null
  },
  refusal: (node, _, { facts }) => {
    const has = facts.get(node.id)?.engine
    if (!has) return { one: 'has not told its facts yet', many: 'have not told their facts yet' }
    if (has.kind === 'none' && has.problem === null) {
      return { one: 'has no engine', many: 'have no engine' }
    }
    const why = `an engine that does not work (${has.problem})`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const image: Constraint = {
  name: 'image',
  kind: 'able',
  admits: (node, { spec }, { facts }) => {
    const its = facts.get(node.id)
    if (its?.engine.kind !== 'docker') return true
    return imageFor(spec, its.arch) !== null
  },
  refusal: (node, _, { facts }) => {
    const arch = facts.get(node.id)?.arch ?? ''
    return { one: `would need an image for ${arch}`, many: `would need an image for ${arch}` }
  }
}

const command: Constraint = {
  name: 'command',
  kind: 'able',
  admits: (node, { spec }, { facts }) =>
    facts.get(node.id)?.engine.kind !== 'process' || spec.command.length > 0,
  refusal: () => {
    const why = 'run processes, which need a command'
    return { one: why.replace('run', 'runs'), many: why }
  }
}

const ports: Constraint = {
  name: 'ports',
  kind: 'room',
  admits: (node, microservice, { use }) => {
    const taken = use(node.id).ports
    return fixedPorts(microservice).every((port) => !taken.has(port))
  },
  refusal: (node, microservice, { use }) => {
    const taken = use(node.id).ports
    const why = `port ${fixedPorts(microservice).find((port) => taken.has(port))} in use`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const cpus: Constraint = {
  name: 'cpus',
  kind: 'room',
  admits: (node, { spec }, { facts, use }) => {
    const free = (facts.get(node.id)?.cpus ?? Infinity) - use(node.id).cpus
    // A thousandth of a core covers what adding fractions loses.
    return spec.resources.cpus === null || spec.resources.cpus <= free + 0.001
  },
  refusal: (_, { spec }) => {
    const why = `fewer than ${spec.resources.cpus} cpus free`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

const memory: Constraint = {
  name: 'memory',
  kind: 'room',
  admits: (node, { spec }, { facts, use }) => {
    const free = (facts.get(node.id)?.memoryBytes ?? Infinity) - use(node.id).memoryBytes
    return spec.resources.memoryBytes === null || spec.resources.memoryBytes <= free
  },
  refusal: (_, { spec }) => {
    const why = `less than ${Math.ceil((spec.resources.memoryBytes ?? 0) / 2 ** 20)} MiB free`
    return { one: `has ${why}`, many: `have ${why}` }
  }
}

/** In the order a refusal is looked for: what an operator can change first, room last. */
export const CONSTRAINTS: readonly Constraint[] = [
  member,
  pin,
  labels,
  presence,
  engine,
  image,
  command,
  ports,
  cpus,
  memory
]

/** The first constraint of these kinds that refuses, or null: the node fits. */
export function refusing(
  kinds: readonly Constraint['kind'][],
  node: NodeRecord,
  microservice: MicroserviceRecord,
  context: Context
): Constraint | null {
  for (const constraint of CONSTRAINTS) {
    if (!kinds.includes(constraint.kind)) continue
    if (!constraint.admits(node, microservice, context)) return constraint
  }
  return null
}

/** Why no node may get a replica: `3 nodes: 2 have no label zone=site-a, 1 is silent since 40 s`. */
export function explain(
  nodes: Iterable<NodeRecord>,
  microservice: MicroserviceRecord,
  context: Context
): string {
  const pinned = microservice.spec.node
  const asked = [...nodes]
    .filter((n) => n.state === 'member' && (pinned === null || n.displayName === pinned))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  if (pinned !== null && asked.length === 0) return `no member is named ${pinned}`

  const counts = new Map<string, { count: number; refusal: Refusal; rank: number }>()
  for (const node of asked) {
    const constraint = refusing(['asked', 'able', 'ready', 'room'], node, microservice, context)
    if (!constraint) continue
    const refusal = constraint.refusal(node, microservice, context)
    const entry = counts.get(refusal.one)
    if (entry) entry.count++
    else counts.set(refusal.one, { count: 1, refusal, rank: CONSTRAINTS.indexOf(constraint) })
  }
  const only = asked.length === 1 ? asked[0] : undefined
  const because = [...counts.values()]
    .sort(
      (a, b) => a.rank - b.rank || b.count - a.count || (a.refusal.one < b.refusal.one ? -1 : 1)
    )
    .map(({ count, refusal }) => {
      if (only) return `${only.displayName} ${refusal.one}`
      return count === 1 ? `1 ${refusal.one}` : `${count} ${refusal.many}`
    })
  return only ? because.join(', ') : `${asked.length} nodes: ${because.join(', ')}`
}

/** The ports of the node a replica takes for itself, as `80/tcp`. */
export function fixedPorts({ spec }: MicroserviceRecord): string[] {
  return spec.ports.flatMap((p) => (p.host === null ? [] : [`${p.host}/${p.protocol}`]))
}

function labelAdmits(wish: string, node: NodeRecord, facts: FactsBody | undefined): boolean {
  const { key, negated, value } = parseWish(wish)
  const has = labelOf(key, node, facts)
  return has === UNKNOWN || (has === value) !== negated
}

const UNKNOWN = Symbol('not known yet')

/** A label, or one of the keys every node has. */
function labelOf(
  key: string,
  node: NodeRecord,
  facts: FactsBody | undefined
): string | undefined | typeof UNKNOWN {
  if (key === 'node') return node.displayName
  if (key === 'arch') return facts?.arch ?? UNKNOWN
  if (key === 'os') return facts?.os ?? UNKNOWN
  if (key === 'engine') {
    // An engine that is away at the moment is not an operator's change of mind.
    return facts && facts.engine.kind !== 'none' ? facts.engine.kind : UNKNOWN
  }
  return node.labels[key]
}

/** `zone=site-a`, `zone!=site-a`; spaces around either side are allowed, as in compose's `==` form. */
function parseWish(wish: string): { key: string; negated: boolean; value: string } {
  const [, key = wish, operator = '', value = ''] = /^([^=!]*)(!=|==?)(.*)$/.exec(wish) ?? []
  return { key: key.trim(), negated: operator === '!=', value: value.trim() }
}
