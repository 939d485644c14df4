/**
 * ioFog's public ports: where its router opens one for a microservice, every node does here. Version 3
 * has `public: { schemes, protocol, router: { host, port } }`, version 2 `public: PORT` with `protocol`
 * and `host` beside it.
 */
import type { Exposure } from '../../core/state/exposures.ts'
import type { Port } from '../../core/state/microservices.ts'
import { contentHash } from '../../core/crypto.ts'
import { readNumber } from './ports.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

export interface PublicPort {
  /** Of the nodes; null where the file leaves it open. */
  port: number | null
  /** Of the container. */
  to: number
  protocol: Exposure['protocol']
}

type Map = Record<string, unknown>

const KEYS = ['schemes', 'protocol', 'router', 'links', 'enabled']
/** What ioFog takes ports from that a file leaves open. */
const RANGE = { first: 6_000, count: 1_001 }
const DEFAULT_ROUTER = 'default-router'

/** `item`: the port as it is written; null where it is not to be public, or cannot be. */
export function readPublic(item: Map, { container: to, protocol: inner }: Port): PublicPort | null {
  const open = item['public'] ?? null
  if (isNone(open)) return null
  if (isMap(open)) {
    return within('public', () => {
      onlyKeys(open, KEYS)
      const { protocol, router, enabled } = open
      if (enabled === false) return null
      const port = isMap(router) ? within('router', () => numberAt(router, 'port')) : null
      return inner === 'udp' ? null : { port, to, protocol: protocolOf(protocol) }
    })
  }
  const port = open === true ? null : within('public', () => readNumber(open, open))
  return inner === 'udp' ? null : { port, to, protocol: protocolOf(item['protocol']) }
}

/** The same for the same microservice, where the file leaves it open. */
export function exposureOf(
  { port, to, protocol }: PublicPort,
  application: string,
  microservice: string
): Exposure {
  const hash = contentHash({ application, microservice, to })
  const chosen = RANGE.first + (Number.parseInt(hash.slice(0, 8), 16) % RANGE.count)
  return { port: port ?? chosen, to, protocol, on: 'all' }
}

/** What of it is other than in ioFog: by key of the port as it is written. */
export function publicWarnings(item: Map, exposure: Exposure | null): [string, string][] {
  const open = item['public'] ?? null
  if (isNone(open) || (isMap(open) && open['enabled'] === false)) return []
  if (exposure === null) return [['public', 'UDP is not opened on other nodes yet: ignored']]
  const warnings: [string, string][] = []
  const { schemes = [], router = null }: Map = isMap(open) ? open : {}
  const asked = isMap(router) ? router : { host: item['host'], port: isMap(open) ? null : open }
  const { host = null, port = null }: Map = asked
  if (port === null || port === true) {
    warnings.push(['public', `port ${exposure.port} of every node is opened for it`])
  }
  if (typeof host === 'string' && host !== '' && host !== DEFAULT_ROUTER) {
    warnings.push(['public', `every node opens the port, not ${shown(host)} alone`])
  }
  if (Array.isArray(schemes) && schemes.includes('https')) {
    warnings.push(['public', 'https is not done here: the port is opened without TLS'])
  }
  return warnings
}

const numberAt = (map: Map, key: string): number | null =>
  (map[key] ?? null) === null ? null : within(key, () => readNumber(map[key], map[key]))

/** http, unless it says tcp. */
function protocolOf(value: unknown): Exposure['protocol'] {
  const protocol = value ?? 'http'
  if (protocol === 'tcp') return 'tcp'
  if (protocol === 'http' || protocol === 'https') return 'http'
  throw new Refusal(`expected the protocol http or tcp, got ${shown(value)}`)
}

const isNone = (value: unknown): boolean =>
  value === null || value === false || value === '' || (isMap(value) && noKeys(value))

const noKeys = (map: Map): boolean => Object.keys(map).length === 0

const isMap = (value: unknown): value is Map =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
