import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import fc from 'fast-check'
import { join } from '../../core/flow-stream.ts'
import type { Line, LineListener } from '../../core/line.ts'
import { Mux, Refused, type Flow } from '../../core/mux.ts'
import { frame, FrameReader, HEADER_BYTES, Kind, writeHeader } from '../../core/mux/frames.ts'
import { waitUntil } from '../helpers/wait.ts'

const KIB = 1024
const WINDOW = 256 * KIB
const MOST_WINDOW = 4 * KIB * KIB
const never = new AbortController().signal

test('mux - a flow carries both ways, and an end of one way leaves the other open', async (t) => {
  const { a, b } = pair(t)
  const [mine, theirs] = await opened(a, b, 'what for')
  t.is(b.heads.at(-1), 'what for')
  mine.end('quiet')
  t.is(await textOf(theirs), 'quiet')
  theirs.end('QUIET')
  t.is(await textOf(mine), 'QUIET', 'what was said after this end had ended')
  await waitUntil(() => a.mux.size === 0 && b.mux.size === 0)
  const [other, far] = await opened(b, a, 'the other way')
  other.end('x')
  t.is(await textOf(far), 'x')
})

test('mux - who does not read is sent no more than a window, and holds up nobody', async (t) => {
  const { a, b } = pair(t)
  const [stuck] = await opened(a, b)
  let poured = 0
  const more = (): void => {
    for (let goesOn = true; goesOn; poured += 64 * KIB) goesOn = stuck.write(Buffer.alloc(64 * KIB))
  }
  stuck.on('drain', more)
  more()
  const [mine, theirs] = await opened(a, b)
  mine.end(Buffer.alloc(3 * MOST_WINDOW, 'y'))
  t.is((await textOf(theirs)).length, 3 * MOST_WINDOW)
  const underWay = WINDOW + stuck.writableHighWaterMark
  t.ok(poured >= WINDOW && poured <= underWay + 64 * KIB, `${poured} bytes`)
  t.ok(b.flows[0]!.readableLength <= WINDOW)
})

test('mux - a reader that keeps up is sent more at once, up to 4 MiB', async (t) => {
  const { a, b } = pair(t)
  const [mine, theirs] = await opened(a, b)
  await isSentMore(t, mine, theirs)
})

test('mux - readers that keep up share what more there is', async (t) => {
  const { a, b } = pair(t)
  const flows = await Promise.all(Array.from({ length: 20 }, () => opened(a, b)))
  for (const [mine, theirs] of flows) {
    let read = 0
    theirs.on('data', (piece: Buffer) => {
      read += piece.length
      if (read >= 2 * MOST_WINDOW) theirs.pause()
    })
    mine.write(Buffer.alloc(4 * MOST_WINDOW))
  }
  const unread = (): number =>
    flows.reduce((sum, [, { readableLength }]) => sum + readableLength, 0)
  await waitUntil(() => unread() > 60 * KIB * KIB)
  await turns()
  const most = 64 * KIB * KIB + 20 * WINDOW
  t.ok(unread() <= most, `${unread()} bytes unread`)
  for (const [mine] of flows) mine.destroy()
  const [mine, theirs] = await opened(a, b)
  await isSentMore(t, mine, theirs)
})

test('mux - what is refused says why; what ends before it is taken is told so', async (t) => {
  const { a, b } = pair(t)
  b.onOpen = (flow) => flow.refuse(Buffer.from('no'))
  const refusal = await failureOf(a.mux.open(Buffer.from('?'), never))
  t.ok(refusal instanceof Refused && refusal.said.toString() === 'no')
  b.onOpen = (flow) => void flow.destroy()
  t.is(
    (await failureOf(a.mux.open(Buffer.from('?'), never))).message,
    'it was reset at its other end'
  )
  b.onOpen = () => {}
  const late = new AbortController()
  const asked = failureOf(a.mux.open(Buffer.from('?'), late.signal))
  await waitUntil(() => b.mux.size === 1)
  late.abort(new Error('too late'))
  t.is((await asked).message, 'too late')
  await waitUntil(() => b.mux.size === 0)
  t.is(a.mux.size, 0)
  t.is(
    (await failureOf(a.mux.open(Buffer.alloc(8 * KIB + 1), never))).message.includes('8 KiB'),
    true
  )
  const gone = failureOf(a.mux.open(Buffer.from('?'), never))
  b.line.destroy()
  t.is((await gone).message, 'the line is cut')
  t.is((await failureOf(a.mux.open(Buffer.from('?'), never))).message, 'the line is cut')
})

