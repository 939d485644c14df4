/**
 * Nodes of one mesh on one LAN find each other by multicast DNS, with no internet and no DHT. The
 * name asked for is a hash of the topic: only who knows the mesh asks for it or answers, and who
 * listens learns keys and addresses, not which mesh it is. One socket an interface, made and
 * closed as interfaces come and go.
 */
import { EventEmitter } from 'node:events'
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os'
import type { MulticastDNS } from 'multicast-dns'
import { jittered } from './backoff.ts'
import { fromId, hash, randomBytes } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'

export interface LanOptions {
  topic: Buffer
  /** Id of this node. */
  self: string
  /** Of the DHT socket, on every address of this machine; null while it is not bound. */
  port(): number | null
  log: Logger
}

export interface LanFind {
  id: string
  host: string
  port: number
  /** Said for the first time, by this run of that daemon from that address. */
  isNew: boolean
}

const SERVICE = '_brume._udp.local'
/** ms after the start, and after an interface came: datagrams are lost, and starts coincide. */
const FIRST_ASKS = [0, 1_000, 3_000]
const SEARCHING_MS = 3_000
const QUIET_MS = 60_000
const SCAN_MS = 5_000
/** Of one interface: a flood of questions must not become a flood of answers. */
const ANSWER_EVERY_MS = 1_000
/** Who is missed for longer is asked for as rarely as when all are there. */
const SEARCH_FOR_MS = 120_000
/** Of the time between two questions: so much after one, another's is as good as one's own. */
const ENOUGH = 0.75
const TTL_S = 120
const MAX_SEEN = 256

/** Emits `found` for every answer of the mesh, and `change` when addresses came or went. */
export class Lan extends EventEmitter<{ found: [LanFind]; change: [] }> {
  readonly #options: LanOptions
  readonly #name: string
  readonly #session = randomBytes(4).toString('hex')
  readonly #sockets = new Map<string, Promise<MulticastDNS | null>>()
  readonly #answeredAt = new Map<string, number>()
  readonly #asked = new Asked()
  /** Interfaces on which an answer waits for its turn. */
  readonly #late = new Set<string>()
  readonly #seen = new Set<string>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #asks: NodeJS.Timeout | null = null
  #searching = true
  #searchingSince = performance.now()
  #addresses = ''
  #closed = false

  constructor(options: LanOptions) {
    super()
    this.#options = options
    this.#name = `${lanName(options.topic)}.${SERVICE}`
  }

