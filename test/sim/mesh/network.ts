/**
 * The seeded network, in place of Hyperswarm: connections with the manners of UDX and Noise (whole
 * frames, in order, or none), over paths with delay, jitter and loss that can be cut. Datagrams that
 * are lost, doubled or out of order cost a stream time and nothing else, until the loss is such that
 * the stream gives up; frames of different connections overtake each other freely.
 */
import { EventEmitter } from 'node:events'
import { Duplex } from 'streamx'
import { hash, toId, type KeyPair } from '../../../core/crypto.ts'
import { backoffMs, linkToDrop, whomToDial, type DialState } from '../../../core/dialer.ts'
import { pulseMs } from '../../../core/finder.ts'
import type { Reachability } from '../../../core/reach.ts'
import type { Connection, Connections, SwarmEvents, SwarmOptions } from '../../../core/swarm.ts'
import type { MeshWorld } from '../../../core/whereabouts.ts'
import type { Random } from '../../soak/random.ts'
import type { Life, VirtualTime } from './virtual-time.ts'

export interface Conditions {
  /** One way, in ms; jitter is added on top. */
  delayMs: number
  jitterMs: number
  /** Of a frame, each time it is sent. */
  loss: number
}

/** First retransmission; each further one waits twice as long. */
const RETRANSMIT_MS = 200
/** So many losses of one frame in a row end the connection. */
const GIVE_UP_LOSSES = 6
/** A stream whose path is cut notices after so long, if nobody told it before. */
const DEAD_PATH_MS = 14_000
/** Looking for a path that is cut. */
const RETRY_PATH_MS = 500

/** Of Hyperswarm and of `core/swarm.ts`: how connections come about. */
const LOOKUP_MS = 60
const TELL_MS = 300
const DIAL_TIMEOUT_MS = 12_000
const STEADY_MS = 10_000
const RETURN_EVERY_MS = 2_000

export class SimNetwork {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #swarms = new Map<string, SimSwarm>()
  readonly #cuts = new Set<string>()
  #handshakes = 0
  #sides = new Map<string, number>()
  conditions: Conditions = { delayMs: 5, jitterMs: 2, loss: 0 }
  readonly stats = { connections: 0, frames: 0, bytes: 0, lost: 0 }

  constructor(time: VirtualTime, random: Random) {
    this.#time = time
    this.#random = random
  }

