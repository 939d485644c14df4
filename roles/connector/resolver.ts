/**
 * Answers the DNS questions of containers: those about microservices by itself, all others by
 * whom this machine asks. Over UDP and TCP.
 */
import { randomInt } from 'node:crypto'
import dgram from 'node:dgram'
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import dns, { type Packet } from 'dns-packet'
import { framed } from '../../core/datagrams.ts'
import { sentenceOf } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { listen } from './listeners.ts'

/** IPv4 addresses; `nobody`: there is no such name; `elsewhere`: others know; `refused`: not to you. */
export type Answer = string[] | 'nobody' | 'elsewhere' | 'refused'

export interface ResolverComponents {
  address: string
  /** `from`: who asks. */
  resolve: (name: string, from: string) => Promise<Answer>
  /** Servers that know other names, in order. Default: this machine's own. */
  upstream?: () => Promise<{ host: string; port: number }[]>
  log: Logger
}

export interface Resolver {
  /** At `address`. */
  ports: { udp: number; tcp: number }
  close(): void
}

/** Who is told more must ask again. */
const TTL_S = 1
const PLAIN_BYTES = 512
const UPSTREAM_MS = 2_000
/** Questions that others are asked at one time; more are told to come again. */
const MAX_PENDING = 512
const MAX_CONNECTIONS = 256
/** For a question over TCP to be whole, and for its answer to be taken. */
const TURN_MS = 10_000
const HEADER_BYTES = 12
const RECORD_BYTES = 16
const MAX_BYTES = 0xffff
const RCODE = { failed: 2, nobody: 3, refused: 5 } as const

export async function openResolver(components: ResolverComponents): Promise<Resolver> {
  const { address, log } = components
  const asking = new Asking(components)
  const udp = dgram.createSocket('udp4')
  let isOpen = true
  udp.on('message', (message, { address: host, port }) => {
    void asking.answer(message, host, 'udp').then((answer) => {
      // Nobody can be answered at port 0. An answer nobody gets is asked for again.
      if (answer !== null && isOpen && port !== 0) udp.send(answer, port, host, () => {})
    })
  })
  await new Promise<void>((resolve, reject) => {
    udp.once('error', reject)
    udp.bind(0, address, () => {
      udp.off('error', reject)
      udp.on('error', (error) => log.warn({ error: sentenceOf(error) }, 'the resolver failed'))
      resolve()
    })
  })
  const tcp = net.createServer((socket) => asking.serve(socket))
  tcp.maxConnections = MAX_CONNECTIONS
  const tcpPort = await listen(tcp, address)
  return {
    ports: { udp: udp.address().port, tcp: tcpPort },
    close() {
      isOpen = false
      udp.close()
      tcp.close()
      asking.close()
    }
  }
}

type Transport = 'udp' | 'tcp'

class Asking {
  readonly #it: ResolverComponents
  readonly #sockets = new Set<net.Socket>()
  #pending = 0

  constructor(components: ResolverComponents) {
    this.#it = components
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** null where it is no question. */
  async answer(message: Buffer, from: string, transport: Transport): Promise<Buffer | null> {
    const asked = decode(message)
    if (asked === null) return null
    const { name } = asked
    try {
      const answer = await this.#it.resolve(name, from)
      if (answer === 'refused') return respond(asked, [], RCODE.refused)
      if (answer === 'nobody') return respond(asked, [], RCODE.nobody)
      if (answer === 'elsewhere') return await this.#askElsewhere(message, asked, transport)
      return respond(asked, answer, 0, transport === 'tcp' ? MAX_BYTES : asked.room)
    } catch (error) {
      this.#it.log.warn({ name, error: sentenceOf(error) }, 'a name has no answer')
      return respond(asked, [], RCODE.failed)
    }
  }

  serve(socket: net.Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    void this.#answerAll(socket).catch(() => socket.destroy())
  }

  /**
   * Two bytes of length before each message, either way. One after the other: who takes no answers
   * is asked for no more questions.
   */
  async #answerAll(socket: net.Socket): Promise<void> {
    const from = socket.remoteAddress ?? ''
    const timer = setTimeout(() => socket.destroy(), TURN_MS)
    socket.once('close', () => clearTimeout(timer))
    let rest: Buffer = Buffer.alloc(0)
    for await (const data of socket) {
      rest = Buffer.concat([rest, data as Buffer])
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()) {
        const message = rest.subarray(2, 2 + rest.readUInt16BE())
        rest = rest.subarray(2 + message.length)
        const answer = await this.answer(message, from, 'tcp')
        if (answer === null) return
        await new Promise<void>((resolve) => socket.write(framed(answer), () => resolve()))
        timer.refresh()
      }
    }
  }

  async #askElsewhere(message: Buffer, asked: Asked, transport: Transport): Promise<Buffer> {
    if (this.#pending >= MAX_PENDING) return respond(asked, [], RCODE.failed)
    this.#pending++
    try {
      const servers = await (this.#it.upstream ?? ownServers)()
      for (const server of servers) {
        const answer = await (transport === 'udp' ? overUdp : overTcp)(message, server)
        if (answer !== null) return answer
      }
      return respond(asked, [], RCODE.failed)
    } finally {
      this.#pending--
    }
  }
}

