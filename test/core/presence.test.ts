import test from 'brittle'
import fc from 'fast-check'
import { aliveNodes, lastHeard, silentMs, type HeardLinks } from '../../core/presence.ts'

const refreshMs = 60_000
const now = 1_000_000
const quiet = { now, refreshMs, disputedSince: new Map<string, number>() }

test('presence - an edge counts only while both ends list it', (t) => {
  // n0 is off: its last word still lists n1, n1 and n2 have dropped it.
  const heard = links({ n0: ['n1', 'n2'], n1: ['n2'], n2: ['n1'] })
  t.alike(alive('n2', ['n1'], heard), ['n1', 'n2'])
})

test('presence - of my own edges only my own list counts', (t) => {
  t.alike(alive('a', [], links({ a: ['b'], b: ['a'] })), ['a'], 'b still thinks we are linked')
  t.alike(alive('a', ['b'], links({ b: [] })), ['a', 'b'], 'b has not told of our new link yet')
  t.alike(alive('a', ['b'], new Map()), ['a', 'b'])
})

test('presence - who is reached over others is alive', (t) => {
  const chain = links({ b: ['a', 'c'], c: ['b', 'd'], d: ['c'] })
  t.alike(alive('a', ['b'], chain), ['a', 'b', 'c', 'd'])
})

test('presence - a record older than two refreshes carries nobody', (t) => {
  const chain = links({ b: ['c'], c: ['b', 'd'], d: ['c'] })
  age(chain, 'c', 2 * refreshMs)
  t.alike(alive('a', ['b'], chain), ['a', 'b', 'c', 'd'])
  age(chain, 'c', 2 * refreshMs + 1)
  t.alike(alive('a', ['b'], chain), ['a', 'b'])
  age(chain, 'c', Infinity)
  t.alike(alive('a', ['b'], chain), ['a', 'b'], 'off the disk: never received')
})

test('presence - silence is counted from my own last frame or from what others heard', (t) => {
  const heard = links({ c: [] }, { c: [{ peer: 'b', silentMs: 3000 }] })
  age(heard, 'c', 500)
  t.alike(silent(heard, { b: now - 9000 }), { b: 3500 }, 'c heard it later than I')
  t.alike(silent(heard, { b: now - 100 }), { b: 100 }, 'I heard it later than c')
})

test('presence - who is cut off behind a dead node is as silent as that node', (t) => {
  const chain = links({ b: ['c'], c: ['b'] })
  t.alike(silent(chain, { b: now - 4000 }, 0, { b: now, c: now }), { b: 4000, c: 4000 })
})

test('presence - nobody has been silent for longer than I listen', (t) => {
  t.alike(silent(new Map(), { b: now - 9000 }, now - 700), { b: 700, c: 700 })
})

test('presence - there is no last sign of a node nobody spoke of', (t) => {
  const lastFrame = new Map<string, number>()
  const heard = lastHeard({ ...quiet, self: 'a', lastFrame, links: new Map() })
  t.is(heard.size, 0)
})

test('presence - where all see the same links, alive is mutual and parts are whole', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(graphs, (edges) => {
        const sets = new Map(IDS.map((id) => [id, seenBy(id, edges)]))
        return IDS.every((a) =>
          IDS.every((b) => {
            const [ofA, ofB] = [sets.get(a), sets.get(b)]
            if (ofA?.has(b) !== ofB?.has(a)) return false
            return ofA?.has(b) !== true || [...ofA].every((c) => ofB?.has(c))
          })
        )
      })
    )
  )
})

test('presence - a node that dies is alive for nobody once its peers dropped it', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(graphs, fc.constantFrom(...IDS), (edges, dead) => {
        const dropped = edges.filter(([a]) => a !== dead)
        const stale = edges.filter(([a]) => a === dead)
        const left = [...dropped.filter(([, b]) => b !== dead), ...stale]
        return IDS.every((id) => id === dead || !seenBy(id, left).has(dead))
      })
    )
  )
})

test('presence - one more link never makes anybody less alive', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(graphs, fc.constantFrom(...IDS), fc.constantFrom(...IDS), (edges, a, b) => {
        const before = seenBy('n0', edges)
        const after = seenBy('n0', [...edges, [a, b], [b, a]])
        return [...before].every((id) => after.has(id))
      })
    )
  )
})

const IDS = ['n0', 'n1', 'n2', 'n3', 'n4', 'n5']

/** What each end lists, as [who, whom]. */
const graphs: fc.Arbitrary<[string, string][]> = fc
  .array(fc.tuple(fc.constantFrom(...IDS), fc.constantFrom(...IDS)), {
    maxLength: 12
  })
  .map((pairs) =>
    pairs.flatMap(([a, b]): [string, string][] =>
      a === b
        ? []
        : [
            [a, b],
            [b, a]
          ]
    )
  )

function seenBy(self: string, edges: [string, string][]): Set<string> {
  const lists = Object.fromEntries(
    IDS.map((id) => [id, edges.filter(([a]) => a === id).map(([, b]) => b)])
  )
  const myPeers = new Set(lists[self])
  return aliveNodes({ ...quiet, self, myPeers, links: links(lists) })
}

function links(
  peers: Record<string, string[]>,
  ended: Record<string, { peer: string; silentMs: number }[]> = {}
): Map<string, HeardLinks> {
  const body = (id: string) => ({
    peers: peers[id] ?? [],
    ended: ended[id] ?? [],
    answers: [],
    uptimeRank: 0,
    session: 's'
  })
  return new Map(Object.keys(peers).map((id) => [id, { body: body(id), seq: 1, receivedAt: now }]))
}

function age(heard: Map<string, HeardLinks>, id: string, ms: number): void {
  const record = heard.get(id)
  if (record) record.receivedAt = now - ms
}

function alive(self: string, peers: string[], heard: Map<string, HeardLinks>): string[] {
  return [...aliveNodes({ ...quiet, self, myPeers: new Set(peers), links: heard })].sort()
}

/** Of b and c, neither of them alive for a. */
function silent(
  heard: Map<string, HeardLinks>,
  lastFrame: Record<string, number>,
  since = 0,
  lastAlive: Record<string, number> = Object.fromEntries(
    Object.keys(lastFrame).map((b) => [b, now])
  )
): Record<string, number> {
  const all = silentMs({
    self: 'a',
    nodes: ['a', 'b', 'c'],
    alive: new Set(['a']),
    lastFrame: new Map(Object.entries(lastFrame)),
    links: heard,
    lastAlive: new Map(Object.entries(lastAlive)),
    ...quiet,
    since
  })
  return Object.fromEntries([...all].filter(([, ms]) => ms < now))
}
