import test from 'brittle'
import c from 'compact-encoding'
import fc from 'fast-check'
import {
  decodeWires,
  digests,
  encodeWires,
  MARK_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_SEQ,
  PREFIX_BYTES,
  refreshes,
  wants,
  wires
} from '../../core/gossip-wire.ts'

const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((b) => Buffer.from(b))
const kind = fc.stringMatching(/^[a-z]{0,16}$/)
const seq = fc.integer({ min: 0, max: MAX_SEQ })
const body = fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b))
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true })
const prefix = bytes(PREFIX_BYTES)

const wire = record({ node: bytes(32), kind, seq, body, signature: bytes(64) })
const messages = {
  wires: { codec: wires, value: fc.array(wire) },
  refreshes: {
    codec: refreshes,
    value: fc.array(record({ prefix, kind, seq, signature: bytes(64) }))
  },
  digests: {
    codec: digests,
    value: record({
      complete: fc.boolean(),
      list: fc.array(record({ prefix, kind, seq, mark: bytes(MARK_BYTES) }))
    })
  },
  wants: { codec: wants, value: fc.array(record({ prefix, kind, whole: fc.boolean() })) }
}

for (const [name, { codec, value }] of Object.entries(messages)) {
  const each = codec as unknown as { decode(state: object): unknown }
  const decode = (bytes: Uint8Array): { value: unknown; rest: number } => {
    const state = { start: 0, end: bytes.length, buffer: bytes }
    return { value: each.decode(state), rest: state.end - state.start }
  }
  const encode = (message: unknown): Buffer => Buffer.from(c.encode(each as never, message))

  test(`gossip wire - ${name} come out as they went in`, (t) => {
    t.execution(() =>
      fc.assert(
        fc.property(value as fc.Arbitrary<unknown>, (message) => {
          t.unlike(message, undefined)
          return fc.stringify(decode(encode(message)).value) === fc.stringify(message)
        })
      )
    )
  })

  test(`gossip wire - ${name} of any bytes throw nothing and leave nothing unread`, (t) => {
    t.execution(() =>
      fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (any) => decode(any).rest === 0))
    )
  })

  test(`gossip wire - ${name} cut short are nothing`, (t) => {
    t.execution(() =>
      fc.assert(
        fc.property(
          value as fc.Arbitrary<unknown>,
          fc.double({ min: 0, max: 1, noNaN: true }),
          (v, at) => {
            const whole = encode(v)
            const cut = whole.subarray(0, Math.floor(at * whole.length))
            return cut.length === whole.length || decode(cut).value === null
          }
        )
      )
    )
  })

  test(`gossip wire - ${name} that promise gigabytes cost nothing`, (t) => {
    for (const head of [
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00],
      [0xfe, 0xff, 0xff, 0xff, 0xff],
      [0x01, 0xfe, 0xff, 0xff, 0xff, 0xff],
      [0x01, ...Array<number>(60).fill(0xff)]
    ]) {
      const before = performance.now()
      t.is(decode(Buffer.from(head)).value, null)
      t.ok(performance.now() - before < 100)
    }
    t.is(decode(Buffer.alloc(MAX_MESSAGE_BYTES + 1)).value, null, 'nor is what is too large read')
  })
}

test('gossip wire - numbers have six bytes: the last is as good as the first', (t) => {
  for (const n of [0, 1, 0xffff, 0x10000, 2 ** 32, 2 ** 47, MAX_SEQ]) {
    const record = {
      node: Buffer.alloc(32),
      kind: 'links',
      seq: n,
      body: Buffer.from('{}'),
      signature: Buffer.alloc(64)
    }
    t.is(decodeWires(encodeWires([record]))[0]?.seq, n)
  }
  t.alike(decodeWires(Buffer.from('not gossip')), [])
})
