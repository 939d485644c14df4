/** Gossip on the wire and on disk: records, and the vector that says which are known. */
import c from 'compact-encoding'

export interface Wire {
  /** Node key, 32 bytes. */
  node: Buffer
  kind: string
  seq: number
  /** JSON. */
  body: Buffer
  signature: Buffer
}

export type Vector = { node: Buffer; kind: string; seq: number }[]

/** None where the bytes are damaged. */
export function decodeWires(plain: Buffer): Wire[] {
  try {
    return c.decode(wires, plain)
  } catch {
    return []
  }
}

export const encodeWires = (list: Wire[]): Buffer => Buffer.from(c.encode(wires, list))

interface State {
  start: number
  end: number
  buffer: Uint8Array
}

export const wires = {
  preencode(state: State, list: Wire[]) {
    c.uint.preencode(state, list.length)
    for (const wire of list) {
      c.fixed32.preencode(state, wire.node)
      c.string.preencode(state, wire.kind)
      c.uint.preencode(state, wire.seq)
      c.buffer.preencode(state, wire.body)
      c.fixed64.preencode(state, wire.signature)
    }
  },
  encode(state: State, list: Wire[]) {
    c.uint.encode(state, list.length)
    for (const wire of list) {
      c.fixed32.encode(state, wire.node)
      c.string.encode(state, wire.kind)
      c.uint.encode(state, wire.seq)
      c.buffer.encode(state, wire.body)
      c.fixed64.encode(state, wire.signature)
    }
  },
  decode(state: State): Wire[] {
    const length = c.uint.decode(state)
    const list: Wire[] = []
    for (let i = 0; i < length; i++) {
      list.push({
        node: Buffer.from(c.fixed32.decode(state)),
        kind: c.string.decode(state),
        seq: c.uint.decode(state),
        body: Buffer.from(c.buffer.decode(state) ?? []),
        signature: Buffer.from(c.fixed64.decode(state))
      })
    }
    return list
  }
}

export const vectors = {
  preencode(state: State, list: Vector) {
    c.uint.preencode(state, list.length)
    for (const entry of list) {
      c.fixed32.preencode(state, entry.node)
      c.string.preencode(state, entry.kind)
      c.uint.preencode(state, entry.seq)
    }
  },
  encode(state: State, list: Vector) {
    c.uint.encode(state, list.length)
    for (const entry of list) {
      c.fixed32.encode(state, entry.node)
      c.string.encode(state, entry.kind)
      c.uint.encode(state, entry.seq)
    }
  },
  decode(state: State): Vector {
    const length = c.uint.decode(state)
    const list: Vector = []
    for (let i = 0; i < length; i++) {
      list.push({
        node: Buffer.from(c.fixed32.decode(state)),
        kind: c.string.decode(state),
        seq: c.uint.decode(state)
      })
    }
    return list
  }
}
