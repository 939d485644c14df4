/**
 * Gossip on the wire: whole records, refreshed ones (a new number and signature for a body that the
 * other end has), digests that say what is known here, and wants. Nothing here throws on what a
 * peer sent: what cannot be read decodes to null.
 */
import c from 'compact-encoding'
import { hash } from './crypto.ts'

export interface Wire {
  /** Node key, 32 bytes. */
  node: Buffer
  kind: string
  /** 0 to MAX_SEQ. */
  seq: number
  /** JSON. */
  body: Buffer
  signature: Buffer
}

/** A record without its body: the other end has that already, under an older number. */
export interface Refreshed {
  /** First bytes of the node key. */
  prefix: Buffer
  kind: string
  seq: number
  signature: Buffer
}

export interface Digest {
  prefix: Buffer
  kind: string
  seq: number
  /** First bytes of the body's hash. */
  mark: Buffer
}

export interface Digests {
  /** This is all the sender has: it wants what is not in here as well. */
  complete: boolean
  list: Digest[]
}

export interface Want {
  prefix: Buffer
  /** Empty for all kinds of that node. */
  kind: string
  /** With its body. */
  whole: boolean
}

/** Of a node key, in digests. Two members whose keys begin alike can only mislead about each other. */
export const PREFIX_BYTES = 8
export const MARK_BYTES = 4
/** Wall ms fit until the year 10889; six bytes on the wire. */
export const MAX_SEQ = 2 ** 48 - 1
/** More is not read, whatever its length prefixes promise. */
export const MAX_MESSAGE_BYTES = 1024 * 1024
const MAX_KIND_BYTES = 16

export const bodyHash = (body: Buffer): Buffer => hash('gossip body', body)

/** None where the bytes are damaged. */
export function decodeWires(plain: Buffer): Wire[] {
  try {
    return c.decode(listOf(wire), plain)
  } catch {
    return []
  }
}

export const encodeWires = (list: Wire[]): Buffer => Buffer.from(c.encode(listOf(wire), list))

interface State {
  start: number
  end: number
  buffer: Uint8Array
}

interface Codec<T> {
  preencode(state: State, value: T): void
  encode(state: State, value: T): void
  decode(state: State): T
}

const seq: Codec<number> = {
  preencode(state) {
    state.end += 6
  },
  encode(state, n) {
    c.uint16.encode(state, n % 0x10000)
    c.uint32.encode(state, Math.floor(n / 0x10000))
  },
  decode(state) {
    return c.uint16.decode(state) + c.uint32.decode(state) * 0x10000
  }
}

const fixed = (length: number): Codec<Buffer> => ({
  preencode(state) {
    state.end += length
  },
  encode(state, bytes) {
    if (bytes.length !== length) throw new RangeError(`expected ${length} bytes`)
    state.buffer.set(bytes, state.start)
    state.start += length
  },
  decode(state) {
    if (state.end - state.start < length) throw new RangeError('out of bounds')
    return Buffer.from(state.buffer.subarray(state.start, (state.start += length)))
  }
})

const kind: Codec<string> = {
  preencode: (state, value) => c.string.preencode(state, value),
  encode: (state, value) => c.string.encode(state, value),
  decode(state) {
    const bytes = c.buffer.decode(state)
    if (bytes === null) return ''
    if (bytes.length > MAX_KIND_BYTES) throw new RangeError('a kind is longer than kinds are')
    return Buffer.from(bytes).toString('latin1')
  }
}

const body: Codec<Buffer> = {
  preencode: (state, bytes) => c.buffer.preencode(state, bytes),
  encode: (state, bytes) => c.buffer.encode(state, bytes),
  decode: (state) => Buffer.from(c.buffer.decode(state) ?? [])
}

const bool: Codec<boolean> = {
  preencode: (state, value) => c.bool.preencode(state, value),
  encode: (state, value) => c.bool.encode(state, value),
  decode: (state) => c.bool.decode(state)
}

/** Fields in their order, nothing between them. */
function struct<T extends object>(fields: { [K in keyof T]: Codec<T[K]> }): Codec<T> {
  const keys = Object.keys(fields) as (keyof T)[]
  return {
    preencode(state, value) {
      for (const key of keys) fields[key].preencode(state, value[key])
    },
    encode(state, value) {
      for (const key of keys) fields[key].encode(state, value[key])
    },
    decode(state) {
      return Object.fromEntries(keys.map((key) => [key, fields[key].decode(state)])) as T
    }
  }
}

/** Its count is only believed as far as the bytes go: every entry takes some. */
function listOf<T>(entry: Codec<T>): Codec<T[]> {
  return {
    preencode(state, list) {
      c.uint.preencode(state, list.length)
      for (const each of list) entry.preencode(state, each)
    },
    encode(state, list) {
      c.uint.encode(state, list.length)
      for (const each of list) entry.encode(state, each)
    },
    decode(state) {
      const length = c.uint.decode(state)
      const list: T[] = []
      for (let i = 0; i < length; i++) list.push(entry.decode(state))
      return list
    }
  }
}

/** A throw here would end the connection: what cannot be read is null, and read to its end. */
function harmless<T>(codec: Codec<T>): Omit<Codec<T>, 'decode'> & {
  decode(state: State): T | null
} {
  return {
    preencode: (state, value) => codec.preencode(state, value),
    encode: (state, value) => codec.encode(state, value),
    decode(state) {
      try {
        if (state.end - state.start > MAX_MESSAGE_BYTES) return null
        return codec.decode(state)
      } catch {
        return null
      } finally {
        state.start = state.end
      }
    }
  }
}

const prefix = fixed(PREFIX_BYTES)
const signature = fixed(64)
const wire = struct<Wire>({ node: fixed(32), kind, seq, body, signature })
const digest = struct<Digest>({ prefix, kind, seq, mark: fixed(MARK_BYTES) })

export const wires = harmless(listOf(wire))
export const refreshes = harmless(listOf(struct<Refreshed>({ prefix, kind, seq, signature })))
export const digests = harmless(struct<Digests>({ complete: bool, list: listOf(digest) }))
export const wants = harmless(listOf(struct<Want>({ prefix, kind, whole: bool })))
