/**
 * What a session goes over: a connection that takes messages as long as it has less under way than keeps
 * it busy. What waits beyond that waits where its order can still be chosen.
 */
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { Packets } from './packets.ts'
import type { Connection } from './swarm.ts'
import { PROBE_BYTES, UnderWay } from './under-way.ts'

export interface LineListener {
  onBytes: (bytes: Buffer) => void
  /** There may be room again. */
  onRoom: () => void
  /** Nothing goes over any more. */
  onClose: (error: Error) => void
}

export interface Line {
  /** Once, before anything else. */
  start(listener: LineListener): void
  /** Bytes that the next message may have; 0 where it takes none now. */
  room(): number
  /**
   * It has enough under way: data waits. Answers do not: who hears nothing of what it sent, since its
   * other end waits to hear the same, would wait for ever.
   */
  isBusy(): boolean
  /** What the next message is written into. */
  alloc(bytes: number): Buffer
  /**
   * Asked before a message of so many bytes. Where the line cannot tell by itself what has gone over:
   * what to call once the other end has heard that message. Mostly null.
   */
  mark(bytes: number): (() => void) | null
  /** Bytes of a message of so many that are better left for the next one. */
  excess(bytes: number): number
  /** Bytes that mean nothing, to put behind a message of so many: at least `least`, or none. */
  padding(bytes: number, least: number): number
  write(message: Buffer): void
  /** Reads no more for now. */
  pause(): void
  resume(): void
  /** Ends once all that was written is out, or after `ms`. */
  end(ms: number): void
  destroy(error?: Error): void
}

/**
 * In one encrypted message. Its other end can begin with none before all of it is there, and
 * acknowledges nothing while it decrypts, so that a megabyte at once holds up the line. With what goes
 * around it, 64 KiB: of 128 and more, malloc asks the system for each anew.
 */
const MESSAGE_BYTES = 64 * 1024 - 20
const LEAST_MESSAGE_BYTES = 16 * 1024
/** So long others may wait behind what is under way beyond what the line itself holds. */
const BEHIND_MS = 100
/** Given to the system's socket and not taken by it. */
const SOCKET_BYTES = 128 * 1024
/** Under way on a LAN before anything is known of it. */
const NEAR_BYTES = 64 * 1024
/** A packet that is not full has gone by then, unless much is under way. */
const GONE_MS = 2
/** After so many the other end is asked for a sign. */
const MARK_BYTES = 16 * 1024

/** What lines over any stream have in common. */
abstract class StreamLine {
  protected readonly underWay: UnderWay
  readonly #stream: Stream
  #listener: LineListener | null = null

  constructor(stream: Stream, underWay: UnderWay) {
    this.#stream = stream
    this.underWay = underWay
  }

  /** Bytes under way with which it is busy. */
  protected abstract get limit(): number
  /** What is below it takes no more for now. */
  protected abstract get isFull(): boolean

