/**
 * Which ports this node opens for microservices, whoever runs them, and for whom: pure. What two want
 * and only one can have is the one's that is first in the order of names.
 */
import { exposuresOf, isOpenOn, type Exposure } from '../../core/state/exposures.ts'
import type { MicroserviceRecord, State } from '../../core/state/state.ts'

/** One microservice's part of a port. */
export interface Rule {
  application: string
  microservice: string
  /** Port of the container. */
  to: number
  host: string | null
  path: string | null
  tls: NonNullable<Exposure['tls']> | null
}

export interface OpenPort {
  port: number
  protocol: Exposure['protocol']
  tls: boolean
  /** `tcp` has one, `http` one for each pair of host and path. */
  rules: Rule[]
}

/** What should be open here, and why it is not, or not as it should be. */
export interface Fault {
  port: number
  rule: Rule
  open: boolean
  /** One sentence. */
  problem: string
  /** APP/MICROSERVICE that has it instead; null where something else is wrong. */
  rival: string | null
}

export interface Exposed {
  /** By port. */
  open: OpenPort[]
  faults: Fault[]
}

export interface Opened {
  /** What was opened. */
  from: Exposed
  /** What of that is not open. */
  faults: readonly Fault[]
}

/** All that should be open here, with what is wrong with it. */
export function told({ from, faults }: Opened): Told[] {
  const open = from.open.flatMap(({ port, rules }) =>
    rules.map((rule) => {
      const { open = true, problem = null } = faults.find((one) => one.rule === rule) ?? {}
      return { port, rule, open, problem }
    })
  )
  return [...open, ...from.faults]
}

export interface Told extends Pick<Fault, 'port' | 'rule' | 'open'> {
  problem: string | null
}

export interface ExposedWorld extends Pick<State, 'nodes' | 'placements'> {
  microservices: ReadonlyMap<string, Pick<MicroserviceRecord, 'application' | 'name' | 'spec'>>
}

export function exposed({ nodes, microservices, placements }: ExposedWorld, self: string): Exposed {
  const node = nodes.get(self)
  const ports = new Map<number, OpenPort>()
  const faults: Fault[] = []
  let published: ReadonlyMap<number, string> | null = null
  const asking = [...microservices].filter(([, { spec }]) => exposuresOf(spec).length > 0)
  for (const [, { application, name, spec }] of asking.sort(byKey)) {
    for (const exposure of exposuresOf(spec)) {
      if (!isOpenOn(exposure, node)) continue
      const rule = ruleOf(application, name, exposure)
      published ??= publishedOn(self, { microservices, placements })
      const clash = claim(ports, exposure, rule, published)
      if (clash !== null) faults.push({ port: exposure.port, rule, open: false, ...clash })
    }
  }
  return { open: [...ports.values()].sort((a, b) => a.port - b.port), faults }
}

export const ruleKey = ({ application, microservice }: Rule): string =>
  `${application}/${microservice}`

/**
 * Who gets a request: who has its host before who has a wildcard of it before who has none; of those
 * who has the longest path. `host` without a port, `path` as `pathOf` gives it.
 */
export function ruleFor(rules: readonly Rule[], host: string, path: string): Rule | null {
  let best: Rule | null = null
  for (const rule of rules) {
    if (!hasHost(rule, host) || !hasPath(rule, path)) continue
    if (best === null || compare(rankOf(rule), rankOf(best)) > 0) best = rule
  }
  return best
}

/** Of the `Host` of a request: lower case, without port and final dot. */
export const hostOf = (header: string): string =>
  header.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')

/** What rules are held against: as whoever serves it may resolve it. null where it is no path. */
export function pathOf(url: string): string | null {
  if (!url.startsWith('/')) return null
  try {
    return new URL(`http://x${url.replaceAll(/%2f|%5c/gi, '/')}`).pathname
  } catch {
    return null
  }
}

/** Gives what is in the way. */
function claim(
  ports: Map<number, OpenPort>,
  { port, protocol, tls }: Exposure,
  rule: Rule,
  published: ReadonlyMap<number, string>
): Pick<Fault, 'problem' | 'rival'> | null {
  const publisher = published.get(port)
  if (publisher !== undefined) {
    return { problem: `port ${port} is published by ${publisher} on this node`, rival: null }
  }
  const has = ports.get(port)
  if (has === undefined) {
    ports.set(port, { port, protocol, tls: tls !== undefined, rules: [rule] })
    return null
  }
  const first = ruleKey(has.rules[0] as Rule)
  const taken = `port ${port} is exposed`
  if (protocol === 'tcp' || has.protocol === 'tcp') {
    return { problem: `${taken} for ${first}, and only http ports are shared`, rival: first }
  }
  if (has.tls !== (tls !== undefined)) {
    return { problem: `${taken} ${has.tls ? 'with' : 'without'} TLS for ${first}`, rival: first }
  }
  const same = has.rules.find(({ host, path }) => host === rule.host && path === rule.path)
  if (same !== undefined) {
    const what = inWords(rule)
    const problem = `${taken} for ${ruleKey(same)}${what === '' ? '' : `, with ${what} too`}`
    return { problem, rival: ruleKey(same) }
  }
  has.rules.push(rule)
  return null
}

/** `shop.example/api` */
export const inWords = ({ host, path }: Pick<Rule, 'host' | 'path'>): string =>
  `${host ?? ''}${path ?? ''}`

function ruleOf(application: string, microservice: string, exposure: Exposure): Rule {
  const { to, host = null, path = null, tls = null } = exposure
  return { application, microservice, to, host, path, tls }
}

/** Ports of this node that replicas placed here take for themselves. */
function publishedOn(
  self: string,
  { microservices, placements }: Pick<ExposedWorld, 'microservices' | 'placements'>
): Map<number, string> {
  const ports = new Map<number, string>()
  for (const [, { application, microservice, node }] of [...placements].sort(byKey)) {
    if (node !== self) continue
    const key = `${application}/${microservice}`
    for (const { host, protocol } of microservices.get(key)?.spec.ports ?? []) {
      if (host !== null && protocol === 'tcp' && !ports.has(host)) ports.set(host, key)
    }
  }
  return ports
}

const byKey = ([a]: [string, unknown], [b]: [string, unknown]): number => (a < b ? -1 : 1)

function hasHost({ host: wanted }: Rule, host: string): boolean {
  if (wanted === null || wanted === host) return true
  if (!wanted.startsWith('*.')) return false
  const dot = host.indexOf('.')
  return dot > 0 && host.slice(dot) === wanted.slice(1)
}

const hasPath = ({ path: wanted }: Rule, path: string): boolean =>
  wanted === null || path === wanted || path.startsWith(`${wanted}/`)

function rankOf({ host, path }: Rule): [number, number] {
  const named = host === null ? 0 : host.startsWith('*.') ? 1 : 2
  return [named, path?.length ?? 0]
}

const compare = ([a, b]: [number, number], [c, d]: [number, number]): number => a - c || b - d