test('mux - a flow that is destroyed is reset at its other end, and its session goes on', async (t) => {
  const { a, b } = pair(t)
  for (const [at, other] of [
    [0, 1],
    [1, 0]
  ] as const) {
    const ends = await opened(a, b)
    const seen: string[] = []
    for (const event of ['end', 'error', 'close']) ends[other].on(event, () => seen.push(event))
    ends[other].resume()
    // Of both ends something is under way when they learn of it.
    ends[at].write('hello')
    ends[other].write('hello')
    ends[at].destroy()
    await waitUntil(() => seen.includes('close'))
    t.alike(seen, ['error', 'close'])
  }
  await waitUntil(() => a.mux.size === 0 && b.mux.size === 0)
  const [mine, theirs] = await opened(a, b)
  mine.end('still here')
  t.is(await textOf(theirs), 'still here')
})

test('mux - flows of a line that is cut see no good end', async (t) => {
  const { a, b } = pair(t)
  const ends = await opened(a, b)
  const seen: string[] = []
  for (const end of ends) {
    end.resume()
    for (const event of ['end', 'error']) end.on(event, () => seen.push(event))
  }
  ends[0].write('hello')
  a.line.destroy()
  await waitUntil(() => ends.every((end) => end.closed))
  t.alike(seen, ['error', 'error'])
})

test('mux - who has little goes before who pours, and those who pour share', async (t) => {
  const { a, b } = pair(t)
  a.line.rest()
  const flows = await Promise.all([1, 2, 3].map(async () => (await opened(a, b, '', true))[0]))
  const [one, two, little] = flows as [Flow, Flow, Flow]
  for (const flow of [one, two]) flow.write(Buffer.alloc(WINDOW))
  for (let i = 0; i < 4; i++) a.line.takeOne()
  little.write('?')
  const order: number[] = []
  while (order.length < 10)
    order.push(
      ...a.line
        .takeOne()
        .filter(({ data }) => data > 0)
        .map(({ flow }) => flow)
    )
  t.is(order[0], little.id)
  const share = (flow: Flow): number => order.filter((id) => id === flow.id).length
  t.ok(Math.abs(share(one) - share(two)) <= 1, `${order.join(' ')}`)
})

test('mux - answers go before data, and who asks for more than it reads is not read', async (t) => {
  const { a, b } = pair(t)
  const [mine] = await opened(a, b, '', true)
  a.line.rest()
  mine.write(Buffer.alloc(WINDOW))
  let ponged = false
  b.mux.ping(() => (ponged = true))
  await turns()
  a.line.takeOne()
  await turns()
  t.ok(ponged)
  for (let i = 0; i < 40_000; i++) b.mux.ping(() => {})
  await turns()
  t.ok(a.line.isPaused)
  a.line.go()
  await waitUntil(() => !a.line.isPaused)
})

test('mux - a line that has to be told hears when the other end has what went over', async (t) => {
  const { a, b } = pair(t)
  const [mine] = await opened(a, b)
  let heard = 0
  a.line.onMark = (bytes) => () => (heard += bytes)
  mine.write(Buffer.alloc(100 * KIB))
  await waitUntil(() => heard > 100 * KIB)
  a.line.rest()
  mine.write('?')
  a.line.takeOne()
  b.line.isPaused = true
  const before = heard
  await turns()
  t.is(heard, before, 'not before it reads')
  b.line.resume()
  await waitUntil(() => heard > before)
})

