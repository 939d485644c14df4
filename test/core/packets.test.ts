/** That no packet of UDX carries parts of two messages: over a real one, and in a model of what it does. */
import { once, setMaxListeners } from 'node:events'
import { Duplex, PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import fc from 'fast-check'
import HyperDHT from 'hyperdht'
import { createKeyPair } from '../../core/crypto.ts'
import { startBootstrapNode } from '../../core/dht.ts'
import { join } from '../../core/flow-stream.ts'
import { FarLine, type LineListener } from '../../core/line.ts'
import { Mux, type Flow } from '../../core/mux.ts'
import { Packets } from '../../core/packets.ts'
import type { Connection } from '../../core/swarm.ts'
import { UnderWay } from '../../core/under-way.ts'
import { waitUntil } from '../helpers/wait.ts'

const KIB = 1024
const never = new AbortController().signal
setMaxListeners(0, never)

test('packets - a flow that pours is read by the frame, beside flows that say little', async (t) => {
  const { near, far } = await connected(t)
  const heads = new Map<string, (flow: Flow) => void>([
    ['pour', (flow) => void pour(flow)],
    ['echo', (flow) => join(flow, new PassThrough())]
  ])
  const theirs = mux(t, far, false, (flow, head) => {
    flow.accept()
    heads.get(head)?.(flow)
  })
  const mine = mux(t, near, true, () => {})
  const echo = await mine.open(Buffer.from('echo'), never)
  let echoed = 0
  echo.on('data', (bytes: Buffer) => (echoed += bytes.length))
  const talk = setInterval(() => echo.write('?'), 3)
  t.teardown(() => clearInterval(talk))
  await waitUntil(() => echoed > 20)

  const poured = await mine.open(Buffer.from('pour'), never)
  let bytes = 0
  poured.on('data', (piece: Buffer) => (bytes += piece.length))
  await waitUntil(() => bytes > 8 * KIB * KIB)
  let reads = 0
  ;(near.rawStream as unknown as NodeJS.EventEmitter).on('data', () => reads++)
  const [before, said] = [bytes, echoed]
  await waitUntil(() => bytes > before + 32 * KIB * KIB)
  const each = (bytes - before) / reads
  t.ok(each > 8 * KIB, `${Math.round(each)} bytes a read`)
  t.ok(echoed > said)
  poured.destroy()
  t.absent(theirs.closed)
})

test('packets - none carries parts of two messages, however flows come and the line fares', async (t) => {
  const seed = Number(process.env['BRUME_SEED'] ?? Math.floor(Math.random() * 1e6))
  const worlds = fc.sample(world, { numRuns: 24, seed })
  const mixed = await Promise.all(
    worlds.map(async (each) => {
      const line = new ModelUdx(each)
      const all = mux(t, line as unknown as Connection, true, () => {})
      await Promise.all(
        each.flows.map(async ({ bytes, pieces, everyMs }) => {
          const flow = await all.open(Buffer.from('?'), never)
          for (let i = 0; i < pieces; i++) {
            if (!flow.write(Buffer.alloc(bytes))) await once(flow, 'drain')
            if (everyMs > 0) await sleep(everyMs)
          }
        })
      )
      await waitUntil(() => line.isIdle)
      return { each, mixed: line.mixed, mtu: line.rawStream.mtu }
    })
  )
  t.alike(
    mixed.filter(({ mixed }) => mixed > 0),
    [],
    `BRUME_SEED=${seed}`
  )
  t.ok(mixed.some(({ mtu }) => mtu === 1_500))
  t.ok(mixed.some(({ mtu }) => mtu < 1_400))
})

test('packets - on a long line, and where nothing is measured, messages are what they were', (t) => {
  const measured = { mtu: 1_200, rtt: 80, remoteFamily: 4 }
  for (const each of [measured, {}]) {
    const packets = new Packets(() => each, new UnderWay())
    packets.add(2_000)()
    t.is(packets.most(50_000), 50_000)
    t.is(packets.excess(50_000), 0)
    t.is(packets.padding(10, 8), 0)
    t.absent(packets.mustGo(10))
  }
})

test('packets - larger ones amid what goes over are given up on, and nothing is cut any more', (t) => {
  const measured = { mtu: 1_488, rtt: 1, remoteFamily: 6 }
  const underWay = new UnderWay()
  const packets = new Packets(() => measured, underWay)
  t.ok(packets.mustGo(1_400), 'while nobody knows how large they get')
  const heard = packets.add(1_412)
  measured.mtu = 1_500
  heard()
  t.ok(packets.mustGo(1_412), 'the next one may be as small as before')
  packets.add(1_412)()
  t.absent(packets.mustGo(1_412), 'it fills one, with what is around it')
  t.is(packets.excess(1_412 + 10), 10)
  underWay.add(20_000)
  t.is(packets.padding(1_400, 8), 12)
  t.is(packets.padding(1_408, 8), 4 + 1_432, 'no less than a header has')
  measured.mtu = 1_492
  t.is(packets.excess(1_412 + 10), 0)
})

interface World {
  rtt: number
  /** What the way lets through. */
  most: number
  /** Packets under way, and in a ms. */
  cwnd: number
  aMs: number
  flows: { bytes: number; pieces: number; everyMs: number }[]
}

const world: fc.Arbitrary<World> = fc.record({
  rtt: fc.integer({ min: 1, max: 6 }),
  most: fc.constantFrom(1_280, 1_391, 1_492, 1_500),
  cwnd: fc.integer({ min: 10, max: 200 }),
  aMs: fc.integer({ min: 4, max: 100 }),
  flows: fc.array(
    fc.record({
      bytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 80_000 })),
      pieces: fc.integer({ min: 1, max: 60 }),
      everyMs: fc.constantFrom(0, 0, 1, 7)
    }),
    { minLength: 1, maxLength: 5 }
  )
})

