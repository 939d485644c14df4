import test from 'brittle'
import { Observer } from '../../core/observer.ts'
import type { HeardLinks } from '../../core/presence.ts'

const REFRESH_MS = 60_000

test('observer - a node that stood still takes nobody for dead before it listened', (t) => {
  const world = createWorld('me', { a: ['me', 'b'], b: ['a'] })
  world.pass(10)
  t.alike(world.alive(), ['a', 'b', 'me'])
  // SIGSTOP, or a lid that was closed: links and records are old when it goes on.
  world.wait(10 * REFRESH_MS)
  t.alike(world.alive(), ['a', 'b', 'me'], 'whoever asks first')
  world.peers.clear()
  world.pass(1)
  t.alike(world.alive(), ['a', 'b', 'me'], 'also when its own links are found closed')
  t.alike(world.silent(), {})
  world.hear('a', ['me', 'b'])
  world.peers.add('a')
  world.pass(1)
  t.alike(world.alive(), ['a', 'me'])
  t.ok(
    (world.silent()['b'] ?? Infinity) <= 2000,
    'b is silent since it listens, not for ten minutes'
  )
})

test('observer - a late second is no gap, and a start is like one', (t) => {
  const world = createWorld('me', { a: ['me'] })
  t.alike(world.silent(), {})
  world.peers.delete('a')
  world.wait(2500)
  t.alike(world.alive(), ['me'])
  t.alike(world.silent(), { a: 2500 }, 'silent for no longer than this node listens')
})

test('observer - a dead node that one peer goes on listing is found out by the others', (t) => {
  const world = createWorld('me', {
    honest: ['me', 'dead', 'liar'],
    liar: ['honest', 'dead'],
    dead: ['honest', 'liar']
  })
  world.pass(5)
  t.alike(world.alive(), ['dead', 'honest', 'liar', 'me'])
  world.hear('honest', ['me', 'liar'])
  for (let second = 1; second <= 6; second++) {
    world.hear('liar', ['honest', 'dead'])
    world.pass(1)
  }
  t.alike(world.alive(), ['honest', 'liar', 'me'])
  for (let second = 1; second <= 300; second++) {
    world.hear('liar', ['honest', 'dead'], { ended: [{ peer: 'dead', silentMs: 0 }] })
    if (second % 55 === 0) world.hear('honest', ['me', 'liar'])
    world.pass(1)
    if (world.alive().includes('dead')) return t.fail(`alive again after ${second} s`)
  }
  t.ok((world.silent()['dead'] ?? 0) >= 300_000, 'nor is its silence made young again')
})

test('observer - a newcomer that is given the old words of the dead believes them for seconds', (t) => {
  const world = createWorld('me', { honest: ['me', 'liar'], liar: ['honest', 'dead'] })
  world.pass(60)
  world.hear('dead', ['honest', 'liar'])
  world.pass(6)
  t.alike(world.alive(), ['honest', 'liar', 'me'])
})

test('observer - whom a peer disowns stays alive by answering', (t) => {
  const world = createWorld('me', {
    a: ['me', 'victim', 'liar'],
    victim: ['a', 'liar'],
    liar: ['a', 'victim']
  })
  world.pass(5)
  let seq = 0
  for (let second = 1; second <= 60; second++) {
    world.hear('liar', ['a'], { ended: [{ peer: 'victim', silentMs: 1e9 }] })
    // What it answers is always one word behind.
    world.hear('victim', ['a', 'liar'], { answers: [{ peer: 'liar', seq }] })
    seq = world.seqOf('liar')
    world.pass(1)
    if (!world.alive().includes('victim')) return t.fail(`dead after ${second} s`)
  }
  world.hear('victim', ['a', 'liar'], { answers: [{ peer: 'liar', seq }] })
  world.pass(50)
  t.ok(world.alive().includes('victim'), 'once answered it need not say so again')
  t.absent('victim' in world.silent())
})