  /** What `MeshComponents.openSwarm` is for a node of this network. */
  open(life: Life, options: SwarmOptions): Connections {
    return new SimSwarm(this, this.#time, life, options)
  }

  /** Splits: nodes of different numbers do not reach each other. All others are on side 0. */
  split(sides: ReadonlyMap<string, number>): void {
    this.#sides = new Map(sides)
  }

  /** A new node, on the side of another. */
  put(id: string, beside: string): void {
    this.#sides.set(id, this.#sides.get(beside) ?? 0)
  }

  /** No path is cut. */
  get whole(): boolean {
    return this.#cuts.size === 0 && new Set(this.#sides.values()).size <= 1
  }

  /** Cuts the path between two nodes, whatever side they are on. */
  cut(a: string, b: string): void {
    this.#cuts.add(pairOf(a, b))
  }

  heal(): void {
    this.#sides = new Map()
    this.#cuts.clear()
  }

  /** By node id. */
  reaches(a: string, b: string): boolean {
    return (this.#sides.get(a) ?? 0) === (this.#sides.get(b) ?? 0) && !this.#cuts.has(pairOf(a, b))
  }

  /** @internal */
  announce(swarm: SimSwarm): void {
    this.#swarms.set(swarm.id, swarm)
  }

  /** @internal */
  withdraw(swarm: SimSwarm): void {
    if (this.#swarms.get(swarm.id) === swarm) this.#swarms.delete(swarm.id)
  }

  /** Who is on the topic, in reach. */
  lookup(from: SimSwarm): SimSwarm[] {
    return [...this.#swarms.values()].filter(
      (other) => other !== from && !other.life.dead && this.reaches(from.id, other.id)
    )
  }

  /** Both ends of a new connection once it stands; null where there is no path or no answer. */
  connect(from: SimSwarm, to: string, done: (opened: boolean) => void): void {
    const started = this.#time.now
    const attempt = (): void => {
      const target = this.#swarms.get(to)
      const open = target !== undefined && !target.life.dead && !target.life.paused
      if (open && this.reaches(from.id, to)) {
        this.#time.after(this.#delay(), target.life, () => this.#establish(from, target, done))
      } else if (this.#time.now - started >= DIAL_TIMEOUT_MS) done(false)
      else this.#time.after(RETRY_PATH_MS, from.life, attempt)
    }
    this.#time.after(this.#delay(), from.life, attempt)
  }

  #establish(from: SimSwarm, to: SimSwarm, done: (opened: boolean) => void): void {
    if (from.closed || to.closed || !this.reaches(from.id, to.id)) {
      this.#time.after(0, from.life, () => done(false))
      return
    }
    this.stats.connections++
    const handshakeHash = hash('sim', Buffer.from(`handshake ${++this.#handshakes}`))
    const client = new SimConnection(from, to, true, handshakeHash)
    const server = new SimConnection(to, from, false, handshakeHash)
    for (const [end, other] of [
      [client, server],
      [server, client]
    ] as const) {
      end.path = new Path(this, this.#time, end, other)
    }
    // The server end stands first; what it says at once reaches the other when that stands too.
    to.take(server)
    this.#time.after(this.#delay(), from.life, () => {
      done(true)
      from.take(client)
      client.path?.open()
      server.path?.open()
    })
  }

  #delay(): number {
    const { delayMs, jitterMs } = this.conditions
    return delayMs + this.#random.integer(jitterMs * 1000 + 1) / 1000
  }

  /** How long a frame takes, retransmissions included; null where the stream gives up. */
  transit(): number | null {
    let ms = this.#delay()
    for (let losses = 0; this.#random.chance(this.conditions.loss); losses++) {
      this.stats.lost++
      if (losses === GIVE_UP_LOSSES) return null
      ms += RETRANSMIT_MS * 2 ** losses
    }
    return ms
  }
}

/** One direction of a connection: frames arrive in order, or the connection ends. */
class Path {
  readonly #network: SimNetwork
  readonly #time: VirtualTime
  readonly #from: SimConnection
  readonly #to: SimConnection
  #queue: { frame: Buffer | 'end' | 'destroy'; at: number }[] = []
  #lastAt = 0
  #stuckSince: number | null = null
  #running = false
  #open = false

  constructor(network: SimNetwork, time: VirtualTime, from: SimConnection, to: SimConnection) {
    this.#network = network
    this.#time = time
    this.#from = from
    this.#to = to
  }

  open(): void {
    this.#open = true
    this.#run()
  }

  send(frame: Buffer | 'end' | 'destroy'): void {
    if (this.#from.swarm.life.dead) return
    const ms = this.#network.transit()
    if (ms === null) {
      this.#from.fail('it lost too much')
      this.#to.fail('it lost too much')
      return
    }
    // In whole ms: what arrives together is one wake-up.
    const at = Math.ceil(this.#time.now + ms)
    const { swarm, rawStream } = this.#to
    // The packet of a frame that waits for one before it is heard all the same.
    if (at < this.#lastAt && this.#network.reaches(this.#from.swarm.id, swarm.id)) {
      this.#time.after(ms, swarm.life, () => rawStream.packetsReceived++)
    }
    this.#lastAt = Math.max(this.#lastAt, at)
    this.#queue.push({ frame, at: this.#lastAt })
    this.#run()
  }

  #run(): void {
    const next = this.#queue[0]
    if (this.#running || !this.#open || next === undefined) return
    this.#running = true
    this.#time.after(next.at - this.#time.now, this.#to.swarm.life, () => this.#arrive())
  }

  #arrive(): void {
    this.#running = false
    if (!this.#network.reaches(this.#from.swarm.id, this.#to.swarm.id)) return this.#wait()
    this.#stuckSince = null
    while (this.#queue[0] !== undefined && this.#queue[0].at <= this.#time.now) {
      const next = this.#queue.shift()
      if (next !== undefined) this.#to.receive(next.frame)
    }
    this.#run()
  }

  /** The path is cut: the sender retransmits until it gives up. */
  #wait(): void {
    this.#stuckSince ??= this.#time.now
    if (this.#time.now - this.#stuckSince >= DEAD_PATH_MS) {
      this.#from.fail('it timed out')
      this.#queue = []
      return
    }
    this.#running = true
    this.#time.after(RETRY_PATH_MS, this.#to.swarm.life, () => this.#arrive())
  }
}

/** One end of a connection, with what protomux, hypercore and brume use of a Noise stream. */
class SimConnection extends Duplex {
  readonly swarm: SimSwarm
  readonly publicKey: Buffer
  readonly remotePublicKey: Buffer
  readonly remoteId: string
  readonly isInitiator: boolean
  readonly handshakeHash: Buffer
  readonly connected = true
  readonly opened = Promise.resolve(true)
  readonly keepAlive = 5000
  readonly rawStream = { packetsReceived: 0 }
  userData: unknown = null
  rawBytesRead = 0
  rawBytesWritten = 0
  path: Path | null = null
  #told = false

