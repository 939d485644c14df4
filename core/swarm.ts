/**
 * This node's connections: Hyperswarm announces it on the mesh's topic, takes what comes in and
 * keeps one connection a peer; whom this node dials itself, the dialer decides (`dialer.ts`), of
 * those that the view, the topic, the LAN and `--peer` name. The only door to hyperswarm.
 */
import { EventEmitter } from 'node:events'
import { networkInterfaces } from 'node:os'
import Hyperswarm, { type Connection, type Discovery } from 'hyperswarm'
import { bootNow } from './clock.ts'
import { fromId, toId, type KeyPair } from './crypto.ts'
import { isLoopbackOnly, MeshDht, parseAddress, type Address } from './dht.ts'
import {
  backoffMs,
  dialsHeard,
  linkToDrop,
  MAX_DIALS,
  whomToDial,
  type DialState
} from './dialer.ts'
import { sentenceOf } from './errors.ts'
import { isOnLan, Lan, type LanFind } from './lan.ts'
import { Finder } from './finder.ts'
import type { Logger } from './logger.ts'
import type { RelayedLink } from './punch.ts'
import { Puncher } from './puncher.ts'
import { Reach, type Reachability } from './reach.ts'
import { Relay, relayKeyPair } from './relay.ts'
import { Whereabouts, type MeshWorld } from './whereabouts.ts'

export type { Connection } from 'hyperswarm'
export { parseAddress, startBootstrapNode, type Address } from './dht.ts'

export interface SwarmOptions {
  keyPair: KeyPair
  topic: Buffer
  /** HOST:PORT; empty for the public DHT. */
  bootstrap: string[]
  /** HOST:PORT of nodes of the mesh, asked which node they are. */
  peers?: string[]
  /** HOST:PORT of DHT nodes known from before: a start without bootstrap. */
  knownNodes: Address[]
  /** Carry the packets of other members where this node is openly reachable; default true. */
  relay?: boolean
  log: Logger
}

/** The way a connection takes now. */
export interface Path {
  kind: 'lan' | 'direct' | 'relayed'
  /** Of a relayed one: the relay's key, as its `Reachability` names it. */
  relayKey: string | null
  /** HOST:PORT the packets go to. */
  address: string
}

/** What is done to reach a node that no connection leads to. */
export interface DialReport {
  dialling: boolean
  /** In a row. */
  attempts: number
  lastError: string | null
  /** null while it dials or has no reason to. */
  nextInMs: number | null
}

/** Connections at once, those of strangers included. */
const MAX_CONNECTIONS = 40
/**
 * Who comes speaks first. A connection is taken when the other end asks for it, which may have given
 * up meanwhile: dials of both ends that crossed leave such ones behind, and they bar the next dial.
 */
const SILENT_MS = 2_000
/** Of strangers that came by themselves; they have 10 s to show an admission. Members come in besides. */
const MAX_VISITORS = 16
/** Dials of addresses just heard on the LAN take milliseconds, and wait for no others. */
const MAX_NEAR_DIALS = 3
/** A dial through a relay or to an easy NAT is up or failed within it; a random punch takes longer. */
const DIAL_MS = 12_000
const RANDOM_DIAL_MS = 40_000
/** A punch that works at all has mostly worked within it. */
const PUNCHED_MS = 1_000
/** A connection this young that ends counts as a dial that failed: the other end refuses. */
const STEADY_MS = 10_000
const HEARD_AGAIN_MS = 2_000

const LEAVE_MS = 1_000
/** Who came back may bring others: they are dialled again, but not at every flapping of a link. */
const RETURN_EVERY_MS = 2_000

export interface SwarmEvents {
  connection: [Connection, id: string]
  /** How this node can be reached, when it changed. */
  reachability: [Reachability]
  /** The dialer needs no more of a link. */
  spare: [id: string]
}

/**
 * What a mesh needs of its connections: a real swarm, or in simulations a network of their own,
 * which may leave out what is optional.
 */
export type Connections = Pick<
  Swarm,
  'start' | 'setMissing' | 'want' | 'unwant' | 'knownNodes' | 'close'
> &
  Partial<Pick<Swarm, 'see' | 'reachability' | 'pathOf' | 'dialOf'>> &
  Partial<Pick<Swarm, 'host' | 'takeData' | 'dialData' | 'dialRelayed'>> &
  EventEmitter<SwarmEvents>