test('observer - it answers a peer that does not list it, once that is no matter of a moment', (t) => {
  const world = createWorld('me', { a: ['me'], b: [] })
  world.peers.add('b')
  t.alike(world.observer.answers(), [])
  world.pass(1)
  t.alike(world.observer.answers(), [], 'its word about a new link may be on its way')
  world.pass(1)
  t.alike(world.observer.answers(), [{ peer: 'b', seq: world.seqOf('b') }])
  world.hear('b', ['me'])
  t.alike(world.observer.answers(), [])
})

test('observer - my own word counts against who lists me when our link is gone', (t) => {
  const world = createWorld('me', { liar: ['me', 'dead'], dead: ['me', 'liar'] })
  world.pass(3)
  t.alike(world.alive(), ['dead', 'liar', 'me'])
  world.peers.delete('dead')
  world.observer.onLinkEnded('dead', world.now())
  world.hear('me', ['liar'])
  for (let second = 1; second <= 6; second++) {
    world.hear('liar', ['me', 'dead'])
    world.pass(1)
  }
  t.alike(world.alive(), ['liar', 'me'])
})

test('observer - it tells of peers it lost, for a while, and not of links that were let go', (t) => {
  const world = createWorld('me', { a: ['me', 'b'], b: ['me', 'a'] })
  world.pass(1)
  world.peers.delete('b')
  world.observer.onLinkEnded('b', world.now())
  world.hear('b', ['a'])
  world.pass(3)
  t.alike(world.observer.ended(), [], 'b is well: a says so')
  world.hear('a', ['me'])
  world.pass(1)
  const told = [{ peer: 'b', silentMs: 4_000 }]
  t.alike(world.observer.ended(), told, 'how long it had been silent when it was lost')
  for (let minute = 1; minute <= 2; minute++) {
    world.hear('a', ['me'])
    world.pass(59)
    t.alike(world.observer.ended(), told, 'the same all the while: a word that changes is flooded')
  }
  world.pass(3)
  t.alike(world.observer.ended(), [], 'nobody needs it any more')

  world.hear('a', ['me', 'b'])
  world.hear('b', ['a'])
  world.pass(1)
  world.hear('a', ['me'])
  world.pass(1)
  t.is(world.observer.ended().length, 1)
  world.hear('a', ['me', 'b'])
  world.hear('b', ['a'])
  world.pass(1)
  t.alike(world.observer.ended(), [], 'it is back')
})

interface World {
  observer: Observer
  peers: Set<string>
  now(): number
  /** So many seconds, looking each. */
  pass(seconds: number): void
  wait(ms: number): void
  hear(id: string, peers: string[], more?: Partial<HeardLinks['body']>): void
  seqOf(id: string): number
  alive(): string[]
  silent(): Record<string, number>
}

/** Everybody has just said whom it is linked to; whoever lists me is a peer of mine. */
function createWorld(self: string, lists: Record<string, string[]>): World {
  let now = 1_000_000
  let seq = 0
  const records = new Map<string, HeardLinks>()
  const peers = new Set(Object.keys(lists).filter((id) => lists[id]?.includes(self)))
  const observer = new Observer({
    self,
    links: () => [...peers].map((id) => ({ id, heardAt: now })),
    records: () => records,
    refreshMs: REFRESH_MS,
    now: () => now
  })
  const world: World = {
    observer,
    peers,
    now: () => now,
    pass(seconds) {
      for (let i = 0; i < seconds; i++) {
        now += 1000
        observer.look()
      }
    },
    wait: (ms) => void (now += ms),
    hear(id, of, more = {}) {
      const body = { peers: of, ended: [], answers: [], uptimeRank: 0, session: 's', ...more }
      records.set(id, { body, seq: ++seq, receivedAt: now })
    },
    seqOf: (id) => records.get(id)?.seq ?? 0,
    alive: () => [...observer.alive()].sort(),
    silent: () => Object.fromEntries(observer.silent(records.keys(), observer.alive()))
  }
  for (const [id, of] of Object.entries(lists)) world.hear(id, of)
  world.hear(self, [...peers])
  observer.look()
  return world
}
