import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import test from 'brittle'
import { FarLine, NearLine } from '../../core/line.ts'
import type { Connection } from '../../core/swarm.ts'
import { waitUntil } from '../helpers/wait.ts'

const KIB = 1024
const PACKET = 1_400

test('line - over UDX as much is under way as is in flight and goes over in a tenth of a second', async (t) => {
  const flushes: (() => void)[] = []
  const raw = { cwnd: 10, mtu: PACKET }
  const connection = Object.assign(
    new Duplex({
      writableHighWaterMark: 1024 * KIB,
      read: () => {},
      write: (_chunk, _encoding, done) => done()
    }),
    {
      rawStream: raw,
      alloc: (bytes: number) => Buffer.alloc(bytes, 'room'),
      flush: () => new Promise<boolean>((done) => flushes.push(() => done(true)))
    }
  )
  const line = new FarLine(connection as unknown as Connection)
  let rooms = 0
  line.start({ onBytes: () => {}, onRoom: () => rooms++, onClose: () => {} })
  t.is(
    line.alloc(8).toString(),
    'roomroom',
    'the next message is written into what the connection has'
  )
  const fill = (): number => {
    let bytes = 0
    while (!line.isBusy()) {
      const room = line.room()
      line.write(Buffer.alloc(room))
      bytes += room
    }
    return bytes
  }
  t.is(line.room(), 16 * KIB, 'little at once where the line carries little')
  const atFirst = fill()
  t.ok(line.room() > 0, 'for answers')
  t.ok(atFirst >= 10 * PACKET + 16 * KIB && atFirst < 10 * PACKET + 48 * KIB, `${atFirst} bytes`)
  const acknowledged = flushes.length
  for (const flushed of flushes.splice(0)) flushed()
  await waitUntil(() => rooms >= acknowledged)
  raw.cwnd = 1_000
  t.ok(line.room() > 60 * KIB && line.room() < 64 * KIB, 'with what goes around it, 64 KiB')
  const later = fill()
  t.ok(later >= 1_000 * PACKET, `${later} bytes of a line that carries much`)
  connection.destroy()
})

test('line - what its connection takes no more of waits until that drains', async (t) => {
  let going: (() => void) | null = null
  const duplex = new Duplex({
    read: () => {},
    write: (_chunk, _encoding, done) => void (going = done)
  })
  const line = new FarLine(duplex as unknown as Connection)
  let rooms = 0
  line.start({ onBytes: () => {}, onRoom: () => rooms++, onClose: () => {} })
  line.write(line.alloc(line.room()))
  t.is(line.room(), 0)
  going!()
  await waitUntil(() => rooms === 1)
  t.ok(line.room() > 0)
  duplex.destroy()
})

test('line - one whose connection never takes what was written ends all the same', async (t) => {
  const duplex = new Duplex({ read: () => {}, write: () => {} })
  const line = new FarLine(duplex as unknown as Connection)
  let closed: Error | null = null
  line.start({ onBytes: () => {}, onRoom: () => {}, onClose: (error) => (closed = error) })
  line.write(Buffer.alloc(10))
  line.end(50)
  await waitUntil(() => closed !== null)
  t.is(closed!.message, 'the connection is gone')
})

test('line - on a LAN as much is under way as was heard of in a tenth of a second', async (t) => {
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  const line = new NearLine(socket as unknown as TLSSocket)
  let rooms = 0
  line.start({ onBytes: () => {}, onRoom: () => rooms++, onClose: () => {} })
  t.is(line.mark(10 * KIB), null, 'little needs no sign')
  const signs: (() => void)[] = []
  const fill = async (): Promise<number> => {
    let bytes = 0
    while (!line.isBusy()) {
      const room = line.room()
      const sign = line.mark(room)
      if (sign !== null) signs.push(sign)
      line.write(line.alloc(room))
      bytes += room
      const before = rooms
      await waitUntil(() => rooms > before)
    }
    return bytes
  }
  const atFirst = await fill()
  t.ok(line.room() > 0, 'for answers')
  t.ok(atFirst >= 48 * KIB && atFirst <= 80 * KIB, `${atFirst} bytes`)
  const before = rooms
  for (const sign of signs.splice(0)) sign()
  t.is(rooms, before + 4)
  const later = await fill()
  // In half a second it heard of that much.
  t.ok(later > atFirst, `${later} bytes`)
  socket.destroy()
})

test('line - an upload that never pauses has no more under way after minutes', async (t) => {
  const BYTES_PER_MS = 125
  let now = 0
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  const line = new NearLine(socket as unknown as TLSSocket, () => now)
  line.start({ onBytes: () => {}, onRoom: () => {}, onClose: () => {} })
  const waiting: { bytes: number; heard: (() => void) | null }[] = []
  const most = { before: 0, after: 0 }
  let [over, idleMs] = [0, 0]
  for (; now < 180_000; now++) {
    while (!line.isBusy()) {
      const bytes = line.room()
      const heard = line.mark(bytes)
      line.write(line.alloc(bytes))
      waiting.push({ bytes, heard })
      await new Promise(setImmediate)
    }
    const all = waiting.reduce((sum, { bytes }) => sum + bytes, 0)
    const which = now < 9_000 ? 'before' : 'after'
    most[which] = Math.max(most[which], all)
    if (all === 0) idleMs++
    over += BYTES_PER_MS
    for (let first = waiting[0]; first !== undefined && over >= first.bytes; first = waiting[0]) {
      over -= first.bytes
      waiting.shift()
      first.heard?.()
    }
    if (waiting.length === 0) over = 0
  }
  t.ok(most.before < 192 * KIB, `${most.before} bytes`)
  t.ok(most.after <= most.before, `${most.after} bytes later`)
  t.ok(idleMs < 180, `idle for ${idleMs} ms`)
  socket.destroy()
})
