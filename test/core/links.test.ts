import { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import test from 'brittle'
import { Links } from '../../core/links.ts'
import type { Connection } from '../../core/swarm.ts'

test('links - an idle link carries a heartbeat a second, a busy one none; each a question in ten', async (t) => {
  const { links, connections, pass } = linksTo('b', 'c')
  // What opens the channels goes out.
  await turn()
  const [idle, busy] = connections as [FakeConnection, FakeConnection]
  idle.hears = busy.hears = true
  pass(1)
  const before = [idle.writes, busy.writes]
  pass(20, () => busy.write(Buffer.from('an answer')))
  t.is(idle.writes - (before[0] ?? 0), 10 + 1)
  t.is(busy.writes - (before[1] ?? 0), 20 + 1, 'its own words, and the question')
  t.ok(idle.largest <= 40, `${idle.largest} bytes`)
  t.is(links.ids.length, 2)
})

test('links - three silent seconds end a link, and say how long it was silent', (t) => {
  const { links, connections, ended, pass } = linksTo('b', 'c')
  const [b, c] = connections as [FakeConnection, FakeConnection]
  b.hears = c.hears = true
  pass(10)
  b.hears = false
  pass(5)
  t.is(ended.length, 0, 'two and a half are not enough')
  pass(1)
  t.alike(ended, [{ id: 'b', silentMs: 3000 }])
  t.alike(links.ids, ['c'])
})

test('links - packets count while a lost frame is sent again, and no longer', (t) => {
  const { connections, ended, pass } = linksTo('b')
  const [b] = connections as [FakeConnection]
  b.acks = true
  pass(20)
  t.is(ended.length, 0, 'ten seconds of acknowledgements')
  pass(12)
  t.is(ended.length, 1, 'which anybody could send: without a frame the link ends')
})

test('links - who stood still itself blames nobody', (t) => {
  const { links, connections, ended, gaps, pass } = linksTo('b')
  const [b] = connections as [FakeConnection]
  b.hears = true
  pass(4)
  b.hears = false
  pass(5)
  pass(1, () => {}, 60_000)
  t.is(gaps(), 1)
  t.is(ended.length, 0, 'the missed half seconds before do not count either')
  pass(5)
  t.alike(links.ids, ['b'])
  pass(1)
  t.is(ended.length, 1)
  pass(1, () => {}, 1_900)
  t.is(gaps(), 1, 'a late tick is no gap')
})

test('links - a newer connection takes the place of the old one, which ends in silence', (t) => {
  const { links, connections, ended } = linksTo('b')
  const next = new FakeConnection()
  links.add('b', next as unknown as Connection)
  t.ok(connections[0]?.destroyed)
  t.is(ended.length, 0)
  t.ok((links.get('b')?.connection as object) === next)
})

test('links - whatever comes on the heartbeat channel ends nothing', (t) => {
  const { connections, ended, pass } = linksTo('b')
  const [b] = connections as [FakeConnection]
  b.hears = true
  // Channel 1 opened by the other end, then messages of every length on it.
  const protocol = Buffer.from('brume/presence/1')
  b.emit(
    'data',
    Buffer.concat([Buffer.from([0, 1, 1, protocol.length]), protocol, Buffer.from([0])])
  )
  for (let length = 0; length < 300; length += 7) {
    b.emit('data', Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(length, 0xff)]))
  }
  pass(8)
  t.is(ended.length, 0)
})

function linksTo(...ids: string[]): {
  links: Links
  connections: FakeConnection[]
  ended: { id: string; silentMs: number }[]
  gaps: () => number
  /** So many half seconds. */
  pass: (ticks: number, each?: () => void, ms?: number) => void
} {
  let now = 1_000_000
  let gaps = 0
  const ended: { id: string; silentMs: number }[] = []
  const links = new Links(() => now)
  links.on('down', ({ id, heardAt }) => ended.push({ id, silentMs: now - heardAt }))
  links.on('gap', () => gaps++)
  const connections = ids.map((id) => {
    const connection = new FakeConnection()
    links.add(id, connection as unknown as Connection)
    return connection
  })
  const pass = (ticks: number, each = (): void => {}, ms = 500): void => {
    for (let i = 0; i < ticks; i++) {
      now += ms
      each()
      for (const connection of connections) connection.receive()
      links.tick()
    }
  }
  return { links, connections, ended, gaps: () => gaps, pass }
}

class FakeConnection extends EventEmitter {
  userData: unknown = null
  destroyed = false
  rawBytesRead = 0
  rawBytesWritten = 0
  rawStream = { packetsReceived: 0 }
  /** The other end sends frames; its transport acknowledges what this end sends. */
  hears = false
  acks = false
  writes = 0
  largest = 0

  write(bytes: Buffer): boolean {
    this.writes++
    this.rawBytesWritten += bytes.length + 20
    if (this.writes > 1) this.largest = Math.max(this.largest, bytes.length + 20)
    return true
  }

  receive(): void {
    if (this.hears) this.rawBytesRead += 22
    if (this.hears || this.acks) this.rawStream.packetsReceived++
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }

  end(): void {
    this.destroy()
  }

  pause(): void {}
  resume(): void {}
}