test('mux - ends that both have enough under way hear of each other all the same', async (t) => {
  const { a, b } = pair(t)
  for (const { line } of [a, b]) {
    let underWay = 0
    line.isBusy = () => underWay >= 64 * KIB
    line.onMark = (bytes) => {
      underWay += bytes
      return () => {
        underWay -= bytes
        line.go()
      }
    }
  }
  const [mine, theirs] = await opened(a, b)
  const all = WINDOW * 4
  const read = [mine, theirs].map((flow) => {
    const seen = { bytes: 0 }
    flow.on('data', (piece: Buffer) => (seen.bytes += piece.length))
    flow.write(Buffer.alloc(all))
    return seen
  })
  await waitUntil(() => read.every(({ bytes }) => bytes === all))
})

test('mux - it ends once its flows are over, and takes no new ones meanwhile', async (t) => {
  const { a, b } = pair(t)
  const [mine, theirs] = await opened(a, b)
  a.mux.end()
  t.ok(a.mux.isEnding)
  t.is((await failureOf(a.mux.open(Buffer.from('?'), never))).message, 'the session ends')
  await turns()
  t.absent(a.mux.closed)
  theirs.end('all')
  mine.end()
  theirs.resume()
  t.is(await textOf(mine), 'all')
  await waitUntil(() => a.mux.closed && b.mux.closed)
  t.is(mine.errored, null)
})

test('mux - what no session of this kind says ends it', async (t) => {
  const hello = frame(Kind.hello, 0, Buffer.from([1, 0, 0, 1, 0]))
  const credit = frame(Kind.credit, 1, Buffer.alloc(3))
  const open = (id: number): Buffer => frame(Kind.open, id, Buffer.from('?'))
  const data = (bytes: number): Buffer => {
    const header = Buffer.alloc(HEADER_BYTES)
    writeHeader(header, 0, Kind.data, 2, bytes)
    return Buffer.concat([header, Buffer.alloc(bytes)])
  }
  const cases: [string, Buffer[], string][] = [
    ['a question before hello', [open(2)], 'begins with hello'],
    ['another version', [frame(Kind.hello, 0, Buffer.from([9, 0, 0, 1, 0]))], 'version 9, this 1'],
    ['hello twice', [hello, hello], 'makes no sense'],
    ['a flow of this end', [hello, open(1)], 'flow 1 cannot be opened'],
    ['a flow again', [hello, open(2), open(2)], 'flow 2 cannot be opened'],
    ['an end of no flow', [hello, frame(Kind.end, 2)], 'no flow 2'],
    ['an end of none', [hello, frame(Kind.end, 0)], 'no flow 0'],
    ['half a number', [hello, open(2), credit], 'four bytes'],
    ['a frame of no kind', [hello, Buffer.alloc(HEADER_BYTES, 0xff)], 'kind 255'],
    ['a body that is too large', [hello, Buffer.from([1, 0, 0x20, 1, 0, 0, 0, 2])], '8193 bytes'],
    ['more data than may come', [hello, open(2), data(WINDOW + 1)], 'more data']
  ]
  for (const [what, frames, why] of cases) {
    const { a, raw } = half(t)
    for (const bytes of frames) raw(bytes)
    t.ok(a.ended?.message.includes(why), `${what}: ${a.ended?.message}`)
  }
  const { a, raw } = half(t)
  raw(Buffer.concat([hello, open(2), data(WINDOW)]))
  t.is(a.ended, null, 'as much as may come may come')
})

test('mux - any bytes at all end it or mean nothing, and never throw', (t) => {
  const bytes = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((part) => Buffer.from(part)),
      fc
        .tuple(
          fc.integer({ min: 0, max: 10 }),
          fc.integer({ min: 0, max: 4 }),
          fc.uint8Array({ maxLength: 9 })
        )
        .map(([kind, flow, body]) => frame(kind as Kind, flow, Buffer.from(body)))
    ),
    { maxLength: 12 }
  )
  fc.assert(
    fc.property(bytes, fc.boolean(), (parts, greets) => {
      const { raw } = half(t)
      if (greets) raw(frame(Kind.hello, 0, Buffer.from([1, 0, 0, 1, 0])))
      for (const part of parts) raw(part)
    })
  )
  t.pass()
})

