/**
 * This node's connections: Hyperswarm on the mesh's topic, with a discovery pulse of our own.
 * The only door to hyperswarm and hyperdht.
 */
import { createSocket } from 'node:dgram'
import { EventEmitter } from 'node:events'
import HyperDHT, { type Address } from 'hyperdht'
import Hyperswarm, { type Connection, type Discovery } from 'hyperswarm'
import { fromId, toId, type KeyPair } from './crypto.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'

export type { Connection } from 'hyperswarm'
export type { Address } from 'hyperdht'

export interface SwarmOptions {
  keyPair: KeyPair
  topic: Buffer
  /** HOST:PORT; empty for the public DHT. */
  bootstrap: string[]
  /** HOST:PORT of DHT nodes known from before: a start without bootstrap. */
  knownNodes: Address[]
  log: Logger
}

/** Outgoing attempts stop here. */
const MAX_PEERS = 8
/** Connections at once, those of strangers included, who have 10 s to show an admission. */
const MAX_CONNECTIONS = 20

/** ms after `start`: nodes that join in the same moment find each other only by looking again. */
const FIRST_PULSES = [1_000, 3_000, 10_000]
const ALONE_PULSE_MS = 6_000
const MISSING_PULSE_MS = 25_000
const QUIET_PULSE_MS = 300_000
const LEAVE_MS = 1_000

export interface SwarmEvents {
  connection: [Connection, id: string]
}

/** What a mesh needs of its connections: a real swarm, or in simulations a network of their own. */
export type Connections = Pick<
  Swarm,
  'start' | 'setMissing' | 'want' | 'unwant' | 'knownNodes' | 'close'
> &
  EventEmitter<SwarmEvents>

/** Emits `connection` with each live Noise connection; the caller decides who is a peer. */
export class Swarm extends EventEmitter<SwarmEvents> {
  readonly #swarm: Hyperswarm
  readonly #log: Logger
  readonly #topic: Buffer
  #discovery: Discovery | null = null
  #pulse: NodeJS.Timeout | null = null
  #pulses = 0
  #missing = false

  constructor(options: SwarmOptions) {
    super()
    this.#log = options.log
    this.#topic = options.topic
    this.#swarm = new Hyperswarm({
      keyPair: options.keyPair,
      dht: createDht(options.bootstrap.map(parseAddress), options.knownNodes),
      maxPeers: MAX_PEERS,
      backoffs: [1_000, 5_000, 15_000, 60_000],
      jitter: 500
    })
    this.#swarm.on('connection', (connection: Connection) => this.#onConnection(connection))
    this.#swarm.on('error', (error: Error) =>
      this.#log.warn({ error: sentenceOf(error) }, 'the swarm reported an error')
    )
  }

  /**
   * Announces and looks up, once; returns at once: a DHT that does not answer must not hold a
   * start.
   */
  start(): void {
    if (this.#discovery !== null) return
    this.#discovery = this.#swarm.join(this.#topic, { client: true, server: true })
    this.#schedulePulse()
  }

  /** Says whether members are known that no link leads to: the pulse is quicker then. */
  setMissing(missing: boolean): void {
    if (missing === this.#missing) return
    this.#missing = missing
    this.#schedulePulse()
  }

  /** Asks for a connection to one node whatever the topic brings. */
  want(nodeId: string): void {
    const key = fromId(nodeId)
    if (key !== null) this.#swarm.joinPeer(key)
  }

  unwant(nodeId: string): void {
    const key = fromId(nodeId)
    if (key !== null) this.#swarm.leavePeer(key)
  }

  /** The routing table, to be kept for the next start. */
  knownNodes(): Address[] {
    return this.#swarm.dht.toArray().map(({ host, port }) => ({ host, port }))
  }

  async close(): Promise<void> {
    if (this.#pulse !== null) clearTimeout(this.#pulse)
    for (const connection of this.#swarm.connections) connection.destroy()
    // Unannouncing asks the DHT, which may be out of reach: worth a second, no more.
    const gently = this.#swarm.destroy().catch((error: unknown) => {
      this.#log.debug({ error: sentenceOf(error) }, 'leaving the DHT failed')
    })
    await Promise.race([gently, new Promise((resolve) => setTimeout(resolve, LEAVE_MS))])
    await this.#swarm.dht.destroy({ force: true })
  }

  #onConnection(connection: Connection): void {
    connection.on('error', (error: Error) =>
      this.#log.debug({ error: sentenceOf(error) }, 'a connection ended with an error')
    )
    if (this.#swarm.connections.size > MAX_CONNECTIONS && !connection.isInitiator) {
      connection.destroy()
      return
    }
    this.emit('connection', connection, toId(connection.remotePublicKey))
  }

  #schedulePulse(): void {
    if (this.#pulse !== null) clearTimeout(this.#pulse)
    this.#pulse = setTimeout(() => this.#onPulse(), this.#nextPulseMs())
    this.#pulse.unref()
  }

  #nextPulseMs(): number {
    const first = FIRST_PULSES[this.#pulses]
    if (first !== undefined) return first - (FIRST_PULSES[this.#pulses - 1] ?? 0)
    const alone = this.#swarm.connections.size === 0
    const base = alone ? ALONE_PULSE_MS : this.#missing ? MISSING_PULSE_MS : QUIET_PULSE_MS
    return base * (0.9 + Math.random() * 0.2)
  }

  #onPulse(): void {
    this.#pulses++
    this.#discovery
      ?.refresh({ client: true, server: true })
      .catch((error: unknown) =>
        this.#log.debug({ error: sentenceOf(error) }, 'looking up the mesh failed')
      )
    this.#schedulePulse()
  }
}

/** Of a DHT: from fewer answers no node can tell its own address, and then none punches. */
const DHT_NODES = 3

/** A DHT that others may be pointed at: `HOST:PORT` of it is a `--bootstrap`. */
export async function startBootstrapNode(
  host: string,
  fixedPort?: number
): Promise<{ address: string; close(): Promise<void> }> {
  const first = HyperDHT.bootstrapper(fixedPort ?? (await freeUdpPort(host)), host, { host })
  const nodes = [first]
  await first.fullyBootstrapped()
  const address = `${host}:${first.address().port}`
  while (nodes.length < DHT_NODES) {
    const open = { host, port: 0, anyPort: true, firewalled: false, ephemeral: false }
    const node = new HyperDHT({ bootstrap: [address], ...open })
    nodes.push(node)
    await node.fullyBootstrapped()
  }
  const close = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.destroy()))
  }
  return { address, close }
}

function freeUdpPort(host: string): Promise<number> {
  const socket = createSocket('udp4')
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(0, host, () => {
      const { port } = socket.address()
      socket.close(() => resolve(port))
    })
  })
}

/** @throws BrumeError BAD_ADDRESS. */
export function parseAddress(text: string): Address {
  const match = /^(.+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] === undefined || port < 1 || port > 65_535) {
    throw new BrumeError('BAD_ADDRESS', `expected HOST:PORT, got "${text}"`)
  }
  return { host: match[1], port }
}

function createDht(bootstrap: Address[], nodes: Address[]): HyperDHT {
  const options: Record<string, unknown> = { nodes }
  if (bootstrap.length > 0) options['bootstrap'] = bootstrap
  // On loopback a node cannot learn its address from others, and takes itself for firewalled.
  const loopback = bootstrap.length > 0 && bootstrap.every(({ host }) => host === '127.0.0.1')
  if (loopback) Object.assign(options, { host: '127.0.0.1', firewalled: false, ephemeral: false })
  return new HyperDHT(options)
}
