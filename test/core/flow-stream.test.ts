import { once } from 'node:events'
import net from 'node:net'
import { join as pathOf } from 'node:path'
import { Duplex, duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import test from 'brittle'
import { join } from '../../core/flow-stream.ts'
import { SWEEP_BYTES } from '../../core/sweep.ts'
import { waitUntil } from '../helpers/wait.ts'

const CHUNK = Buffer.alloc(64 * 1024)

test('flow stream - what is under way is bounded, and a reader that comes back gets it all', async (t) => {
  let poured = 0
  const source = new Duplex({
    read() {
      poured += CHUNK.length
      source.push(poured > 4 * 1024 * 1024 ? null : CHUNK)
    },
    write: (_chunk, _encoding, done) => done()
  })
  let taken = 0
  let take: (() => void) | null = null
  const slow = new Duplex({
    read: () => {},
    write(chunk: Buffer, _encoding, done) {
      taken += chunk.length
      take = done
    }
  })
  const before = globalThis.gc
  let sweeps = 0
  globalThis.gc = ((options?: object) => {
    t.alike(options, { type: 'minor' })
    sweeps++
  }) as typeof globalThis.gc
  t.teardown(() => (globalThis.gc = before))
  join(source, slow)
  await waitUntil(() => source.isPaused())
  t.ok(poured <= 512 * 1024, `${poured} bytes while nobody reads`)
  const reading = setInterval(() => {
    const next = take
    take = null
    next?.()
  }, 0)
  t.teardown(() => clearInterval(reading))
  await waitUntil(() => slow.writableFinished)
  t.is(taken, 4 * 1024 * 1024)
  t.is(sweeps, taken / SWEEP_BYTES, 'what was let go of is looked for meanwhile')
})

test('flow stream - chunks that come at once, or while the other side is busy, go over together', async (t) => {
  const source = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  const batches: number[] = []
  let done: (() => void) | null = null
  const take = (chunks: number, next: () => void): void => {
    batches.push(chunks)
    done = next
  }
  const busy = new Duplex({
    read: () => {},
    write: (_chunk, _encoding, next) => take(1, next),
    writev: (chunks, next) => take(chunks.length, next)
  })
  join(source, busy)
  for (let i = 0; i < 2; i++) source.push(CHUNK)
  await waitUntil(() => batches.length === 1)
  for (let i = 3; i <= 4; i++) {
    source.push(CHUNK)
    await waitUntil(() => busy.writableLength === i * CHUNK.length)
    await turn()
  }
  done!()
  await waitUntil(() => batches.length === 2)
  t.alike(batches, [2, 2])
})

test('flow stream - when one end fails the other is reset, or over a unix socket closed', async (t) => {
  const places = [{ port: 0, host: '127.0.0.1' }, { path: pathOf(await t.tmp(), 'socket') }]
  for (const place of places) {
    const server = net.createServer().listen(place)
    t.teardown(() => server.close())
    await once(server, 'listening')
    const { port } = server.address() as net.AddressInfo
    const client = net.connect('path' in place ? place : { ...place, port })
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    const [flow] = duplexPair()
    join(accepted, flow)
    let code: string | undefined
    client.once('error', (error: NodeJS.ErrnoException) => (code = error.code))
    client.resume()
    flow.destroy(new Error('the tunnel is gone'))
    await waitUntil(() => client.closed)
    t.is(code, 'path' in place ? undefined : 'ECONNRESET')
  }
})
