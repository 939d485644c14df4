/**
 * One flow of a session: a stream of bytes both ways. It ends one way at a time; what destroys it resets
 * it at its other end, which sees an error and never a good end.
 */
import { Duplex } from 'node:stream'
import type { Sender } from './turns.ts'

/** What its session does for a flow. */
export interface FlowSession {
  /** It has bytes, or its end, to send. */
  ready(flow: Flow): void
  /** So many more may come. */
  give(flow: Flow, bytes: number): void
  /** Room for so many more than it had; false where flows together have enough. */
  widen(bytes: number): boolean
  /** Takes the flow's answer to its other end; the first one counts. */
  answer(flow: Flow, refusal: Buffer | null): void
  /** It is no more. `whole`: both ends know. */
  over(flow: Flow, whole: boolean): void
}

/** Before who writes is asked to wait. */
const WRITE_BYTES = 256 * 1024
const READ_BYTES = 64 * 1024
/** Unread bytes at its receiving end, at first and at most. A reader that keeps up gets more. */
export const FIRST_WINDOW = 256 * 1024
const MOST_WINDOW = 4 * 1024 * 1024

export class Flow extends Duplex implements Sender {
  readonly id: number
  deficit = 0
  readonly #session: FlowSession
  /** To be sent, in order, and how much of the first is gone. */
  #queue: Buffer[] = []
  #gone = 0
  #queued = 0
  /** Planned for the message that is made now. */
  #planned = 0
  #written: (() => void) | null = null
  /** Set while its end is to be sent. */
  #ended: (() => void) | null = null
  /** What the other end takes now. */
  #credit: number
  /** What the other end may send now. */
  #allowed = FIRST_WINDOW
  #window = FIRST_WINDOW
  #hasSentEnd = false
  #hasEnd = false
  #isKnownOver = false

  constructor(session: FlowSession, id: number, credit: number) {
    super({ writableHighWaterMark: WRITE_BYTES, readableHighWaterMark: READ_BYTES })
    this.#session = session
    this.id = id
    this.#credit = credit
  }

  /** Tells who asked for it that it is accepted. */
  accept(): void {
    this.#session.answer(this, null)
  }

  /** Tells who asked for it why not. At most 8 KiB. */
  refuse(why: Buffer): void {
    this.#session.answer(this, why)
    this.#isKnownOver = true
    this.destroy()
  }

  // For its session.

  get ready(): number {
    return this.#isAtEnd ? 1 : Math.min(this.#queued - this.#planned, this.#credit)
  }

  /** Puts `bytes` of it into the message that is made now. */
  plan(bytes: number): void {
    this.#planned += bytes
    this.#credit -= bytes
  }

  /** Copies what was planned. */
  fill(into: Buffer, at: number, bytes: number): void {
    this.#planned -= bytes
    this.#queued -= bytes
    for (const end = at + bytes; at < end;) {
      const chunk = this.#queue[0] as Buffer
      const copied = chunk.copy(into, at, this.#gone, this.#gone + end - at)
      at += copied
      this.#gone += copied
      if (this.#gone < chunk.length) continue
      this.#queue.shift()
      this.#gone = 0
    }
  }

  /** Whether its end is what it has to send; it counts as sent. */
  planEnd(): boolean {
    if (!this.#isAtEnd) return false
    this.#hasSentEnd = true
    return true
  }

  /** After a message was made: lets more be written. */
  sent(): void {
    if (this.#queued > 0) return
    const written = this.#written
    this.#written = null
    written?.()
    if (this.#hasSentEnd) this.#ended?.()
  }

  get #isAtEnd(): boolean {
    return this.#ended !== null && !this.#hasSentEnd && this.#queued === this.#planned
  }

  onCredit(bytes: number): void {
    this.#credit += bytes
    if (this.#queued > 0) this.#session.ready(this)
  }

  /** False where it is more than was allowed, or after the end. */
  onData(piece: Buffer): boolean {
    this.#allowed -= piece.length
    if (this.#allowed < 0 || this.#hasEnd) return false
    if (!this.destroyed) this.push(piece)
    return true
  }

  onEnd(): void {
    if (this.#hasEnd) return
    this.#hasEnd = true
    if (!this.destroyed) this.push(null)
  }

  /** Its other end is no more. */
  lost(error: Error): void {
    this.#isKnownOver = true
    this.destroy(error)
  }

  override _read(): void {
    if (this.#hasEnd) return
    const unread = this.readableLength
    const missing = this.#window - this.#allowed - unread
    if (missing < this.#window / 2) return
    const more = Math.min(this.#window, MOST_WINDOW - this.#window)
    const isWidened = unread === 0 && more > 0 && this.#session.widen(more)
    if (isWidened) this.#window += more
    const bytes = missing + (isWidened ? more : 0)
    this.#allowed += bytes
    this.#session.give(this, bytes)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#write([chunk], done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#write(
      chunks.map(({ chunk }) => chunk),
      done
    )
  }

  #write(chunks: Buffer[], done: () => void): void {
    for (const chunk of chunks) {
      if (chunk.length === 0) continue
      this.#queue.push(chunk)
      this.#queued += chunk.length
    }
    if (this.#queued === 0) return done()
    this.#written = done
    this.#session.ready(this)
  }

  override _final(done: () => void): void {
    this.#ended = done
    this.#session.ready(this)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#queue = []
    this.#queued = this.#planned = 0
    this.#written = this.#ended = null
    this.#session.over(this, this.#isKnownOver || (this.#hasSentEnd && this.#hasEnd))
    if (this.#window > FIRST_WINDOW) this.#session.widen(FIRST_WINDOW - this.#window)
    done(error)
  }
}
