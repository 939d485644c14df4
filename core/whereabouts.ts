/**
 * Where the nodes of a mesh are, by all that names them: the members' own word, what is heard on the LAN, the
 * topic, and who answers at an address. The way a dial takes follows from it.
 */
import { networkInterfaces } from 'node:os'
import { bootNow } from './clock.ts'
import { fromId } from './crypto.ts'
import { parseAddress, type Address, type Route } from './dht.ts'
import type { HeldLink } from './dialer.ts'
import { isOnLan } from './lan.ts'
import type { Reachability } from './reach.ts'
import { relayFor, type NatKind, type RelayChoice } from './relay.ts'

export interface KnownMember {
  alive: boolean
  /** Links it says it has. */
  peers: readonly string[]
  /** null until it was heard. */
  reachability: Reachability | null
}

/** What the dialer goes by. */
export interface MeshWorld {
  /** The other members. */
  members: ReadonlyMap<string, KnownMember>
  links: readonly HeldLink[]
}

export interface WhereaboutsOptions {
  self: string
  /** Of this node, now. */
  nat(): NatKind
  /** Whether the DHT knows nobody who could be asked. */
  isLost(): boolean
  /** Dials of a node that failed in a row. */
  attempts(node: string): number
}

/** What was heard on the LAN is good for. */
const HEARD_MS = 150_000
const MAX_STRANGERS = 128
const MAX_ADDRESSES = 4

export class Whereabouts {
  readonly #options: WhereaboutsOptions
  #world: MeshWorld = { members: new Map(), links: [] }
  #byRelayKey = new Map<string, string>()
  /** Addresses they were named with. */
  readonly #strangers = new Map<string, Address[]>()
  /** Addresses heard on the LAN, and when. */
  readonly #heard = new Map<string, { address: Address; at: number }>()

  constructor(options: WhereaboutsOptions) {
    this.#options = options
  }

  get world(): MeshWorld {
    return this.#world
  }

  /** Nodes that are no members here, by their ids. */
  get strangers(): ReadonlyMap<string, readonly Address[]> {
    return this.#strangers
  }

  see(world: MeshWorld): void {
    this.#world = world
    this.#byRelayKey = new Map()
    for (const [id, { reachability }] of world.members) {
      if (reachability !== null) this.#byRelayKey.set(reachability.relayKey, id)
      this.#strangers.delete(id)
    }
  }

  /** Whether it is the id of a key that a member uses towards relays. */
  isRelayKey(id: string): boolean {
    return this.#byRelayKey.has(id)
  }

  /** A node is at an address now. @returns when it was last heard, in boot ms; -Infinity: never */
  hear(id: string, address: Address): number {
    const now = bootNow()
    const before = this.#heard.get(id)?.at ?? -Infinity
    this.#heard.set(id, { address, at: now })
    for (const [old, { at }] of this.#heard) if (now - at > HEARD_MS) this.#heard.delete(old)
    return before
  }

  /** Where nothing is said of addresses, those from before stay. @returns whether it is a new one */
  addStranger(id: string, addresses: Address[]): boolean {
    if (id === this.#options.self || this.#world.members.has(id)) return false
    const known = this.#strangers.get(id)
    this.#strangers.delete(id)
    this.#strangers.set(id, addresses.length > 0 ? addresses : (known ?? []))
    const [oldest] = this.#strangers.keys()
    if (this.#strangers.size > MAX_STRANGERS && oldest !== undefined) this.#strangers.delete(oldest)
    return known === undefined
  }

  /** `id`: of a node, or of the key it uses towards relays. `without`: relays it does not go through. */
  routeTo(id: string, without: readonly string[] = []): Route {
    const node = this.#byRelayKey.get(id) ?? id
    const member = this.#world.members.get(node)
    const attempts = this.#options.attempts(node)
    const interfaces = networkInterfaces()
    const said = (member?.reachability?.addresses ?? []).flatMap(readAddress)
    const heard = this.#heard.get(node)
    const fresh = heard !== undefined && bootNow() - heard.at < HEARD_MS ? [heard.address] : []
    // Addresses of yesterday cost time where they are nobody's now: every other dial leaves them out.
    const trySaid = attempts % 2 === 0 || this.#options.isLost()
    const near = said.filter(({ host }) => isOnLan(host, interfaces))
    const far = said.filter((address) => !near.includes(address))
    const addresses = [
      ...fresh,
      ...(trySaid ? [...near, ...far] : []),
      ...(this.#strangers.get(node) ?? [])
    ].slice(0, MAX_ADDRESSES)
    const relay = !member?.reachability
      ? null
      : relayFor(
          { id: this.#options.self, nat: this.#options.nat() },
          {
            id: node,
            nat: member.reachability.nat,
            onMyLan: fresh.length > 0 || near.length > 0
          },
          attempts,
          this.#relayChoices(node).filter(({ relayKey }) => !without.includes(relayKey))
        )
    return { addresses, relayThrough: relay === null ? null : fromId(relay.relayKey) }
  }

  natOf(id: string): NatKind {
    return this.#world.members.get(id)?.reachability?.nat ?? 'unknown'
  }

  /** A punch there has to guess ports: not on a LAN, whatever the few nodes there say of routers. */
  isRandom(id: string): boolean {
    if (this.#options.nat() !== 'symmetric' && this.natOf(id) !== 'symmetric') return false
    const interfaces = networkInterfaces()
    return !this.routeTo(id).addresses.some(({ host }) => isOnLan(host, interfaces))
  }

  #relayChoices(target: string): RelayChoice[] {
    const linked = new Set(this.#world.links.map(({ id }) => id))
    return [...this.#world.members].flatMap(([id, { alive, reachability, peers }]) =>
      alive && reachability?.relays === true
        ? [
            {
              id,
              relayKey: reachability.relayKey,
              linked: linked.has(id),
              linksTarget: peers.includes(target)
            }
          ]
        : []
    )
  }
}

/** Of a member's own word, which may be anything. */
function readAddress(text: string): Address[] {
  try {
    return [parseAddress(text)]
  } catch {
    // An address that is none is none.
    return []
  }
}
