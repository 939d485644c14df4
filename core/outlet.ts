/**
 * What goes out over a data connection. `node:http2` reads nothing as long as a write of its own is
 * under way: on a line that is busy one way it would hear next to nothing from the other. So what it
 * writes is taken at once, and who pours much in waits instead: when as much is under way as keeps the
 * line busy, flows take turns, and what is new or little waits for none of them.
 */
import type { Connection } from './swarm.ts'

/**
 * In one encrypted message. Its other end can begin with none before all of it is there, and
 * acknowledges nothing while it decrypts, so that a megabyte at once holds up the line. With what goes
 * around it, 64 KiB: of 128 and more, malloc asks the system for each anew.
 */
const MESSAGE_BYTES = 64 * 1024 - 20
/** From here on who pours much takes turns. */
const MUCH_BYTES = 256 * 1024
/** From here on all wait: who asks and never listens would else have us keep any number of answers. */
const MOST_BYTES = 512 * 1024
/** So long others may wait behind what is under way beyond what the line itself holds. */
const BEHIND_MS = 100
const LEAST_BYTES = 16 * 1024
/** What went over longer ago says little of what goes over now. */
const RATE_MS = 500
/** Until the next has its turn where nothing comes of the last. */
const TURN_MS = 5

export class Outlet {
  readonly #connection: Connection
  readonly #queue: Buffer[] = []
  /** Of the first in the queue, gone already. */
  #gone = 0
  #queued = 0
  /** The connection takes no more until it drains. */
  #isBusy = false
  /** Given to the connection and not acknowledged. */
  #underWay = 0
  /** Bytes a ms that were acknowledged of late, at `#ratedAt`. */
  #rate = 0
  #ratedAt = 0
  /** Who is told when less than that is queued. */
  #held: { below: number; done: () => void } | null = null
  /** In the order of their turns. */
  readonly #waiting: (() => boolean)[] = []
  #turn: NodeJS.Timeout | null = null

  constructor(connection: Connection) {
    this.#connection = connection
    connection.on('drain', () => {
      this.#isBusy = false
      this.#give()
      this.#look()
    })
    connection.once('close', () => {
      if (this.#turn !== null) clearTimeout(this.#turn)
    })
  }

  /** As much is under way as keeps the line busy. */
  get isFull(): boolean {
    return this.#queued >= MUCH_BYTES || this.#queued + this.#underWay >= this.#limit()
  }

  /** Bytes that a flow may pour in before it waits for its turn. */
  get portion(): number {
    return Math.max(LEAST_BYTES, Math.min(this.#limit() / 4, MUCH_BYTES))
  }

  /** Calls `done`, mostly at once, when the next may come: never before. */
  write(chunks: readonly Buffer[], done: () => void): void {
    this.#queue.push(...chunks)
    for (const { length } of chunks) this.#queued += length
    this.#held = { below: MOST_BYTES, done }
    this.#give()
    this.#look()
  }

  /** Calls `done` when the connection has all that was written. */
  finish(done: () => void): void {
    this.#held = { below: 1, done }
    this.#give()
  }

  /**
   * Calls `go` in its turn, which may be now; it says whether it takes it. Never where the connection
   * ends before.
   */
  wait(go: () => boolean): void {
    this.#waiting.push(go)
    this.#look()
  }

  #give(): void {
    while (!this.#isBusy && this.#queued > 0) {
      const bytes = this.#message()
      this.#queued -= bytes.length
      this.#isBusy = !this.#connection.write(bytes)
      this.#follow(bytes.length)
    }
    if (this.#held === null || this.#queued >= this.#held.below) return
    const { done } = this.#held
    this.#held = null
    done()
  }

  /** Made when it is written and not before: the connection has room for one. */
  #message(): Buffer {
    const size = Math.min(this.#queued, MESSAGE_BYTES)
    const message = this.#connection.alloc?.(size) ?? Buffer.allocUnsafe(size)
    for (let filled = 0; filled < size;) {
      const chunk = this.#queue[0] as Buffer
      const copied = chunk.copy(message, filled, this.#gone)
      filled += copied
      this.#gone += copied
      if (this.#gone < chunk.length) continue
      this.#queue.shift()
      this.#gone = 0
    }
    return message
  }

  /** Counts as under way until it is acknowledged. */
  #follow(bytes: number): void {
    const flushed = this.#connection.flush?.()
    if (flushed === undefined) return
    this.#underWay += bytes
    const over = (): void => {
      this.#underWay -= bytes
      this.#rate = this.#rateNow() + bytes / RATE_MS
      this.#ratedAt = performance.now()
      this.#look()
    }
    flushed.then(over, over)
  }

  /** One at a time: what it pours in is here only a little later. */
  #look(): void {
    if (this.#waiting.length === 0 || this.isFull) return
    while (this.#waiting.shift()?.() === false);
    if (this.#waiting.length === 0) return
    this.#turn ??= setTimeout(() => {
      this.#turn = null
      this.#look()
    }, TURN_MS)
  }

  /** Under way at once, beyond which nothing goes over sooner. */
  #limit(): number {
    const { cwnd, mtu = 0 } = this.#connection.rawStream ?? {}
    if (cwnd === undefined) return Infinity
    return cwnd * mtu + Math.max(LEAST_BYTES, this.#rateNow() * BEHIND_MS)
  }

  /** Of an idle line, less than it takes. */
  #rateNow(): number {
    return this.#rate * Math.exp((this.#ratedAt - performance.now()) / RATE_MS)
  }
}