test('mux - frames are the same wherever the line cuts them', (t) => {
  const frames = fc.array(
    fc.record({
      kind: fc.integer({ min: 0, max: 9 }),
      flow: fc.integer({ min: 0, max: 0xffffffff }),
      body: fc.uint8Array({ maxLength: 50 })
    })
  )
  const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 })
  fc.assert(
    fc.property(frames, cuts, (all, sizes) => {
      const bytes = Buffer.concat(
        all.map(({ kind, flow, body }) => frame(kind as Kind, flow, Buffer.from(body)))
      )
      const heard: unknown[] = []
      const reader = new FrameReader({
        onData(flow, piece) {
          const last = heard.at(-1) as { data: number; body: Buffer } | undefined
          // Two frames of one flow may look as one.
          if (last?.data === flow) last.body = Buffer.concat([last.body, piece])
          else heard.push({ data: flow, body: Buffer.from(piece) })
        },
        onFrame: (kind, flow, body) => void heard.push({ kind, flow, body: Buffer.from(body) })
      })
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = sizes[i % sizes.length] as number
        reader.read(bytes.subarray(at, at + size))
        at += size
      }
      const said: unknown[] = []
      for (const { kind, flow, body } of all) {
        const last = said.at(-1) as { data: number; body: Buffer } | undefined
        if (kind !== Kind.data) said.push({ kind, flow, body: Buffer.from(body) })
        else if (body.length === 0) continue
        else if (last?.data === flow) last.body = Buffer.concat([last.body, body])
        else said.push({ data: flow, body: Buffer.from(body) })
      }
      return JSON.stringify(heard) === JSON.stringify(said)
    })
  )
  t.pass()
})

test('mux - a thousand flows at random, joined to streams, lose and mix nothing', async (t) => {
  const { a, b } = pair(t)
  b.onOpen = (flow) => {
    flow.accept()
    join(flow, new PassThrough())
  }
  const sizes = fc.sample(fc.integer({ min: 0, max: 200 * KIB }), { numRuns: 1_000, seed: 7 })
  const echoes = sizes.map(async (size, i) => {
    const flow = await a.mux.open(Buffer.from(`${i}`), never)
    flow.end(Buffer.alloc(size, `${i} `))
    return (await textOf(flow)) === Buffer.alloc(size, `${i} `).toString()
  })
  t.ok((await Promise.all(echoes)).every(Boolean))
  await waitUntil(() => a.mux.size === 0 && b.mux.size === 0)
})

interface Half {
  mux: Mux
  line: TestLine
  flows: Flow[]
  heads: string[]
  onOpen: (flow: Flow, head: Buffer) => void
  ended: Error | null
}

interface Sent {
  flow: number
  data: number
}

/** What one end writes the other reads a little later, while it goes. */
class TestLine implements Line {
  other: TestLine | null = null
  isPaused = false
  isBusy = (): boolean => false
  onMark: (bytes: number) => (() => void) | null = () => null
  excess = (_bytes: number): number => 0
  padding = (_bytes: number, _least: number): number => 0
  #listener: LineListener | null = null
  #goes = true
  /** Messages it still takes while it rests. */
  #takes = 0
  #last: Sent[] = []
  #isCut = false
  #held: Buffer[] = []

  start(listener: LineListener): void {
    this.#listener = listener
  }

  room(): number {
    return this.#isCut || (!this.#goes && this.#takes === 0) ? 0 : 16 * KIB
  }

  alloc(bytes: number): Buffer {
    return Buffer.alloc(bytes)
  }

  mark(bytes: number): (() => void) | null {
    return this.onMark(bytes)
  }