  constructor(local: SimSwarm, remote: SimSwarm, isInitiator: boolean, handshakeHash: Buffer) {
    super()
    this.swarm = local
    this.publicKey = local.keyPair.publicKey
    this.remotePublicKey = remote.keyPair.publicKey
    this.remoteId = remote.id
    this.isInitiator = isInitiator
    this.handshakeHash = handshakeHash
  }

  get noiseStream(): this {
    return this
  }

  setKeepAlive(): void {}

  sendKeepAlive(): void {}

  receive(frame: Buffer | 'end' | 'destroy'): void {
    if (this.destroying) return
    if (frame === 'end') return void this.push(null)
    if (frame === 'destroy') {
      this.#told = true
      this.destroy(new Error('connection reset by peer'))
      return
    }
    this.rawBytesRead += frame.length
    this.rawStream.packetsReceived++
    this.push(frame)
  }

  /** The stream gave up: nobody tells the other end. */
  fail(why: string): void {
    this.#told = true
    this.swarm.run(() => this.destroy(new Error(`connection lost: ${why}`)))
  }

  override _write(data: unknown, done: (error: Error | null) => void): void {
    const frame = data as Buffer
    const { stats } = this.swarm.network
    stats.frames++
    stats.bytes += frame.length
    this.rawBytesWritten += frame.length
    this.path?.send(Buffer.from(frame))
    done(null)
  }

  override _final(done: (error: Error | null) => void): void {
    this.path?.send('end')
    done(null)
  }

  override _predestroy(): void {
    if (!this.#told) this.path?.send('destroy')
    this.#told = true
  }
}

/** `Connections` of one run of a node: whom to dial says the real dialer, as in `core/swarm.ts`. */
export class SimSwarm extends EventEmitter<SwarmEvents> implements Connections {
  readonly network: SimNetwork
  readonly life: Life
  readonly keyPair: KeyPair
  readonly id: string
  closed = false
  readonly #time: VirtualTime
  readonly #all = new Map<string, SimConnection>()
  readonly #dials = new Map<string, DialState>()
  readonly #wanted = new Set<string>()
  readonly #strangers = new Set<string>()
  #world: MeshWorld = { members: new Map(), links: [] }
  #started = false
  #pulses = 0
  #missing = false
  #returnedAt = -Infinity
  #stopPulse: (() => void) | null = null
  #turn: { at: number; stop: () => void } | null = null

  constructor(network: SimNetwork, time: VirtualTime, life: Life, options: SwarmOptions) {
    super()
    this.network = network
    this.life = life
    this.keyPair = options.keyPair
    this.id = toId(options.keyPair.publicKey)
    this.#time = time
  }

  run(act: () => void): void {
    this.#time.as(this.life, act)
  }

  start(): void {
    if (this.#started || this.closed) return
    this.#started = true
    this.#time.after(LOOKUP_MS, this.life, () => {
      if (!this.closed) this.network.announce(this)
    })
    this.#time.after(TELL_MS, this.life, () => {
      if (this.closed) return
      const body: Reachability = { addresses: [], nat: 'open', relayKey: this.id, relays: true }
      this.emit('reachability', body)
    })
    this.#schedulePulse()
    this.#wake(0)
  }

