/** Ports that nodes open for a microservice: `expose`. */
import { isFile, isHost, isPath, MAX_EXPOSURES, type Exposure } from '../../core/state/exposures.ts'
import type { Port } from '../../core/state/microservices.ts'
import { readWish, writeWish } from '../../core/state/wishes.ts'
import { readNumber } from './ports.ts'
import type { Path, Problem } from './problems.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

/** `to` is null where it goes without saying: to the only port there is. */
export type ReadExposure = Omit<Exposure, 'to'> & { to: number | null }

const KEYS = ['port', 'to', 'on', 'protocol', 'host', 'path', 'tls']
const FORMS = 'PORT, PORT:TO or { port, to, on, protocol, host, path, tls }'

/** A list of `8080`, `"8080:80"`, or maps that say more. */
export function readExpose(value: unknown): ReadExposure[] {
  if (!Array.isArray(value)) throw new Refusal(`expected a list of ports, got ${shown(value)}`)
  if (value.length > MAX_EXPOSURES) {
    throw new Refusal(`expected at most ${MAX_EXPOSURES} ports, got ${value.length}`)
  }
  const taken = new Set<string>()
  return value.map((item: unknown, index) => {
    const one = within(index, () => readOne(item))
    const { port, on, host = '', path = '' } = one
    const key = `port ${port}${host + path === '' ? '' : ` for ${host}${path}`}`
    if (taken.has(`${key} ${on}`)) throw new Refusal(`${key} is here twice`, [index])
    taken.add(`${key} ${on}`)
    return one
  })
}

/** What is said of ports elsewhere filled in; what `wrongExposures` finds wrong is left out. */
export const exposuresFor = (read: readonly ReadExposure[], ports: readonly Port[]): Exposure[] =>
  read.flatMap((one) => {
    const to = one.to ?? onlyPort(ports)
    return to === null ? [] : [{ ...one, to }]
  })

/** What is wrong with them beside `ports`. */
export function wrongExposures(
  read: readonly ReadExposure[],
  ports: readonly Port[],
  path: Path
): Problem[] {
  return read.flatMap(({ port, to }, index) => {
    const at = [...path, 'expose', index]
    if (to === null && onlyPort(ports) === null) {
      const why = ports.some(isTcp)
        ? 'there is more than one in `ports`'
        : 'there is none in `ports`'
      return [{ path: at, message: `expected PORT:TO, with a port of the container: ${why}` }]
    }
    if (!ports.some(({ host, protocol }) => host === port && protocol === 'tcp')) return []
    const message = `port ${port} is in \`ports\` too: give CONTAINER alone there, it is open on that node as well`
    return [{ path: at, message }]
  })
}

function onlyPort(ports: readonly Port[]): number | null {
  const [only, ...more] = ports.filter(isTcp)
  return only === undefined || more.length > 0 ? null : only.container
}

const isTcp = ({ protocol }: Port): boolean => protocol === 'tcp'

function readOne(value: unknown): ReadExposure {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return fromMap(value)
  const match = /^(\d+)(?::(\d+))?(?:\/(.*))?$/.exec(String(value).trim())
  if (!match || (typeof value !== 'string' && typeof value !== 'number')) {
    throw new Refusal(`expected ${FORMS}, got ${shown(value)}`)
  }
  const [, port, to, protocol] = match
  return {
    port: readNumber(port, value),
    to: to === undefined ? null : readNumber(to, value),
    protocol: protocol === undefined ? 'tcp' : readProtocol(protocol),
    on: 'all'
  }
}

function fromMap(value: object): ReadExposure {
  onlyKeys(value, KEYS)
  const given = value as Record<string, unknown>
  const read = <T>(key: string, reader: (value: unknown) => T): T | undefined => {
    const written = given[key] ?? undefined
    return written === undefined ? undefined : within(key, () => reader(written))
  }
  const host = read('host', readHost)
  const path = read('path', readPath) ?? undefined
  const isHttp = host !== undefined || (given['path'] ?? undefined) !== undefined
  const protocol = read('protocol', readProtocol) ?? (isHttp ? 'http' : 'tcp')
  if (isHttp && protocol === 'tcp') throw new Refusal('`host` and `path` are of http, not of tcp')
  const tls = read('tls', readTls)
  return {
    port: within('port', () => readNumber(given['port'], given['port'])),
    to: read('to', (to) => readNumber(to, to)) ?? null,
    protocol,
    on: read('on', readOn) ?? 'all',
    ...(host !== undefined && { host }),
    ...(path !== undefined && { path }),
    ...(tls !== undefined && { tls })
  }
}

function readProtocol(value: unknown): Exposure['protocol'] {
  if (value === 'tcp' || value === 'http') return value
  if (value === 'udp') throw new Refusal('UDP is not exposed yet: expected tcp or http')
  if (value === 'https') throw new Refusal('expected http, and `tls` with a certificate')
  throw new Refusal(`expected tcp or http, got ${shown(value)}`)
}

const NOT_OF_NODES = ['arch', 'os', 'engine']

function readOn(value: unknown): string {
  if (value === 'all') return value
  const wish = typeof value === 'string' ? readWish(value) : null
  const normal = wish === null ? '' : writeWish(wish)
  if (wish === null || normal.length > 256) {
    throw new Refusal(`expected all, or nodes by a label such as zone=a, got ${shown(value)}`)
  }
  if (NOT_OF_NODES.includes(wish.key)) {
    throw new Refusal(`\`on\` goes by labels and by \`node\`, not by ${wish.key}`)
  }
  return normal
}

function readHost(value: unknown): string {
  const host = typeof value === 'string' ? value.toLowerCase() : ''
  if (isHost(host)) return host
  throw new Refusal(`expected a host such as shop.example or *.shop.example, got ${shown(value)}`)
}

/** null for `/`: all of them. */
function readPath(value: unknown): string | null {
  const path = typeof value === 'string' && value !== '/' ? value.replace(/\/$/, '') : value
  if (path === '/') return null
  if (typeof path === 'string' && isPath(path)) return path
  throw new Refusal(`expected a path such as /api, got ${shown(value)}`)
}

function readTls(value: unknown): Exposure['tls'] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected { cert: FILE, key: FILE }, got ${shown(value)}`)
  }
  onlyKeys(value, ['cert', 'key'])
  const { cert, key } = value as Record<string, unknown>
  return { cert: within('cert', () => readFile(cert)), key: within('key', () => readFile(key)) }
}

function readFile(value: unknown): string {
  if (isFile(value)) return value
  const what = 'a file of each node that opens the port, from / on'
  throw new Refusal(`expected ${what}, got ${shown(value)}`)
}