  start(): void {
    this.#scan()
    const timer = setInterval(() => this.#scan(), SCAN_MS)
    timer.unref()
    this.#timers.add(timer)
    this.#askLater()
  }

  /** Whether members are missed: then it is asked often. */
  search(searching: boolean): void {
    if (searching === this.#searching) return
    this.#searching = searching
    this.#searchingSince = performance.now()
    if (!this.#closed && this.#asks !== null) this.#askLater()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    if (this.#asks !== null) clearTimeout(this.#asks)
    await Promise.all([...this.#sockets.values()].map(closeSocket))
    this.#sockets.clear()
  }

  #scan(): void {
    const now = lanAddresses(networkInterfaces()).sort()
    for (const [host, socket] of this.#sockets) {
      if (now.includes(host)) continue
      this.#sockets.delete(host)
      void closeSocket(socket)
    }
    for (const host of now) {
      if (!this.#sockets.has(host)) this.#sockets.set(host, this.#open(host))
    }
    const seen = now.join(' ')
    if (seen === this.#addresses) return
    this.#addresses = seen
    this.emit('change')
  }

  /** null where the interface takes no multicast, or another program holds the port for itself. */
  async #open(host: string): Promise<MulticastDNS | null> {
    const { default: multicast } = await import('multicast-dns')
    if (this.#closed) return null
    const socket = multicast({ interface: host, bind: '0.0.0.0' })
    const failed = (error: Error): void => {
      this.#options.log.debug({ host, error: sentenceOf(error) }, 'multicast DNS failed')
      if (this.#sockets.get(host) === opening) this.#sockets.delete(host)
      socket.destroy()
    }
    const opening = this.#sockets.get(host)
    socket.on('warning', (error: Error) =>
      this.#options.log.debug({ host, error: sentenceOf(error) }, 'multicast DNS warns')
    )
    socket.on('error', failed)
    socket.on('query', ({ questions }) => {
      if (questions.some(({ name, type }) => name === this.#name && type === 'TXT')) {
        this.#asked.note(host, performance.now())
        this.#answer(host, socket)
      }
    })
    socket.on('response', ({ answers }, { address }) => {
      for (const { type, name, ...rest } of answers as {
        type: string
        name: string
        data?: unknown
      }[]) {
        if (type === 'TXT' && name === this.#name) this.#onAnswer(address, rest.data)
      }
    })
    for (const ms of FIRST_ASKS) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.#answer(host, socket)
        this.#ask(socket)
      }, ms)
      this.#timers.add(timer)
    }
    return socket
  }

  #askLater(): void {
    if (this.#asks !== null) clearTimeout(this.#asks)
    const often = this.#searching && performance.now() - this.#searchingSince < SEARCH_FOR_MS
    const every = often ? SEARCHING_MS : QUIET_MS
    this.#asks = setTimeout(() => {
      for (const [host, socket] of this.#sockets) {
        if (!this.#asked.isDue(host, every, performance.now())) continue
        void socket.then((open) => {
          if (open !== null) this.#ask(open)
        })
      }
      this.#askLater()
    }, jittered(every))
    this.#asks.unref()
  }

  #ask(socket: MulticastDNS): void {
    if (!this.#closed) socket.query([{ name: this.#name, type: 'TXT' }])
  }

  #answer(host: string, socket: MulticastDNS): void {
    const port = this.#options.port()
    const now = performance.now()
    if (this.#closed || port === null) return
    const waitMs = (this.#answeredAt.get(host) ?? -Infinity) + ANSWER_EVERY_MS - now
    if (waitMs > 0) {
      // Who asks now may not have heard the last answer; one more, for all that ask meanwhile.
      if (this.#late.has(host)) return
      const timer = setTimeout(() => {
        this.#late.delete(host)
        this.#timers.delete(timer)
        this.#answer(host, socket)
      }, waitMs)
      this.#late.add(host)
      this.#timers.add(timer)
      return
    }
    this.#answeredAt.set(host, now)
    const data = encodeTxt({ id: this.#options.self, port, session: this.#session })
    socket.respond([{ name: this.#name, type: 'TXT', ttl: TTL_S, data }])
  }

  #onAnswer(host: string, data: unknown): void {
    const said = decodeTxt(data)
    if (said === null || said.id === this.#options.self) return
    const word = `${said.id} ${host} ${said.port} ${said.session}`
    const isNew = !this.#seen.has(word)
    this.#seen.add(word)
    const [oldest] = this.#seen
    if (this.#seen.size > MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest)
    this.emit('found', { id: said.id, host, port: said.port, isNew })
  }
}

/**
 * Answers are heard by all: where somebody asked, nobody else needs to. Of fifty nodes that each asked
 * once a minute, each would get 25 answers a second.
 */
export class Asked {
  readonly #at = new Map<string, number>()

  /** A question was heard on an interface, anybody's. */
  note(host: string, now: number): void {
    this.#at.set(host, now)
  }

  isDue(host: string, everyMs: number, now: number): boolean {
    return now - (this.#at.get(host) ?? -Infinity) >= everyMs * ENOUGH
  }
}

async function closeSocket(opening: Promise<MulticastDNS | null>): Promise<void> {
  const socket = await opening
  if (socket !== null) await new Promise<void>((resolve) => socket.destroy(resolve))
}

/** What a mesh is called on a LAN: of the topic only its hash is seen. */
export const lanName = (topic: Buffer): string => hash('lan', topic).toString('hex').slice(0, 32)

/** Interfaces of container engines and virtual machines lead to no other node. */
const INNER = /^(?:docker|br-|veth|virbr|cni|flannel|cali|lxc|podman)/

/** IPv4 addresses of this machine that other machines may reach. */
export function lanAddresses(
  interfaces: NodeJS.Dict<Pick<NetworkInterfaceInfo, 'address' | 'family' | 'internal'>[]>
): string[] {
  return Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    INNER.test(name)
      ? []
      : addresses
          .filter(({ family, internal }) => family === 'IPv4' && !internal)
          .map(({ address }) => address)
  )
}

interface Said {
  id: string
  port: number
  session: string
}

const encodeTxt = ({ id, port, session }: Said): string[] => [
  `k=${id}`,
  `p=${port}`,
  `s=${session}`
]

/** null where it is not what a node says. Anybody on the LAN can send it: nothing may throw. */
export function decodeTxt(data: unknown): Said | null {
  if (!Array.isArray(data) || data.length > 16) return null
  const fields = new Map<string, string>()
  for (const item of data) {
    const text = Buffer.isBuffer(item) ? item.toString() : typeof item === 'string' ? item : ''
    const at = text.indexOf('=')
    if (at > 0) fields.set(text.slice(0, at), text.slice(at + 1))
  }
  const id = fields.get('k') ?? ''
  const port = Number(fields.get('p'))
  const session = fields.get('s') ?? ''
  if (fromId(id) === null || !Number.isInteger(port) || port < 1 || port > 65_535) return null
  return session.length > 64 ? null : { id, port, session }
}

/** Whether an address is one of this machine's networks: private, and inside one of its subnets. */
export function isOnLan(
  host: string,
  interfaces: NodeJS.Dict<Pick<NetworkInterfaceInfo, 'address' | 'netmask' | 'family'>[]>
): boolean {
  const address = toNumber(host)
  if (address === null || !PRIVATE.test(host)) return false
  return Object.values(interfaces).some((addresses = []) =>
    addresses.some(({ family, address: mine, netmask }) => {
      const mask = toNumber(netmask)
      const own = toNumber(mine)
      if (family !== 'IPv4' || mask === null || own === null) return false
      return ((address & mask) ^ (own & mask)) === 0
    })
  )
}

const PRIVATE = /^(?:127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.)/

function toNumber(address: string): number | null {
  const parts = address.split('.').map(Number)
  if (parts.length !== 4 || parts.some((n) => !Number.isInteger(n) || n < 0 || n > 255)) return null
  return parts.reduce((sum, part) => (sum << 8) | part, 0)
}
