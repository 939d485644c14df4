/**
 * What a session goes over: a connection that takes messages as long as it has less under way than keeps
 * it busy. What waits beyond that waits where its order can still be chosen.
 */
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Connection } from './swarm.ts'

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
  /** Bytes that the next message may have; 0 where it has enough to do. */
  room(): number
  /** What the next message is written into. */
  alloc(bytes: number): Buffer
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
/** Given to the system's socket and not taken by it. */
const SOCKET_BYTES = 128 * 1024
/** So long others may wait behind what is under way beyond what the line itself holds. */
const BEHIND_MS = 100
/** What went over longer ago says little of what goes over now. */
const RATE_MS = 500

/** Over TLS: what is under way beyond this is in the system's hands. */
export class NearLine implements Line {
  readonly #socket: TLSSocket
  #onRoom = (): void => {}
  #queued = 0

  constructor(socket: TLSSocket) {
    this.#socket = socket
  }

  start(listener: LineListener): void {
    this.#onRoom = () => listener.onRoom()
    hear(this.#socket, listener)
  }

  room(): number {
    return this.#queued < SOCKET_BYTES ? MESSAGE_BYTES : 0
  }

  alloc(bytes: number): Buffer {
    return Buffer.allocUnsafe(bytes)
  }

  write(message: Buffer): void {
    this.#queued += message.length
    this.#socket.write(message, () => {
      this.#queued -= message.length
      this.#onRoom()
    })
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(ms: number): void {
    endWithin(this.#socket, ms)
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error)
  }
}

/**
 * Over UDX, which takes all it is given: here as much is under way as is in flight, and as goes over in a
 * tenth of a second, told by acknowledgements.
 */
export class FarLine implements Line {
  readonly #connection: Connection
  #onRoom = (): void => {}
  /** The connection takes no more until it drains. */
  #isBusy = false
  /** Given to the connection and not acknowledged. */
  #underWay = 0
  /** Bytes a ms that were acknowledged of late, at `#ratedAt`. */
  #rate = 0
  #ratedAt = 0

  constructor(connection: Connection) {
    this.#connection = connection
  }

  start(listener: LineListener): void {
    this.#onRoom = () => listener.onRoom()
    this.#connection.on('drain', () => {
      this.#isBusy = false
      listener.onRoom()
    })
    hear(this.#connection, listener)
  }

  room(): number {
    const limit = this.#limit()
    if (this.#isBusy || this.#underWay >= limit) return 0
    return Math.max(LEAST_MESSAGE_BYTES, Math.min(Math.floor(limit / 4), MESSAGE_BYTES))
  }

  alloc(bytes: number): Buffer {
    return this.#connection.alloc?.(bytes) ?? Buffer.allocUnsafe(bytes)
  }

  write(message: Buffer): void {
    this.#isBusy = !this.#connection.write(message)
    const flushed = this.#connection.flush?.()
    if (flushed === undefined) return
    const { length } = message
    this.#underWay += length
    const over = (): void => {
      this.#underWay -= length
      this.#rate = this.#rateNow() + length / RATE_MS
      this.#ratedAt = performance.now()
      this.#onRoom()
    }
    flushed.then(over, over)
  }

  pause(): void {
    this.#connection.pause()
  }

  resume(): void {
    this.#connection.resume()
  }

  end(ms: number): void {
    endWithin(this.#connection, ms)
  }

  destroy(error?: Error): void {
    this.#connection.destroy(error)
  }

  /** Under way at once, beyond which nothing goes over sooner. */
  #limit(): number {
    const { cwnd, mtu = 0 } = this.#connection.rawStream ?? {}
    if (cwnd === undefined) return Infinity
    return cwnd * mtu + Math.max(LEAST_MESSAGE_BYTES, this.#rateNow() * BEHIND_MS)
  }

  /** Of an idle line, less than it takes. */
  #rateNow(): number {
    return this.#rate * Math.exp((this.#ratedAt - performance.now()) / RATE_MS)
  }
}

/** The streams of Holepunch are none of Node's own, but alike in this. */
type Stream = Pick<Duplex, 'on' | 'once' | 'end' | 'destroy'>

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
