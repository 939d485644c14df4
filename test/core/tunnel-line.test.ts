/** Tunnels over a line that is slow, or dead. */
import { PassThrough, Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import { createKeyPair, fromId } from '../../core/crypto.ts'
import type { TunnelBody } from '../../core/gossip-records.ts'
import { silent } from '../../core/logger.ts'
import type { Connection } from '../../core/swarm.ts'
import type { WideArea } from '../../core/tunnel-ways.ts'
import { Tunnels } from '../../core/tunnels.ts'
import { waitUntil } from '../helpers/wait.ts'

const KIB = 1024

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
  const make = (remotePublicKey: Buffer): Duplex & { rawStream: { packetsReceived: number } } =>
    Object.assign(
      new Duplex({
        read: () => {},
        async write(chunk: Buffer, _encoding, done) {
          const other = this === near ? far : near
          for (let at = 0; at < chunk.length; at += KIB) {
            await sleep(Math.min(1_000, (KIB / (line.bytesPerS || 1)) * 1_000))
            while (line.bytesPerS === 0 && !this.destroyed) await sleep(50)
            if (this.destroyed) return done()
            // An acknowledgement goes the other way at once.
            near.rawStream.packetsReceived++
            far.rawStream.packetsReceived++
            other.push(chunk.subarray(at, at + KIB))
          }
          done()
        }
      }),
      { remotePublicKey, rawStream: { packetsReceived: 0 } }
    )
  const near = make(keyAtNear)
  const far = make(keyAtFar)
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  return [near, far] as unknown as [Connection, Connection]
}
