/**
 * Answers the DNS questions of containers: those about microservices by itself, all others by
 * whom this machine asks. Over UDP and TCP.
 */
import { randomInt } from 'node:crypto'
import dgram from 'node:dgram'
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import dns, { type Packet, type Question } from 'dns-packet'
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
const IDLE_MS = 10_000
const RCODE = { failed: 2, nobody: 3, refused: 5 } as const

export async function openResolver(components: ResolverComponents): Promise<Resolver> {
  const { address, log } = components
  const asking = new Asking(components)
  const udp = dgram.createSocket('udp4')
  udp.on('message', (message, { address: host, port }) => {
    void asking.answer(message, host, 'udp').then((answer) => {
      // An answer nobody gets is asked for again.
      if (answer !== null) udp.send(answer, port, host, () => {})
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
    const question = asked?.questions?.[0]
    if (asked === null || question === undefined || asked.type !== 'query') return null
    try {
      const answer = await this.#it.resolve(question.name, from)
      if (answer === 'refused') return respond(asked, [], RCODE.refused)
      if (answer === 'nobody') return respond(asked, [], RCODE.nobody)
      if (answer === 'elsewhere') return await this.#askElsewhere(message, asked, transport)
      const found = respond(asked, answer)
      return transport === 'tcp' || found.length <= sizeOf(asked) ? found : truncated(asked)
    } catch (error) {
      this.#it.log.warn({ name: question.name, error: sentenceOf(error) }, 'a name has no answer')
      return respond(asked, [], RCODE.failed)
    }
  }

  /** Two bytes of length before each message, either way. */
  serve(socket: net.Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data])
      for (;;) {
        if (rest.length < 2 || rest.length < 2 + rest.readUInt16BE()) return
        const message = rest.subarray(2, 2 + rest.readUInt16BE())
        rest = rest.subarray(2 + message.length)
        void this.answer(message, socket.remoteAddress ?? '', 'tcp').then((answer) => {
          if (answer === null) socket.destroy()
          else socket.write(framed(answer))
        })
      }
    })
  }

  async #askElsewhere(message: Buffer, asked: Packet, transport: Transport): Promise<Buffer> {
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

function decode(message: Buffer): Packet | null {
  try {
    return dns.decode(message)
  } catch {
    return null
  }
}

/** Of what is not about IPv4 addresses there is nothing to say: that is an answer too. */
function respond(asked: Packet, addresses: string[], rcode = 0): Buffer {
  const [question] = asked.questions as [Question]
  const isAsked = question.type === 'A' || String(question.type) === 'ANY'
  return dns.encode({
    id: asked.id ?? 0,
    type: 'response',
    flags: dns.AUTHORITATIVE_ANSWER | dns.RECURSION_AVAILABLE | recursionOf(asked) | rcode,
    questions: [question],
    answers: (isAsked ? addresses : []).map((data) => ({
      type: 'A',
      name: question.name,
      ttl: TTL_S,
      data
    }))
  })
}

const truncated = (asked: Packet): Buffer =>
  dns.encode({
    id: asked.id ?? 0,
    type: 'response',
    flags: dns.AUTHORITATIVE_ANSWER | dns.TRUNCATED_RESPONSE | recursionOf(asked),
    questions: asked.questions ?? []
  })

const recursionOf = (asked: Packet): number => (asked.flags ?? 0) & dns.RECURSION_DESIRED

/** What who asks takes in one packet. */
function sizeOf(asked: Packet): number {
  const option = asked.additionals?.find(({ type }) => type === 'OPT')
  const size = (option as { udpPayloadSize?: number } | undefined)?.udpPayloadSize ?? 0
  return Math.max(PLAIN_BYTES, Math.min(size, 4096))
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

function numbered(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message)
  copy.writeUInt16BE(id)
  return copy
}

const idOf = (message: Buffer): number => message.readUInt16BE()
