/** Tunnels over a line that is slow, or dead. */
import { once } from 'node:events'
import { PassThrough, Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import { createKeyPair, fromId } from '../../core/crypto.ts'
import { join } from '../../core/flow-stream.ts'
import type { TunnelBody } from '../../core/gossip-records.ts'
import { silent } from '../../core/logger.ts'
import type { Connection } from '../../core/swarm.ts'
import type { WideArea } from '../../core/tunnel-ways.ts'
import { Tunnels } from '../../core/tunnels.ts'
import { waitUntil } from '../helpers/wait.ts'

const KIB = 1024

/** What it queues before it asks to wait. */
const UDX_BYTES = 256 * KIB

/** Each way; 0 where it is dead. */
interface Line {
  bytesPerS: number
}

test('tunnels - on a slow line a ping waits its turn; on a dead one flows end', async (t) => {
  const line: Line = { bytesPerS: 100 * 1024 * KIB }
  const tunnels = await pair(t, line)
  const upload = await tunnels.open('b', 'sink')
  const quick = await tunnels.open('b', 'echo')
  const flows = [upload, quick]
  for (const flow of flows) flow.on('error', () => {})

  // What goes over as one takes longer than anybody who is there takes for an answer.
  line.bytesPerS = 50 * KIB
  const more = (): boolean => upload.write(Buffer.alloc(256 * KIB))
  upload.on('drain', more)
  more()
  let heard = 0
  quick.on('data', (data: Buffer) => (heard += data.length))
  const turn = setInterval(() => quick.write('?'), 500)
  await waitUntil(() => heard > 15 && upload.writable, 60_000)
  t.absent(upload.destroyed || quick.destroyed, 'nothing was taken for dead')
  t.is(tunnels.report().length, 1)

  line.bytesPerS = 0
  await waitUntil(() => flows.every((flow) => flow.destroyed), 30_000)
  clearInterval(turn)
  await waitUntil(() => tunnels.report().length === 0)
})

test('tunnels - beside an upload over a slow line new flows are answered, and in turn with others', async (t) => {
  const line: Line = { bytesPerS: 120 * KIB }
  const tunnels = await pair(t, line)
  const endless = (): Duplex => {
    const upload = new Duplex({
      read: () => void upload.push(Buffer.alloc(64 * KIB)),
      write: (_chunk, _encoding, done) => done()
    })
    return upload
  }
  const poured = [0, 0]
  for (const i of poured.keys()) {
    join(endless(), await tunnels.open('b', 'sink'), (_from, bytes) => (poured[i]! += bytes))
  }
  // Until there is as much under way as they get to have.
  await waitUntil(() => poured.every((bytes) => bytes > 200 * KIB), 60_000)

  const took: number[] = []
  const asked: Promise<void>[] = []
  const ask = async (): Promise<void> => {
    const began = performance.now()
    const flow = await tunnels.open('b', 'echo')
    flow.write('hello')
    await once(flow, 'data')
    took.push(performance.now() - began)
    flow.end()
  }
  for (let i = 0; i < 60; i++) {
    asked.push(ask())
    await sleep(100)
  }
  await Promise.all(asked)
  const slowest = Math.max(...took.slice(-30))
  t.ok(slowest < 4_000, `${Math.round(slowest)} ms for one that was asked with others before it`)
  const [less = 0, more = 0] = [...poured].sort((a, b) => a - b)
  t.ok(more < 2 * less, `${poured.join(' and ')} bytes of two that take turns`)
})

/** Of `a`, which reaches `b` over the line. */
async function pair(t: Assert, line: Line): Promise<Tunnels> {
  const said = new Map<string, { body: TunnelBody }>()
  const take = new Map<string, (connection: Connection) => void>()
  const make = (self: string, other: string): Tunnels => {
    const wide: WideArea = {
      host: '127.0.0.1',
      takeData: (_keys, _allows, onConnection) => void take.set(self, onConnection),
      dialData() {
        const [near, far] = ends(line, keyOf(said, other), keyOf(said, self))
        setImmediate(() => {
          near.emit('open')
          take.get(other)?.(far)
        })
        return near
      },
      dialRelayed: () => null,
      pathOf: () => ({ kind: 'direct', relayKey: null, address: '' })
    }
    return new Tunnels({
      keyPair: createKeyPair(),
      wide,
      isMember: () => true,
      said: () => said,
      saidNet: () => null,
      log: silent
    })
  }
  const [a, b] = [make('a', 'b'), make('b', 'a')]
  t.teardown(() => Promise.all([a.close(), b.close()]))
  said.set('a', { body: await a.listen(0) })
  said.set('b', { body: await b.listen(0) })
  b.answer(async (_node, head) =>
    head === 'echo'
      ? new PassThrough()
      : new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  )
  return a
}

const keyOf = (said: Map<string, { body: TunnelBody }>, node: string): Buffer =>
  fromId(said.get(node)?.body.key ?? '') ?? Buffer.alloc(32)

/** The two ends of one connection: what one writes the other reads, as fast as the line is. */
function ends(line: Line, keyAtNear: Buffer, keyAtFar: Buffer): [Connection, Connection] {
  const near: End = new End(line, () => far, keyAtNear)
  const far: End = new End(line, () => near, keyAtFar)
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  return [near, far] as unknown as [Connection, Connection]
}

/** As UDX: takes much before it asks to wait, and says what was acknowledged. */
class End extends Duplex {
  readonly remotePublicKey: Buffer
  readonly rawStream = { packetsReceived: 0, cwnd: 10, mtu: 1_400 }
  readonly #line: Line
  readonly #other: () => End
  #queue: Buffer[] = []
  #written = 0
  #delivered = 0
  #held: { bytes: number; done: () => void } | null = null
  #flushes: { at: number; done: (flushed: boolean) => void }[] = []
  #isSending = false

  constructor(line: Line, other: () => End, remotePublicKey: Buffer) {
    super({ writableHighWaterMark: UDX_BYTES })
    this.#line = line
    this.#other = other
    this.remotePublicKey = remotePublicKey
  }

  flush(): Promise<boolean> {
    const at = this.#written + this.writableLength - (this.#held?.bytes ?? 0)
    return new Promise((done) => void this.#flushes.push({ at, done }))
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#queue.push(chunk)
    this.#written += chunk.length
    if (this.#written - this.#delivered < UDX_BYTES) done()
    else this.#held = { bytes: chunk.length, done }
    if (!this.#isSending) void this.#send()
  }

  async #send(): Promise<void> {
    this.#isSending = true
    for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
      for (let at = 0; at < chunk.length; at += KIB) {
        const piece = chunk.subarray(at, at + KIB)
        await this.#goesOver(piece.length)
        if (this.destroyed) return
        this.#delivered += piece.length
        // An acknowledgement goes the other way at once.
        this.rawStream.packetsReceived++
        this.#other().rawStream.packetsReceived++
        this.#other().push(piece)
        this.#tell()
      }
    }
    this.#isSending = false
  }

  async #goesOver(bytes: number): Promise<void> {
    const began = performance.now()
    const isOver = (): boolean =>
      this.destroyed ||
      (this.#line.bytesPerS > 0 &&
        (performance.now() - began) * this.#line.bytesPerS >= bytes * 1_000)
    // Less than a turn of the timers takes is no time.
    if (this.#line.bytesPerS > KIB * KIB) return
    while (!isOver()) await sleep(5)
  }

  #tell(): void {
    while (this.#flushes[0] !== undefined && this.#flushes[0].at <= this.#delivered) {
      this.#flushes.shift()?.done(true)
    }
    if (this.#written - this.#delivered >= UDX_BYTES) return
    const held = this.#held
    this.#held = null
    held?.done()
  }
}
