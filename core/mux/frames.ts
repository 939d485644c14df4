/**
 * Frames of a session: eight bytes that say what a frame is, how long its body is and which flow it is
 * of, then the body. A body of data is handed on as it comes in, any other once it is there whole.
 *
 *     0       kind
 *     1 – 3   bytes of the body, big-endian
 *     4 – 7   flow, big-endian; 0 where it is of none
 */
import { BrumeError } from '../errors.ts'

export const Kind = {
  /** The first of each end: version (1 byte), bytes of a flow that it takes before it gives credit (4). */
  hello: 0,
  /** Asks for a flow; the body says what for. */
  open: 1,
  accept: 2,
  /** The body says why not. */
  refuse: 3,
  data: 4,
  /** No more data of this end. */
  end: 5,
  /** Nothing more of the flow, either way. */
  reset: 6,
  /** So many bytes more of a flow may come (4). */
  credit: 7,
  /** Its flow is any number, which comes back in pong. */
  ping: 8,
  pong: 9,
  /** Means nothing. */
  padding: 10
} as const

export type Kind = (typeof Kind)[keyof typeof Kind]

export const HEADER_BYTES = 8
/** Of all but data. */
export const MAX_BODY_BYTES = 8 * 1024

const EMPTY = Buffer.alloc(0)

export function writeHeader(
  into: Buffer,
  at: number,
  kind: Kind,
  flow: number,
  bytes: number
): void {
  into[at] = kind
  into.writeUIntBE(bytes, at + 1, 3)
  into.writeUInt32BE(flow, at + 4)
}

/** @throws BrumeError TOO_LARGE */
export function frame(kind: Kind, flow: number, body: Buffer = EMPTY): Buffer {
  if (body.length > MAX_BODY_BYTES) {
    throw new BrumeError('TOO_LARGE', `a frame carries ${MAX_BODY_BYTES / 1024} KiB at most`)
  }
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + body.length)
  writeHeader(bytes, 0, kind, flow, body.length)
  body.copy(bytes, HEADER_BYTES)
  return bytes
}

export interface FrameListener {
  /** Part of the data of a flow, never empty; a slice of what was read. */
  onData(flow: number, piece: Buffer): void
  /** Any other frame. */
  onFrame(kind: Exclude<Kind, 4>, flow: number, body: Buffer): void
}

export class FrameReader {
  readonly #listener: FrameListener
  /** Of a header or a body that is not there whole. */
  #held: Buffer = EMPTY
  #dataOf = 0
  #dataLeft = 0

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** @throws BrumeError BAD_FRAME; nothing may be read after it */
  read(chunk: Buffer): void {
    let bytes = chunk
    if (this.#held.length > 0) {
      bytes = Buffer.concat([this.#held, chunk])
      this.#held = EMPTY
    }
    let at = 0
    while (at < bytes.length) {
      if (this.#dataLeft > 0) {
        const piece = bytes.subarray(at, at + this.#dataLeft)
        this.#dataLeft -= piece.length
        at += piece.length
        this.#listener.onData(this.#dataOf, piece)
        continue
      }
      const next = this.#frameAt(bytes, at)
      if (next === null) {
        // A copy: a slice would keep all of what was read.
        this.#held = Buffer.from(bytes.subarray(at))
        return
      }
      at = next
    }
  }

  /** Where what follows it begins; null where it is not there whole. */
  #frameAt(bytes: Buffer, at: number): number | null {
    const body = at + HEADER_BYTES
    if (bytes.length < body) return null
    const kind = bytes[at] as Kind
    const length = bytes.readUIntBE(at + 1, 3)
    const flow = bytes.readUInt32BE(at + 4)
    if (kind === Kind.data) {
      this.#dataOf = flow
      this.#dataLeft = length
      return body
    }
    if (kind > Kind.padding) throw bad(`there is no frame of kind ${kind}`)
    if (length > MAX_BODY_BYTES) throw bad(`a frame of ${length} bytes is too large`)
    if (bytes.length < body + length) return null
    this.#listener.onFrame(kind, flow, bytes.subarray(body, body + length))
    return body + length
  }
}

export const bad = (why: string): BrumeError => new BrumeError('BAD_FRAME', why)