  start(listener: LineListener): void {
    this.#listener = listener
    hear(this.#stream, listener)
  }

  room(): number {
    return this.isFull ? 0 : messageBytes(this.limit)
  }

  isBusy(): boolean {
    return this.underWay.bytes >= this.limit
  }

  protected onRoom(): void {
    this.#listener?.onRoom()
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(ms: number): void {
    endWithin(this.#stream, ms)
  }

  destroy(error?: Error): void {
    this.#stream.destroy(error)
  }
}

/**
 * Over TLS. How much the system holds of what it took it does not tell, and on a slow LAN that is what
 * others wait behind for seconds: so the other end has to tell what came.
 */
export class NearLine extends StreamLine implements Line {
  readonly #socket: TLSSocket
  #queued = 0
  #unmarked = 0

  /** `now` in ms. */
  constructor(socket: TLSSocket, now?: () => number) {
    super(socket, new UnderWay(now))
    this.#socket = socket
  }

  protected get limit(): number {
    const { rate, leastMs, isStale } = this.underWay
    return isStale ? PROBE_BYTES : NEAR_BYTES + rate * (leastMs + BEHIND_MS)
  }

  protected get isFull(): boolean {
    return this.#queued >= SOCKET_BYTES
  }

  alloc(bytes: number): Buffer {
    return Buffer.allocUnsafe(bytes)
  }

  mark(bytes: number): (() => void) | null {
    this.#unmarked += bytes
    if (this.#unmarked < MARK_BYTES) return null
    const over = this.underWay.add(this.#unmarked)
    this.#unmarked = 0
    return () => {
      over()
      this.onRoom()
    }
  }

  excess(): number {
    return 0
  }

  padding(): number {
    return 0
  }

  write(message: Buffer): void {
    this.#queued += message.length
    this.#socket.write(message, () => {
      this.#queued -= message.length
      this.onRoom()
    })
  }
}

/** Over UDX, which takes all it is given, and tells what was acknowledged and what it has in flight. */
export class FarLine extends StreamLine implements Line {
  readonly #connection: Connection
  readonly #packets: Packets
  /** Until it drains. */
  #isFull = false
  /** Until what was written has gone. */
  #going: object | null = null

  constructor(connection: Connection) {
    const underWay = new UnderWay()
    super(connection, underWay)
    this.#connection = connection
    this.#packets = new Packets(() => connection.rawStream ?? {}, underWay)
  }

  override start(listener: LineListener): void {
    super.start(listener)
    this.#connection.on('drain', () => {
      this.#isFull = false
      this.onRoom()
    })
    // Its encryption has just written its own first message.
    if (this.#packets.mustGo(0)) this.#letGo()
  }

  override room(): number {
    return this.isFull ? 0 : this.#packets.most(super.room())
  }

  protected get limit(): number {
    const { cwnd, mtu = 0 } = this.#connection.rawStream ?? {}
    const behind = Math.max(LEAST_MESSAGE_BYTES, this.underWay.rate * BEHIND_MS)
    return cwnd === undefined ? Infinity : cwnd * mtu + behind
  }

  protected get isFull(): boolean {
    return this.#isFull || this.#going !== null
  }

  alloc(bytes: number): Buffer {
    return this.#connection.alloc?.(bytes) ?? Buffer.allocUnsafe(bytes)
  }

  mark(): null {
    return null
  }

  excess(bytes: number): number {
    return this.#packets.excess(bytes)
  }

  padding(bytes: number, least: number): number {
    return this.#packets.padding(bytes, least)
  }

  write(message: Buffer): void {
    const { length } = message
    const going = this.#packets.mustGo(length) ? this.#letGo() : null
    this.#isFull = !this.#connection.write(message)
    const flushed = this.#connection.flush?.()
    if (flushed === undefined) return
    const heard = [this.underWay.add(length), this.#packets.add(length)]
    const over = (): void => {
      for (const each of heard) each()
      if (this.#going === going) this.#going = null
      this.onRoom()
    }
    flushed.then(over, over)
  }

  #letGo(): object {
    const going = {}
    this.#going = going
    const gone = (): void => {
      if (this.#going !== going) return
      this.#going = null
      this.onRoom()
    }
    // Timers come before UDX in a turn of the event loop, which may have taken as long by itself.
    setTimeout(() => setImmediate(gone), GONE_MS)
    return going
  }
}

/** Little at once where the line carries little. */
const messageBytes = (limit: number): number =>
  Math.max(LEAST_MESSAGE_BYTES, Math.min(Math.floor(limit / 4), MESSAGE_BYTES))

/** The streams of Holepunch are none of Node's own, but alike in this. */
type Stream = Pick<Duplex, 'on' | 'once' | 'pause' | 'resume' | 'end' | 'destroy'>

function hear(stream: Stream, { onBytes, onClose }: LineListener): void {
  let failure = new Error('the connection is gone')
  stream.on('data', onBytes)
  stream.on('error', (error: Error) => (failure = error))
  // Its other end has ended it: it has no flows any more.
  stream.once('end', () => stream.end())
  stream.once('close', () => onClose(failure))
}

/** By itself it is open until what was written has gone over, which it may never do. */
function endWithin(stream: Stream, ms: number): void {
  const timer = setTimeout(() => stream.destroy(), ms)
  stream.once('close', () => clearTimeout(timer))
  stream.end()
}