  write(message: Buffer): void {
    if (!this.#goes) this.#takes--
    this.#last = sentIn(message)
    setImmediate(() => {
      this.other?.hear(message)
      if (this.#goes) this.#listener?.onRoom()
    })
  }

  hear(bytes: Buffer): void {
    if (this.isPaused) this.#held.push(bytes)
    else if (!this.#isCut) this.#listener?.onBytes(bytes)
  }

  rest(): void {
    this.#goes = false
  }

  go(): void {
    this.#goes = true
    this.#listener?.onRoom()
  }

  /** Of the flow, by message. */
  takeOne(): Sent[] {
    this.#takes = 1
    this.#last = []
    this.#listener?.onRoom()
    this.#takes = 0
    return this.#last
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    for (const bytes of this.#held.splice(0)) this.hear(bytes)
  }

  end(): void {
    setImmediate(() => this.destroy())
  }

  destroy(error = new Error('the line is cut')): void {
    if (this.#isCut) return
    this.#isCut = true
    setImmediate(() => {
      this.#listener?.onClose(error)
      this.other?.destroy(new Error('the line is cut'))
    })
  }
}

function sentIn(message: Buffer): Sent[] {
  const sent: Sent[] = []
  for (let at = 0; at < message.length;) {
    const length = message.readUIntBE(at + 1, 3)
    const isData = message[at] === Kind.data
    sent.push({ flow: message.readUInt32BE(at + 4), data: isData ? length : 0 })
    at += HEADER_BYTES + length
  }
  return sent
}

function pair(t: Assert): { a: Half; b: Half } {
  const [near, far] = [new TestLine(), new TestLine()]
  ;[near.other, far.other] = [far, near]
  const [a, b] = [halfOn(near, true), halfOn(far, false)]
  t.teardown(() => [a, b].forEach(({ mux }) => mux.destroy()))
  return { a, b }
}

/** One end, and what says something to it. */
function half(t: Assert): { a: Half; raw: (bytes: Buffer) => void } {
  const a = halfOn(new TestLine(), true)
  t.teardown(() => a.mux.destroy())
  return { a, raw: (bytes) => a.line.hear(bytes) }
}

function halfOn(line: TestLine, isInitiator: boolean): Half {
  const half: Half = {
    line,
    flows: [],
    heads: [],
    onOpen: (flow) => flow.accept(),
    ended: null,
    mux: new Mux({
      line,
      isInitiator,
      onOpen(flow, head) {
        flow.on('error', () => {})
        half.flows.push(flow)
        half.heads.push(head.toString())
        half.onOpen(flow, head)
      },
      onClose: (error) => (half.ended = error)
    })
  }
  return half
}

/** Where the asking end's line rests, it takes what is asked alone. */
async function opened(from: Half, to: Half, head = '', rests = false): Promise<[Flow, Flow]> {
  const asked = from.mux.open(Buffer.from(head), never)
  if (rests) from.line.takeOne()
  const mine = await asked
  return [mine, to.flows.find(({ id }) => id === mine.id) as Flow]
}

async function isSentMore(t: Assert, mine: Flow, theirs: Flow): Promise<void> {
  let read = 0
  theirs.on('data', (piece: Buffer) => (read += piece.length))
  const send = (bytes: number): void => void mine.write(Buffer.alloc(bytes))
  send(8 * MOST_WINDOW)
  await waitUntil(() => read === 8 * MOST_WINDOW)
  theirs.pause()
  send(2 * MOST_WINDOW)
  await waitUntil(() => theirs.readableLength > WINDOW)
  await turns()
  t.ok(theirs.readableLength > MOST_WINDOW / 2, `${theirs.readableLength} bytes unread`)
  t.ok(theirs.readableLength <= MOST_WINDOW)
}

async function failureOf(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('it did not fail')
}

async function textOf(flow: Flow): Promise<string> {
  const pieces: Buffer[] = []
  flow.on('data', (piece: Buffer) => pieces.push(piece))
  await once(flow, 'end')
  return Buffer.concat(pieces).toString()
}

async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await turn()
}