interface Dialled extends DialState {
  connection: Connection | null
  /** It was begun with one. */
  hasRelay: boolean
  lastError: string | null
}

/** Of what a dialler says in its handshake. */
interface Knock {
  relayThrough: object | null
}

/** Emits `connection` with each live Noise connection; the caller decides who is a peer. */
export class Swarm extends EventEmitter<SwarmEvents> {
  readonly #options: SwarmOptions
  readonly #log: Logger
  readonly #self: string
  readonly #loopback: boolean
  readonly #relayKeys: KeyPair
  readonly #dht: MeshDht
  readonly #swarm: Hyperswarm
  readonly #lan: Lan
  readonly #relay: Relay
  readonly #reach: Reach
  readonly #where: Whereabouts
  readonly #wanted = new Set<string>()
  readonly #dials = new Map<string, Dialled>()
  readonly #puncher: Puncher
  readonly #finder: Finder
  #discovery: Discovery | null = null
  #turn: NodeJS.Timeout | null = null
  #turnAt = Infinity
  #returnedAt = -Infinity
  #closed = false

  constructor(options: SwarmOptions) {
    super()
    this.#options = options
    this.#log = options.log
    this.#self = toId(options.keyPair.publicKey)
    this.#relayKeys = relayKeyPair(options.keyPair)
    const bootstrap = options.bootstrap.map(parseAddress)
    const peers = (options.peers ?? []).map(parseAddress)
    // Peers on loopback alone: a mesh of this machine, which asks nobody outside.
    const own = bootstrap.length === 0 && isLoopbackOnly(peers) ? peers : bootstrap
    this.#loopback = isLoopbackOnly(own)
    this.#where = new Whereabouts({
      self: this.#self,
      nat: () => this.#reach.nat,
      isLost: () => this.#dht.toArray().length === 0,
      attempts: (node) => this.#dials.get(node)?.attempts ?? 0
    })
    this.#dht = new MeshDht({
      bootstrap: own,
      knownNodes: [...options.knownNodes, ...peers],
      keyPair: this.#relayKeys,
      topic: options.topic,
      nodeKey: options.keyPair.publicKey,
      routeTo: (key) => this.#where.routeTo(toId(key)),
      onDial: (key, connection, hasRelay) => this.#onDial(toId(key), connection, hasRelay)
    })
    this.#swarm = new Hyperswarm({
      keyPair: options.keyPair,
      dht: this.#dht,
      // The dialer counts; Hyperswarm must not hold back what it is asked for.
      maxPeers: Infinity,
      maxParallel: 4 * (MAX_DIALS + MAX_NEAR_DIALS),
      firewall: (key: Buffer, knock: Knock | null) => this.#onKnock(toId(key), knock)
    })
    this.#swarm.on('connection', (connection: Connection) => this.#onConnection(connection))
    this.#swarm.on('error', (error: Error) =>
      this.#log.warn({ error: sentenceOf(error) }, 'the swarm reported an error')
    )
    this.#lan = new Lan({
      topic: options.topic,
      self: this.#self,
      port: () => this.#dht.listeningPort,
      log: options.log
    })
    this.#lan.on('found', (find) => this.#onHeard(find))
    this.#relay = new Relay({
      dht: this.#dht,
      keyPair: this.#relayKeys,
      allows: (key) => this.#where.isRelayKey(toId(key)),
      log: options.log
    })
    this.#reach = new Reach({
      dht: this.#dht,
      relay: this.#relay,
      relayKey: toId(this.#relayKeys.publicKey),
      isLoopback: this.#loopback,
      mayRelay: options.relay !== false,
      onChange: (reachability) => void this.emit('reachability', reachability)
    })
    this.#finder = new Finder({
      dht: this.#dht,
      topic: options.topic,
      told: [...peers, ...bootstrap],
      announce: async () => this.#discovery?.refresh({ client: false, server: true }),
      isAlone: () => this.#swarm.connections.size === 0,
      onFound: (id, addresses) => this.#addStranger(id, addresses),
      onAnswer: (id, address) => this.#onAnswer(id, address),
      onPulse: () => this.#searchLan(),
      log: options.log
    })
    this.#puncher = new Puncher({
      self: this.#self,
      nat: () => this.#reach.nat,
      connect: (key) => this.#dht.connectDirectly(key, options.keyPair),
      // As the other end does: the relayed one is older and goes.
      onDirect: (connection) => void this.#swarm.server.emit('connection', connection),
      onEnd: () => this.#wake(0),
      ms: RANDOM_DIAL_MS,
      log: options.log
    })
    this.#watchNetwork()
  }

  /**
   * Announces and looks up, once; returns at once: a DHT that does not answer must not hold a
   * start.
   */
  start(): void {
    if (this.#discovery !== null) return
    this.#discovery = this.#swarm.join(this.#options.topic, { client: false, server: true })
    // A mesh on loopback says nothing on the LAN.
    if (!this.#loopback) this.#lan.start()
    this.#finder.start()
    this.#wake(0)
    this.#reach.lookLater()
  }

  /** Says whether members are known that no link leads to: the pulse is quicker then. */
  setMissing(missing: boolean): void {
    this.#finder.setMissing(missing)
  }

  /** The members as this node sees them now, and its links. */
  see(world: MeshWorld): void {
    const before = this.#where.world
    this.#where.see(world)
    this.#relay.check()
    const returned = [...world.members].some(
      ([id, { alive }]) => alive && before.members.get(id)?.alive !== true
    )
    if (returned && bootNow() - this.#returnedAt > RETURN_EVERY_MS) {
      this.#returnedAt = bootNow()
      this.#dialAgain()
    }
    this.#searchLan()
    this.#wake(0)
  }

  /** Asks for a connection to one node whatever the topic brings. */
  want(nodeId: string): void {
    this.#wanted.add(nodeId)
    const dial = this.#dials.get(nodeId)
    if (dial !== undefined) dial.nextAt = 0
    this.#wake(0)
  }

  unwant(nodeId: string): void {
    this.#wanted.delete(nodeId)
  }

  /** Address of this machine that others reach: any, or loopback in a mesh of this machine. */
  get host(): string {
    return this.#loopback ? '127.0.0.1' : '0.0.0.0'
  }

  /** Takes connections to another key of this node, of keys that are allowed. */
  takeData(
    keyPair: KeyPair,
    allows: (key: Buffer) => boolean,
    onConnection: (connection: Connection) => void
  ): void {
    this.#dht
      .createServer({ firewall: (key) => !allows(key) }, onConnection)
      .listen(keyPair)
      .catch((error: unknown) =>
        this.#log.warn({ error: sentenceOf(error) }, 'tunnels come in from the LAN alone')
      )
  }

  /** Dials a key of a member that is not that of its links. */
  dialData(node: string, key: Buffer, keyPair: KeyPair): Connection {
    return this.#dht.connectAs(key, keyPair, { ...this.#where.routeTo(node), relayThrough: null })
  }

  /** Through the relay that its links would take, but for those in `without`; null where there is none. */
  dialRelayed(
    node: string,
    key: Buffer,
    keyPair: KeyPair,
    without: readonly string[]
  ): { connection: Connection; relay: string } | null {
    const route = this.#where.routeTo(node, without)
    if (route.relayThrough === null) return null
    const connection = this.#dht.connectAs(key, keyPair, route)
    return { connection, relay: toId(route.relayThrough) }
  }

  /**
   * The way a connection takes now; it changes when a relayed one becomes direct. `node` has the
   * other end, which a key of its own need not tell.
   */
  pathOf(connection: Connection, node: string = idOf(connection)): Path {
    // Gone once the connection is closed.
    const raw = connection.rawStream
    const at = { host: raw?.remoteHost ?? '', port: raw?.remotePort ?? 0 }
    const address = `${at.host}:${at.port}`
    const relayKey = this.#relayOf(connection, node)
    if (relayKey !== null) return { kind: 'relayed', relayKey, address }
    const near = isOnLan(at.host, networkInterfaces())
    return { kind: near ? 'lan' : 'direct', relayKey: null, address }
  }

  /** Id of the key of the relay it goes through; null where it goes through none. */
  #relayOf(connection: Connection, node: string): string | null {
    const { rawStream } = connection
    if (rawStream === null) return null
    const relay = this.#dht.relayAt({ host: rawStream.remoteHost, port: rawStream.remotePort })
    if (relay === null) return null
    const id = toId(relay)
    // It may be a relay itself, and this the link with it.
    return this.#where.world.members.get(node)?.reachability?.relayKey === id ? null : id
  }

  dialOf(nodeId: string): DialReport | null {
    const dial = this.#dials.get(nodeId)
    if (dial === undefined) return null
    const { startedAt, attempts, lastError, nextAt } = dial
    const nextInMs = startedAt === null ? Math.max(0, Math.round(nextAt - bootNow())) : null
    return { dialling: startedAt !== null, attempts, lastError, nextInMs }
  }

  /** How this node can be reached, as last emitted. */
  reachability(): Reachability | null {
    return this.#reach.now
  }

  /** The routing table, to be kept for the next start. */
  knownNodes(): Address[] {
    return this.#dht.toArray().map(({ host, port }) => ({ host, port }))
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#turn !== null) clearTimeout(this.#turn)
    this.#reach.end()
    this.#finder.end()
    this.#relay.stop()
    for (const { connection } of this.#dials.values()) connection?.destroy()
    this.#puncher.end()
    for (const connection of this.#swarm.connections) connection.destroy()
    // Unannouncing asks the DHT, which may be out of reach: worth a second, no more.
    const gently = this.#swarm.destroy().catch((error: unknown) => {
      this.#log.debug({ error: sentenceOf(error) }, 'leaving the DHT failed')
    })
    await Promise.race([gently, new Promise((resolve) => setTimeout(resolve, LEAVE_MS))])
    await this.#lan.close()
    await this.#dht.destroy({ force: true })
  }

  #searchLan(): void {
    this.#lan.search(this.#finder.searching)
  }

  #onConnection(connection: Connection): void {
    const id = idOf(connection)
    const openedAt = bootNow()
    connection.on('error', (error: Error) =>
      this.#log.debug({ error: sentenceOf(error) }, 'a connection ended with an error')
    )
    if (!connection.isInitiator && !this.#hasRoomFor(id)) {
      connection.destroy()
      return
    }
    const silent = setTimeout(() => {
      if (connection.rawBytesRead === 0) connection.destroy(new Error('it says nothing'))
    }, SILENT_MS)
    connection.once('close', () => {
      clearTimeout(silent)
      this.#onEnd(id, bootNow() - openedAt)
    })
    this.emit('connection', connection, id)
  }

  /** For one that came in and is counted already. */
  #hasRoomFor(id: string): boolean {
    const { members } = this.#where.world
    const isVisitor = (other: string): boolean => !members.has(other)
    const { connections } = this.#swarm
    if (!isVisitor(id)) return connections.size <= MAX_CONNECTIONS + MAX_VISITORS
    const came = [...connections].filter((each) => !each.isInitiator && isVisitor(idOf(each)))
    return came.length <= MAX_VISITORS && connections.size <= MAX_CONNECTIONS
  }

  /** Lost is dialled again a second later; who hangs up soon, as after a dial that failed. */
  #onEnd(id: string, livedMs: number): void {
    if (this.#closed) return
    const dial = this.#dialled(id)
    if (dial.startedAt !== null) return
    dial.attempts = livedMs < STEADY_MS ? dial.attempts + 1 : 0
    dial.nextAt = bootNow() + this.#backoff(id, Math.max(1, dial.attempts))
    this.#wake(0)
  }

  /**
   * Before a connection that comes in: a dial of mine that hangs at an address that is no more would
   * make Hyperswarm turn it down as the second one. Not so a punch at random ports, which takes long
   * and which another of the same pair only disturbs. Never rejects: that would ban the key.
   */
  #onKnock(id: string, knock: Knock | null): boolean {
    const dial = knock === null ? undefined : this.#dials.get(id)
    if (!dial || dial.connection === null) return false
    // Of two ends that let go for each other none would be left; Hyperswarm itself lets the dial of
    // the lower key go.
    const key = fromId(id)
    const yields = key !== null && Buffer.compare(this.#options.keyPair.publicKey, key) > 0
    const isSecondPunch = knock?.relayThrough === null && this.#where.isRandom(id)
    if (yields && !isSecondPunch && bootNow() - (dial.startedAt ?? 0) > SIMULTANEOUS_MS) {
      dial.connection.destroy(new Error('the other end was faster'))
    }
    return false
  }

  #wake(ms: number): void {
    if (this.#closed || this.#discovery === null) return
    const at = bootNow() + ms
    if (this.#turn !== null && this.#turnAt <= at) return
    if (this.#turn !== null) clearTimeout(this.#turn)
    this.#turnAt = at
    this.#turn = setTimeout(() => this.#onTurn(), Math.min(ms, 60_000))
    this.#turn.unref()
  }

  #onTurn(): void {
    this.#turn = null
    const now = bootNow()
    const { world, strangers } = this.#where
    const { members, links } = world
    const connected = new Set([...this.#swarm.connections].map(idOf))
    const candidates = new Map(
      [...members].map(([id, { alive, peers }]) => [id, { alive, degree: peers.length }])
    )
    const { dials, wakeAt } = whomToDial({
      self: this.#self,
      now,
      members: candidates,
      strangers: new Set(strangers.keys()),
      wanted: this.#wanted,
      links: connected,
      dials: this.#dials
    })
    for (const { id } of dials) this.#begin(id)
    this.#relayHanging(now)
    const spare = linkToDrop({ self: this.#self, members: candidates, links })
    if (spare !== null) this.emit('spare', spare)
    this.#forgetDials(connected)
    this.#wake(Math.max(50, Math.min(wakeAt, this.#puncher.look(this.#relayedLinks())) - now))
  }

  #relayedLinks(): RelayedLink[] {
    const connections = new Map([...this.#swarm.connections].map((each) => [idOf(each), each]))
    return this.#where.world.links.flatMap(({ id, calls }) => {
      const connection = connections.get(id)
      if (connection === undefined || this.#relayOf(connection, id) === null) return []
      return [{ id, calls, nat: this.#where.natOf(id) }]
    })
  }

  /** A newcomer dials before it hears of relays: what hangs then is begun anew with one. */
  #relayHanging(now: number): void {
    for (const [id, dial] of this.#dials) {
      const { connection, startedAt, hasRelay } = dial
      if (connection === null || startedAt === null || hasRelay) continue
      const waitMs = startedAt + PUNCHED_MS - now
      if (waitMs > 0) this.#wake(waitMs)
      else if (this.#where.routeTo(id).relayThrough !== null) {
        dial.nextAt = now
        connection.destroy(new Error(RELAY_KNOWN))
      }
    }
  }

  #begin(id: string): void {
    const key = fromId(id)
    if (key === null) return
    const dial = this.#dialled(id)
    this.#swarm.joinPeer(key)
    // Hyperswarm holds a connection already, one that comes in just now.
    if (dial.startedAt === null) dial.nextAt = bootNow() + 1_000
    if (dial.startedAt === null) this.#swarm.leavePeer(key)
  }

  #onDial(id: string, connection: Connection, hasRelay: boolean): void {
    const dial = this.#dialled(id)
    dial.hasRelay = hasRelay
    dial.startedAt = bootNow()
    dial.connection = connection
    const timer = setTimeout(() => {
      connection.destroy(new Error(`no answer in ${this.#dialMs(id) / 1000} s`))
    }, this.#dialMs(id))
    let reason: Error | null = null
    const end = (): void => {
      clearTimeout(timer)
      connection.off('error', onError)
      // Hyperswarm tries again by itself only those it was asked for.
      this.#swarm.leavePeer(connection.remotePublicKey)
      if (dial.connection === connection) Object.assign(dial, { startedAt: null, connection: null })
    }
    const onError = (error: Error): void => void (reason = error)
    const onClose = (): void => {
      end()
      this.#onDialFailed(id, dial, reason)
    }
    connection.on('error', onError)
    connection.once('close', onClose)
    connection.once('open', () => {
      connection.off('close', onClose)
      end()
      dial.lastError = null
    })
  }

  #onDialFailed(id: string, dial: Dialled, reason: Error | null): void {
    if (this.#closed) return
    if (this.#isConnected(id)) return
    dial.lastError = reason === null ? 'it hung up' : sentenceOf(reason)
    // Both ends dialled at once, and this was the one too many: the other one comes, or is dialled.
    const crossed = dial.lastError === DUPLICATE
    const again = dial.lastError === RELAY_KNOWN || dial.lastError === MOVED
    if (!crossed && !again) dial.attempts++
    // Who let it go said when the next one is due.
    if (!again) dial.nextAt = bootNow() + (crossed ? 300 : this.#backoff(id, dial.attempts))
    this.#log.debug({ node: id, error: dial.lastError, attempts: dial.attempts }, 'a dial failed')
    this.#wake(0)
  }

  #dialled(id: string): Dialled {
    const known = this.#dials.get(id)
    if (known !== undefined) return known
    const fresh = {
      attempts: 0,
      nextAt: 0,
      startedAt: null,
      connection: null,
      hasRelay: false,
      lastError: null
    }
    this.#dials.set(id, fresh)
    return fresh
  }

  #backoff = (id: string, attempts: number): number =>
    backoffMs(attempts, this.#where.world.members.has(id), Math.random())

  #dialMs(id: string): number {
    const isLong = this.#where.isRandom(id) && this.#where.routeTo(id).relayThrough === null
    return isLong ? RANDOM_DIAL_MS : DIAL_MS
  }

  #forgetDials(connected: ReadonlySet<string>): void {
    for (const [id, { startedAt }] of this.#dials) {
      const { world, strangers } = this.#where
      const known = world.members.has(id) || strangers.has(id) || connected.has(id)
      if (startedAt === null && !known && !this.#wanted.has(id)) this.#dials.delete(id)
    }
  }

  /** Everybody is dialled anew: the network changed, or who came back may not be the only one. */
  #dialAgain(): void {
    const now = bootNow()
    for (const dial of this.#dials.values()) {
      if (dial.startedAt !== null) continue
      dial.attempts = 0
      dial.nextAt = Math.min(dial.nextAt, now + Math.random() * 300)
    }
    this.#wake(0)
  }

  /** A node at an address of this network. */
  #onHeard({ id, host, port, isNew }: LanFind): void {
    const before = this.#where.hear(id, { host, port })
    const { members, links } = this.#where.world
    const member = members.get(id)
    const isMember = member !== undefined
    if (!isMember) this.#addStranger(id, [])
    // A member that is heard again is within reach again: a dial from before may hang for seconds.
    const isBack = isMember && !this.#isConnected(id) && bootNow() - before > HEARD_AGAIN_MS
    if (!isNew && !isBack) return
    const isAlive = member?.alive !== false
    if (!dialsHeard({ links: links.length, isAlive })) return
    const dial = this.#dialled(id)
    if (dial.startedAt !== null && bootNow() - dial.startedAt < SIMULTANEOUS_MS) return
    dial.attempts = 0
    // Both ends hear each other at once; two connections that cross cost both.
    const first = members.size === 0 || (isMember && this.#self < id)
    const ms = first ? 0 : 700
    dial.nextAt = bootNow() + ms
    if (dial.connection !== null) return (dial.connection.destroy(new Error(MOVED)), undefined)
    if (ms > 0) return this.#wake(ms)
    const running = [...this.#dials.values()].filter(({ startedAt }) => startedAt !== null).length
    if (running < MAX_DIALS + MAX_NEAR_DIALS && !this.#isConnected(id)) this.#begin(id)
  }

  #isConnected = (id: string): boolean =>
    [...this.#swarm.connections].some((each) => idOf(each) === id)

  #addStranger(id: string, addresses: Address[]): void {
    if (this.#where.addStranger(id, addresses)) this.#wake(0)
  }

  /** Who answers at an address it was told of. */
  #onAnswer(id: string, address: Address): void {
    if (id === this.#self || this.#isConnected(id)) return
    const dial = this.#dials.get(id)
    this.#where.hear(id, address)
    this.#addStranger(id, [address])
    if ((dial?.startedAt ?? null) === null) this.#wake(0)
  }

  #watchNetwork(): void {
    const changed = (): void => {
      this.#reach.lookLater()
      this.#dialAgain()
      void this.#finder.lookUp()
    }
    this.#lan.on('change', changed)
    this.#dht.on('network-change', changed)
    this.#dht.bind().then(
      () => this.#reach.lookLater(),
      (error: unknown) => this.#log.error({ error: sentenceOf(error) }, 'the DHT has no socket')
    )
  }
}

/** Node ids of the other ends: asked for at every look around, and slow to write out. */
const ids = new WeakMap<Connection, string>()

function idOf(connection: Connection): string {
  const id = ids.get(connection) ?? toId(connection.remotePublicKey)
  ids.set(connection, id)
  return id
}

const MOVED = 'it moved'
const RELAY_KNOWN = 'a relay is known now'

/** Hyperswarm's word for the second connection to one peer. */
const DUPLICATE = 'Duplicate connection'

/** Dials of both ends that cross are younger than this: Hyperswarm picks one of them. */
const SIMULTANEOUS_MS = 1_000
