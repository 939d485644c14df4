/**
 * How this node can be reached, as far as it knows: its addresses, its NAT, and whether it relays for others,
 * which it does where it is openly reachable.
 */
import { networkInterfaces } from 'node:os'
import type { MeshDht } from './dht.ts'
import { lanAddresses } from './lan.ts'
import type { NatKind, Relay } from './relay.ts'

/** How a node can be reached, as it says itself. */
export interface Reachability {
  /** HOST:PORT of its DHT socket, on its LANs and, where it is open, on the internet. */
  addresses: string[]
  nat: NatKind
  /** Id of the key it uses towards relays, and as one. */
  relayKey: string
  /** It carries others' packets. */
  relays: boolean
}

export interface ReachOptions {
  dht: MeshDht
  relay: Relay
  relayKey: string
  /** A mesh of this machine. */
  isLoopback: boolean
  /** Carry the packets of other members. */
  mayRelay: boolean
  onChange(reachability: Reachability): void
}

/** News come in bursts. */
const LOOK_MS = 300
const MAX_ADDRESSES = 16
const NEWS = ['ready', 'nat-update', 'open', 'persistent', 'network-update']

export class Reach {
  readonly #options: ReachOptions
  #now: Reachability | null = null
  #timer: NodeJS.Timeout | null = null
  #ended = false

  constructor(options: ReachOptions) {
    this.#options = options
    for (const event of NEWS) options.dht.on(event, () => this.lookLater())
  }

  /** As last told. */
  get now(): Reachability | null {
    return this.#now
  }

  get nat(): NatKind {
    const { dht, isLoopback } = this.#options
    if (isLoopback || dht.remoteAddress() !== null) return 'open'
    if (dht.host === null) return 'unknown'
    return dht.port === 0 ? 'symmetric' : 'easy'
  }

  lookLater(): void {
    if (this.#ended) return
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#look()
    }, LOOK_MS)
  }

  end(): void {
    this.#ended = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #look(): void {
    const { dht, relay, relayKey, isLoopback, mayRelay } = this.#options
    const port = dht.listeningPort
    if (port === null) return
    const { nat } = this
    const relays = nat === 'open' && !isLoopback && mayRelay
    if (relays) relay.start()
    else relay.stop()
    const open = dht.remoteAddress()
    const hosts = isLoopback ? ['127.0.0.1'] : lanAddresses(networkInterfaces())
    const addresses = [
      ...hosts.map((host) => `${host}:${port}`),
      ...(open === null ? [] : [`${open.host}:${open.port}`])
    ]
    const found = [...new Set(addresses)].slice(0, MAX_ADDRESSES)
    const reachability: Reachability = { addresses: found, nat, relayKey, relays }
    if (JSON.stringify(reachability) === JSON.stringify(this.#now)) return
    this.#now = reachability
    this.#options.onChange(reachability)
  }
}