/** The question as it came, under a number and from a port nobody can guess. */
function overUdp(message: Buffer, { host, port }: Server): Promise<Buffer | null> {
  const id = randomInt(0x10000)
  return new Promise((resolve) => {
    const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4')
    const end = (answer: Buffer | null): void => {
      clearTimeout(timer)
      socket.close()
      resolve(answer)
    }
    const timer = setTimeout(end, UPSTREAM_MS, null)
    socket.once('error', () => end(null))
    socket.on('message', (answer) => {
      if (answer.length > 2 && answer.readUInt16BE() === id) end(numbered(answer, idOf(message)))
    })
    // Only this server's answers are heard.
    socket.connect(port, host, (error?: Error) => {
      if (error) end(null)
      else socket.send(numbered(message, id), (failed) => failed && end(null))
    })
  })
}

function overTcp(message: Buffer, { host, port }: Server): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port })
    const end = (answer: Buffer | null): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(UPSTREAM_MS, () => end(null))
    socket.once('error', () => end(null))
    socket.once('close', () => resolve(null))
    socket.write(framed(message))
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data])
      if (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE()) {
        end(rest.subarray(2, 2 + rest.readUInt16BE()))
      }
    })
  })
}

interface Server {
  host: string
  port: number
}

/** As /etc/resolv.conf has them now: a machine changes networks. */
async function ownServers(): Promise<Server[]> {
  const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  const hosts = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, host = '']) => host)
  return hosts.filter((host) => net.isIP(host) !== 0).map((host) => ({ host, port: 53 }))
}

interface Asked {
  id: number
  flags: number
  name: string
  /** For addresses. */
  isForAddresses: boolean
  /** As it came: a name can have bytes that are no text. */
  question: Buffer
  /** Bytes that who asks takes in one packet. */
  room: number
}

/** null where it is no question. */
function decode(message: Buffer): Asked | null {
  const packet = packetOf(message)
  const question = packet?.questions?.[0]
  if (packet === null || question === undefined || packet.type !== 'query') return null
  return {
    id: packet.id ?? 0,
    flags: packet.flags ?? 0,
    name: question.name,
    isForAddresses: question.type === 'A' || String(question.type) === 'ANY',
    question: message.subarray(HEADER_BYTES, endOfQuestion(message)),
    room: roomOf(packet)
  }
}

function packetOf(message: Buffer): Packet | null {
  try {
    return dns.decode(message)
  } catch {
    return null
  }
}

/** After its name, which ends with an empty label or a pointer, are type and class. */
function endOfQuestion(message: Buffer): number {
  let at = HEADER_BYTES
  for (;;) {
    const length = message[at] ?? 0
    if (length === 0) return at + 1 + 4
    if (length >= 0xc0) return at + 2 + 4
    at += 1 + length
  }
}

function roomOf(packet: Packet): number {
  const option = packet.additionals?.find(({ type }) => type === 'OPT')
  const size = (option as { udpPayloadSize?: number } | undefined)?.udpPayloadSize ?? 0
  return Math.max(PLAIN_BYTES, Math.min(size, 4096))
}

/**
 * Of what is not about IPv4 addresses there is nothing to say: that is an answer too. As many as there
 * is room for, and a mark where that is not all: not everybody asks again over TCP.
 */
function respond(asked: Asked, addresses: string[], rcode = 0, room = PLAIN_BYTES): Buffer {
  const all = asked.isForAddresses ? addresses : []
  const told = all.slice(
    0,
    Math.floor((room - HEADER_BYTES - asked.question.length) / RECORD_BYTES)
  )
  const header = dns.encode({
    id: asked.id,
    type: 'response',
    flags:
      dns.AUTHORITATIVE_ANSWER |
      dns.RECURSION_AVAILABLE |
      (asked.flags & dns.RECURSION_DESIRED) |
      (told.length < all.length ? dns.TRUNCATED_RESPONSE : 0) |
      rcode
  })
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(told.length, 6)
  return Buffer.concat([header, asked.question, ...told.map(recordOf)])
}

/** The name of the question, A, IN, a TTL, and four bytes. */
const recordOf = (address: string): Buffer =>
  Buffer.from([
    0xc0,
    HEADER_BYTES,
    0,
    1,
    0,
    1,
    0,
    0,
    0,
    TTL_S,
    0,
    4,
    ...address.split('.').map(Number)
  ])

function numbered(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message)
  copy.writeUInt16BE(id)
  return copy
}

const idOf = (message: Buffer): number => message.readUInt16BE()
