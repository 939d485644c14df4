/**
 * Datagrams as a flow: one conversation of two UDP ports is a stream of frames, two bytes of length
 * before each datagram. What cannot go on in time is lost, as UDP may, and counted.
 */
import { Duplex } from 'node:stream'

/** The largest that IPv4 carries. */
export const MAX_DATAGRAM_BYTES = 65_507

/** Without a datagram either way a conversation is over: what asks at all goes on sooner. */
export const DATAGRAMS_IDLE_MS = 60_000

/** Waiting to go over. More would come too late to be of use. */
const QUEUED_BYTES = 256 * 1024
const LENGTH_BYTES = 2

export function framed(datagram: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + datagram.length)
  frame.writeUInt16BE(datagram.length)
  datagram.copy(frame, LENGTH_BYTES)
  return frame
}

/** All that `bytes` has whole, and what is left for the next. */
export function unframed(bytes: Buffer): { datagrams: Buffer[]; rest: Buffer } {
  const datagrams: Buffer[] = []
  let rest = bytes
  while (rest.length >= LENGTH_BYTES) {
    const end = LENGTH_BYTES + rest.readUInt16BE()
    if (rest.length < end) break
    datagrams.push(rest.subarray(LENGTH_BYTES, end))
    rest = rest.subarray(end)
  }
  return { datagrams, rest }
}

/** Gives a datagram to the network. Calls `done` once, whatever becomes of it; never throws. */
export type SendDatagram = (datagram: Buffer, done: () => void) => void

/**
 * One end of such a conversation: read from it are frames of what was received from the network, what is
 * written to it are frames for it. When either side ends, all of it ends.
 *
 * Emits `dropped` for each datagram that is lost here, and `over` when it receives no more.
 */
export class Datagrams extends Duplex {
  readonly #send: SendDatagram
  #rest: Buffer = Buffer.alloc(0)
  #timer: NodeJS.Timeout
  #isOver = false
  #dropped = 0

  constructor(send: SendDatagram, idleMs = DATAGRAMS_IDLE_MS) {
    super()
    this.#send = send
    this.#timer = this.#endAfter(idleMs)
  }

  get dropped(): number {
    return this.#dropped
  }

  /** From the network, to be read as a frame. */
  receive(datagram: Buffer): void {
    if (this.#isOver || this.destroyed) return
    this.#timer.refresh()
    const room = QUEUED_BYTES - this.readableLength
    if (datagram.length > Math.min(room, MAX_DATAGRAM_BYTES)) this.lose()
    else this.push(framed(datagram))
  }

  /** Counts one that was lost. */
  lose(): void {
    this.#dropped++
    this.emit('dropped')
  }

  /** Ends once there is no datagram either way for so long, from now on. */
  idleAfter(ms: number): void {
    clearTimeout(this.#timer)
    if (!this.#isOver && !this.destroyed) this.#timer = this.#endAfter(ms)
  }

  /** Ends it well: what was received still goes over. */
  finish(): void {
    clearTimeout(this.#timer)
    if (this.#isOver || this.destroyed) return
    this.#isOver = true
    this.emit('over')
    this.push(null)
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const { datagrams, rest } = unframed(bytes)
    this.#rest = rest
    if (datagrams.length === 0) return done()
    if (!this.#isOver) this.#timer.refresh()
    let left = datagrams.length
    const oneIsOut = (): void => {
      if (--left === 0) done()
    }
    for (const datagram of datagrams) this.#send(datagram, oneIsOut)
  }

  override _final(done: () => void): void {
    this.finish()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    done(error)
  }

  #endAfter(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.finish(), ms).unref()
  }
}