interface Packet {
  bytes: number
  /** That it has bytes of. */
  messages: number
  /** That end in it. */
  whole: (() => void)[]
  /** Whether packets of this size go through. */
  tries: number | null
}

const AROUND = 20
const HEADERS = 48

/**
 * Cuts what is written as libudx does (`send_new_packet`): a full packet goes while there is window and the
 * ms has room, another at the end of the turn. How much one takes was said when the one before went. What
 * may be larger is tried one at a time. Its other end takes all flows and what they carry.
 */
class ModelUdx extends Duplex {
  readonly rawStream = { mtu: 1_200, rtt: 0, cwnd: 0, remoteFamily: 4 }
  mixed = 0
  readonly #world: World
  readonly #queue: { hear: () => void; left: number }[] = []
  readonly #flushes: { at: number; done: (whole: boolean) => void }[] = []
  #written = 0
  #heard = 0
  #inflight = 0
  #ms = 0
  #room = 0
  #capacity = 1_200 - HEADERS
  #next: Packet = { bytes: 0, messages: 0, whole: [], tries: null }
  #isEnding = false
  #wanted: number | null = null
  #failed = 0
  #listener: LineListener | null = null

  constructor(world: World) {
    super({
      read: () => {},
      write: (message: Buffer, _encoding, done) => {
        this.#take(message)
        done()
      }
    })
    this.#world = world
    this.rawStream.cwnd = world.cwnd
    // What secret-stream says first.
    this.#take(Buffer.alloc(39), () => {})
    const sink = new Mux({
      line: {
        start: (listener) => (this.#listener = listener),
        room: () => 16 * KIB,
        isBusy: () => false,
        alloc: (bytes) => Buffer.alloc(bytes),
        mark: () => null,
        excess: () => 0,
        padding: () => 0,
        write: (message) => this.push(message),
        pause: () => {},
        resume: () => {},
        end: () => {},
        destroy: () => {}
      },
      isInitiator: false,
      onOpen: (flow) => {
        flow.on('error', () => {})
        flow.accept()
        flow.resume()
      },
      onClose: () => {}
    })
    this.once('close', () => sink.destroy())
  }

  get isIdle(): boolean {
    return this.#written === this.#heard
  }

  flush(): Promise<boolean> {
    return new Promise((done) => this.#flushes.push({ at: this.#written, done }))
  }

  #take(message: Buffer, hear = (): void => this.#listener?.onBytes(message)): void {
    this.#written += message.length + AROUND
    this.#queue.push({ hear, left: message.length + AROUND })
    this.#send()
  }

  #send(): void {
    for (;;) {
      const first = this.#queue[0]
      if (first === undefined) break
      if (!this.#mayGo()) return
      const taken = Math.min(first.left, this.#capacity - this.#next.bytes)
      this.#next.bytes += taken
      this.#next.messages++
      first.left -= taken
      if (first.left === 0) {
        this.#next.whole.push(first.hear)
        this.#queue.shift()
      }
      if (this.#next.bytes === this.#capacity) this.#go()
    }
    if (this.#next.bytes === 0 || this.#isEnding) return
    this.#isEnding = true
    setImmediate(() => this.#endTurn())
  }

  #endTurn(): void {
    this.#isEnding = false
    if (this.#next.bytes > 0) this.#go()
  }

  #mayGo(): boolean {
    const ms = Math.floor(performance.now())
    if (ms > this.#ms) this.#room = this.#world.aMs * 1_500
    this.#ms = ms
    if (this.#room > 0) return this.#inflight < this.#world.cwnd
    setTimeout(() => this.#send(), 1)
    return false
  }

  #go(): void {
    const packet = this.#next
    if (packet.messages > 1) this.mixed++
    if (this.#wanted !== null && packet.bytes + HEADERS + 255 >= this.#wanted) {
      packet.tries = this.#wanted
      this.#wanted = null
    }
    this.#inflight++
    this.#room = Math.max(0, this.#room - packet.bytes)
    this.#capacity = this.rawStream.mtu - HEADERS
    this.#next = { bytes: 0, messages: 0, whole: [], tries: null }
    setTimeout(() => this.#hear(packet), this.#world.rtt)
  }

  #hear({ bytes, whole, tries }: Packet): void {
    this.#inflight--
    if (this.rawStream.rtt === 0) this.#wanted = 1_232
    this.rawStream.rtt = this.#world.rtt
    if (tries !== null && tries <= this.#world.most) {
      this.rawStream.mtu = tries
      if (tries < 1_500) this.#wanted = Math.min(tries + 32, 1_500)
    } else if (tries !== null && ++this.#failed < 3) this.#wanted = tries
    this.#heard += bytes
    for (const hear of whole) hear()
    while ((this.#flushes[0]?.at ?? Infinity) <= this.#heard) this.#flushes.shift()?.done(true)
    this.#send()
  }
}

/** Two ends of a connection as tunnels have it. */
async function connected(t: Assert): Promise<{ near: Connection; far: Connection }> {
  const bootstrap = await startBootstrapNode('127.0.0.1', undefined, 1)
  const nodes = [1, 2].map(
    () => new HyperDHT({ bootstrap: [bootstrap.address], host: '127.0.0.1' })
  ) as [HyperDHT, HyperDHT]
  t.teardown(async () => {
    for (const node of nodes) await node.destroy({ force: true })
    await bootstrap.close()
  })
  const keyPair = createKeyPair()
  let server!: ReturnType<HyperDHT['createServer']>
  const came = new Promise<Connection>((resolve) => {
    server = nodes[0].createServer({}, (connection) => resolve(connection))
  })
  await server.listen(keyPair)
  const near = nodes[1].connect(keyPair.publicKey)
  await Promise.all([came, once(near as unknown as Duplex, 'open')])
  return { near, far: await came }
}

function mux(
  t: Assert,
  connection: Connection,
  isInitiator: boolean,
  onOpen: (flow: Flow, head: string) => void
): Mux {
  const all = new Mux({
    line: new FarLine(connection),
    isInitiator,
    onOpen: (flow, head) => {
      flow.on('error', () => {})
      onOpen(flow, head.toString())
    },
    onClose: () => {}
  })
  t.teardown(() => all.destroy())
  return all
}

function pour(flow: Flow): void {
  const more = (): void => {
    while (!flow.destroyed && flow.write(Buffer.alloc(50_000)));
  }
  flow.on('drain', more)
  more()
}
