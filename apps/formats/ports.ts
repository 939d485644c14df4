import type { Port } from '../../core/state/microservices.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

const MOST = 128

/** A list of ports in any of the spellings of `readPort`; no container or host port twice. */
export function readPorts(value: unknown, readOne: (value: unknown) => Port = readPort): Port[] {
  if (!Array.isArray(value)) throw new Refusal(`expected a list of ports, got ${shown(value)}`)
  if (value.length > MOST) throw new Refusal(`expected at most ${MOST} ports, got ${value.length}`)
  const taken = new Set<string>()
  return value.map((item: unknown, index) => {
    const port = within(index, () => readOne(item))
    const once = (what: string, number: number): void => {
      const key = `${what} port ${number}/${port.protocol}`
      if (taken.has(key)) throw new Refusal(`${key} is here twice`, [index])
      taken.add(key)
    }
    once('container', port.container)
    if (port.host !== null) once('host', port.host)
    return port
  })
}

/** `80`, `"8080:80"`, `"8080:80/udp"` or ioFog's `{ external: 8080, internal: 80, protocol }`. */
export function readPort(value: unknown): Port {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return fromMap(value)
  if (typeof value !== 'string' && typeof value !== 'number') {
    throw new Refusal(`expected CONTAINER or HOST:CONTAINER, got ${shown(value)}`)
  }
  const written = String(value).trim()
  const match = /^(?:([^:/]*)(:))?([^:/]*)(?:\/(.*))?$/.exec(written)
  const [, host, colon, container = '', protocol] = match ?? []
  if (!match || container === '' || (colon && host === '')) {
    throw new Refusal(`expected ${colon ? '' : 'CONTAINER or '}HOST:CONTAINER, got ${shown(value)}`)
  }
  return {
    container: readNumber(container, value),
    host: colon ? readNumber(host, value) : null,
    protocol: readProtocol(protocol)
  }
}

function fromMap(value: object): Port {
  onlyKeys(value, ['internal', 'external', 'protocol'])
  const { internal, external, protocol } = value as Record<string, unknown>
  return portOf(internal, external, protocol)
}

/** ioFog's words for a port; `external` may be absent, for a free port of the node. */
export function portOf(internal: unknown, external: unknown, protocol: unknown): Port {
  return {
    container: within('internal', () => readNumber(internal, internal)),
    host:
      (external ?? null) === null ? null : within('external', () => readNumber(external, external)),
    protocol: within('protocol', () => readProtocol(protocol))
  }
}

/** Of a port; `whole` is what the file says. */
export function readNumber(value: unknown, whole: unknown): number {
  const number = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= 65_535) {
    return number
  }
  if (typeof value === 'string' && /^\d+-\d+$/.test(value)) {
    throw new Refusal(`expected one port, got the range ${shown(whole)}: list each port`)
  }
  throw new Refusal(`expected a port from 1 to 65535, got ${shown(whole)}`)
}

function readProtocol(value: unknown): 'tcp' | 'udp' {
  if (value === undefined || value === null) return 'tcp'
  const protocol = typeof value === 'string' ? value.toLowerCase() : value
  if (protocol === 'tcp' || protocol === 'udp') return protocol
  throw new Refusal(`expected the protocol tcp or udp, got ${shown(value)}`)
}
