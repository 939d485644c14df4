/**
 * This node in the DHT: HyperDHT with what a mesh adds to it. It answers whoever knows the topic
 * and asks at its address which node it is, so that one address is enough to enter where no other
 * DHT node exists; it knows addresses of members before the DHT is asked; and it learns through
 * whom a connection is relayed.
 */
import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'
import HyperDHT, { type Address, type ConnectOptions, type DhtRequest } from 'hyperdht'
import type { Connection } from 'hyperswarm'
import { announceLost, LOOK_MS } from './announced.ts'
import type { KeyPair } from './crypto.ts'
import { BrumeError } from './errors.ts'

export type { Address } from 'hyperdht'

/** How a dial is begun. */
export interface Route {
  /** Where the node, or who can introduce it, was last; tried before the DHT is asked. */
  addresses: Address[]
  /** Key to be relayed through while, or because, no punch comes through. */
  relayThrough: Buffer | null
}

export interface MeshDhtOptions {
  bootstrap: Address[]
  knownNodes: Address[]
  /** Connections to relays are made with it, not with the node's own. */
  keyPair: KeyPair
  topic: Buffer
  /** Of the node, which is told to who asks for the topic. */
  nodeKey: Buffer
  routeTo(key: Buffer): Route
  /** Sees every dial of a node before it begins. */
  onDial(key: Buffer, connection: Connection, hasRelay: boolean): void
}

/** Any number that is no command of HyperDHT's. */
const WHO = 0x62
/** Pairs with one end behind a NAT that picks ports at random: a punch needs many tries. */
const RANDOM_PUNCH_MS = 1_000
const DEFAULT_PORT = 49_737
/** ms after this node's address became known or changed. */
const OPEN_CHECKS = [300, 2_000, 10_000, 60_000]

export class MeshDht extends HyperDHT {
  readonly #options: MeshDhtOptions
  /** `host:port` of relays this node was connected to, with their keys. */
  readonly #relays = new Map<string, Buffer>()
  #check: NodeJS.Timeout | null = null

  constructor(options: MeshDhtOptions) {
    const { bootstrap, knownNodes, keyPair } = options
    const given: Record<string, unknown> = {
      keyPair,
      nodes: knownNodes,
      port: DEFAULT_PORT,
      randomPunchInterval: RANDOM_PUNCH_MS
    }
    if (bootstrap.length > 0) given['bootstrap'] = bootstrap
    // On loopback a node cannot learn its address from others, and takes itself for firewalled.
    if (isLoopbackOnly(bootstrap)) {
      Object.assign(given, { host: '127.0.0.1', firewalled: false, ephemeral: false })
    }
    super(given)
    this.#options = options
    for (const event of ['ready', 'nat-update', 'network-change']) {
      this.on(event, () => this.#checkLater(0))
    }
    const look = setInterval(() => announceLost(this), LOOK_MS)
    look.unref()
    this.once('close', () => {
      clearInterval(look)
      this.#stopChecking()
    })
  }

  /**
   * HyperDHT asks once at its start, often before it knows its own address, and again after 20
   * minutes: too late for who is to carry others.
   */
  #checkLater(nth: number): void {
    this.#stopChecking()
    const ms = OPEN_CHECKS[nth]
    if (ms === undefined || !this.firewalled) return
    this.#check = setTimeout(() => {
      this._updateNetworkState(true).then(
        (isOpen) => {
          if (isOpen) this.emit('open')
          else this.#checkLater(nth + 1)
        },
        () => this.#checkLater(nth + 1)
      )
    }, ms)
    this.#check.unref()
  }

  #stopChecking(): void {
    if (this.#check !== null) clearTimeout(this.#check)
    this.#check = null
  }

  override connect(key: Buffer, options?: ConnectOptions): Connection {
    const { addresses, relayThrough } = this.#options.routeTo(key)
    // Only HyperDHT itself asks for a connection without options: the leg to a relay.
    if (options === undefined) {
      const leg = super.connect(key, { relayAddresses: addresses })
      leg.once('open', () => {
        const raw = leg.rawStream
        if (raw !== null) this.#relays.set(`${raw.remoteHost}:${raw.remotePort}`, key)
      })
      return leg
    }
    const relayAddresses = addresses.length > 0 ? addresses : options.relayAddresses
    const connection = super.connect(key, { ...options, relayAddresses, relayThrough })
    this.#options.onDial(key, connection, relayThrough !== null)
    return connection
  }

  /** Through no relay, and seen by nobody before it is open. */
  connectDirectly(key: Buffer, keyPair: KeyPair): Connection {
    const { addresses } = this.#options.routeTo(key)
    return this.connectAs(key, keyPair, { addresses, relayThrough: null })
  }

  /**
   * To another key of a node than that of its links, seen by nobody before it is open: through the
   * relay of the route and never punched, or where it has none, punched. Not both: what is under way
   * through a relay when a connection becomes direct goes to the relay each time it is sent again,
   * and the other end has hung up on that. The connection stands still then for good.
   */
  connectAs(key: Buffer, keyPair: KeyPair, { addresses, relayThrough }: Route): Connection {
    const unpunched = { fastOpen: false, holepunch: () => false }
    return super.connect(key, {
      keyPair,
      relayAddresses: addresses,
      relayThrough,
      ...(relayThrough === null ? {} : unpunched)
    })
  }

  /** Key of the relay at an address, null where none is known there. */
  relayAt(address: Address): Buffer | null {
    return this.#relays.get(`${address.host}:${address.port}`) ?? null
  }

  /** The key of the node at an address, if it is in the mesh of my topic; null where nobody says. */
  async whoIs(address: Address): Promise<Buffer | null> {
    const host = isIP(address.host) === 4 ? address.host : await lookup(address.host)
    if (host === null) return null
    try {
      const { value } = await this.request(
        { command: WHO, target: this.#options.topic },
        { host, port: address.port }
      )
      return value?.length === 32 ? Buffer.from(value) : null
    } catch {
      // Nobody is there, or a DHT node of others: both say nothing.
      return null
    }
  }

  override onrequest(request: DhtRequest): boolean {
    if (request.command !== WHO) return super.onrequest(request)
    if (request.target?.equals(this.#options.topic) !== true) return false
    request.reply(this.#options.nodeKey, { token: false, closerNodes: false })
    return true
  }

  /** Of the socket that who dials this node's address reaches; null until it is bound. */
  get listeningPort(): number | null {
    return this.localAddress()?.port ?? null
  }
}

export const isLoopbackOnly = (bootstrap: Address[]): boolean =>
  bootstrap.length > 0 && bootstrap.every(({ host }) => host.startsWith('127.'))

async function lookup(host: string): Promise<string | null> {
  const { lookup } = await import('node:dns/promises')
  try {
    return (await lookup(host, 4)).address
  } catch {
    return null
  }
}

/** Of a DHT: from fewer answers no node can tell its own address, and then none punches. */
const DHT_NODES = 3

/** A DHT that others may be pointed at: `HOST:PORT` of it is a `--bootstrap`. */
export async function startBootstrapNode(
  host: string,
  fixedPort?: number,
  count = DHT_NODES
): Promise<{ address: string; close(): Promise<void> }> {
  const first = HyperDHT.bootstrapper(fixedPort ?? (await freeUdpPort(host)), host, { host })
  const nodes = [first]
  await first.fullyBootstrapped()
  const address = `${host}:${first.address().port}`
  while (nodes.length < count) {
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