  setMissing(missing: boolean): void {
    if (missing === this.#missing) return
    this.#missing = missing
    this.#schedulePulse()
  }

  see(world: MeshWorld): void {
    const before = this.#world
    this.#world = world
    for (const id of world.members.keys()) this.#strangers.delete(id)
    const returned = [...world.members].some(
      ([id, { alive }]) => alive && before.members.get(id)?.alive !== true
    )
    if (returned && this.#time.now - this.#returnedAt > RETURN_EVERY_MS) {
      this.#returnedAt = this.#time.now
      for (const dial of this.#dials.values()) {
        if (dial.startedAt !== null) continue
        dial.attempts = 0
        dial.nextAt = Math.min(dial.nextAt, this.#time.now + Math.random() * 300)
      }
    }
    this.#wake(0)
  }

  want(id: string): void {
    this.#wanted.add(id)
    const dial = this.#dials.get(id)
    if (dial !== undefined) dial.nextAt = 0
    this.#wake(0)
  }

  unwant(id: string): void {
    this.#wanted.delete(id)
  }

  knownNodes(): [] {
    return []
  }

  close(): Promise<void> {
    this.closed = true
    this.network.withdraw(this)
    this.#stopPulse?.()
    this.#turn?.stop()
    for (const connection of this.#all.values()) connection.destroy()
    return Promise.resolve()
  }

  /** A new connection stands. Two of one pair: as Hyperswarm decides it. */
  take(connection: SimConnection): void {
    this.run(() => {
      const existing = this.#all.get(connection.remoteId)
      if (this.closed) return void connection.destroy()
      if (existing !== undefined && !connection.isInitiator) {
        const outdated = existing.rawBytesRead > 0 && existing.rawBytesWritten > 0
        const initiates = Buffer.compare(connection.publicKey, connection.remotePublicKey) > 0
        if (!outdated && initiates !== connection.isInitiator) {
          connection.on('error', () => {})
          connection.destroy(new Error('Duplicate connection'))
          return
        }
        existing.destroy(new Error('Duplicate connection'))
      }
      const openedAt = this.#time.now
      this.#all.set(connection.remoteId, connection)
      connection.on('error', () => {})
      connection.once('close', () => this.#onClose(connection, this.#time.now - openedAt))
      this.emit('connection', connection as unknown as Connection, connection.remoteId)
    })
  }

  #onClose(connection: SimConnection, livedMs: number): void {
    const id = connection.remoteId
    if (this.#all.get(id) === connection) this.#all.delete(id)
    const dial = this.#dialled(id)
    if (this.closed || dial.startedAt !== null) return
    dial.attempts = livedMs < STEADY_MS ? dial.attempts + 1 : 0
    dial.nextAt = this.#time.now + this.#backoff(id, Math.max(1, dial.attempts))
    this.#wake(0)
  }

  #onTurn(): void {
    this.#turn = null
    const { now } = this.#time
    const { members, links } = this.#world
    const candidates = new Map(
      [...members].map(([id, { alive, peers }]) => [id, { alive, degree: peers.length }])
    )
    const { dials, wakeAt } = whomToDial({
      self: this.id,
      now,
      members: candidates,
      strangers: this.#strangers,
      wanted: this.#wanted,
      links: new Set(this.#all.keys()),
      dials: this.#dials
    })
    for (const { id } of dials) this.#dial(id)
    const spare = linkToDrop({ self: this.id, members: candidates, links })
    if (spare !== null) this.emit('spare', spare)
    this.#wake(Math.max(50, wakeAt - now))
  }

  #dial(id: string): void {
    const dial = this.#dialled(id)
    dial.startedAt = this.#time.now
    this.network.connect(this, id, (opened) => {
      dial.startedAt = null
      if (opened || this.closed || this.#all.has(id)) return
      dial.attempts++
      dial.nextAt = this.#time.now + this.#backoff(id, dial.attempts)
      this.#wake(0)
    })
  }

  #dialled(id: string): DialState {
    const known = this.#dials.get(id) ?? { attempts: 0, nextAt: 0, startedAt: null }
    this.#dials.set(id, known)
    return known
  }

  #backoff = (id: string, attempts: number): number =>
    backoffMs(attempts, this.#world.members.has(id), Math.random())

  #wake(ms: number): void {
    if (this.closed || !this.#started) return
    const at = this.#time.now + Math.min(ms, 60_000)
    if (this.#turn !== null && this.#turn.at <= at) return
    this.#turn?.stop()
    this.#turn = {
      at,
      stop: this.#time.after(at - this.#time.now, this.life, () => this.#onTurn())
    }
  }

  #look(): void {
    if (this.closed) return
    for (const { id } of this.network.lookup(this)) {
      if (!this.#world.members.has(id)) this.#strangers.add(id)
    }
    this.#wake(0)
  }

  #schedulePulse(): void {
    if (this.closed || !this.#started) return
    this.#stopPulse?.()
    const ms = pulseMs(this.#pulses, { alone: this.#all.size === 0, missing: this.#missing })
    this.#stopPulse = this.#time.after(ms, this.life, () => {
      this.#pulses++
      this.#time.after(LOOKUP_MS, this.life, () => this.#look())
      this.#schedulePulse()
    })
  }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)
