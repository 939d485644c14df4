import test from 'brittle'
import fc from 'fast-check'
import {
  aliveNodes,
  ANSWER_MS,
  disputed,
  lastHeard,
  silentMs,
  type HeardLinks
} from '../../core/presence.ts'

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

/** One of them lies; some of the others are dead since a while; all others have told the truth. */
const lies = fc.record({
  edges: fc.uniqueArray(fc.tuple(fc.constantFrom(...IDS), fc.constantFrom(...IDS)), {
    maxLength: 15,
    selector: ([a, b]) => [a, b].sort().join()
  }),
  dead: fc.subarray(['n1', 'n2', 'n3'], { maxLength: 2 }),
  deadForMs: fc.integer({ min: 10_000, max: 3 * refreshMs }),
  liar: fc.record({
    peers: fc.subarray(IDS),
    ended: fc.array(
      fc.record({ peer: fc.constantFrom(...IDS), silentMs: fc.integer({ min: 0, max: 1e9 }) })
    ),
    answers: fc.array(fc.record({ peer: fc.constantFrom(...IDS), seq: fc.nat(20) })),
    seq: fc.nat(20),
    ageMs: fc.nat(refreshMs)
  }),
  ages: fc.array(fc.nat(refreshMs), { minLength: 6, maxLength: 6 })
})
type Lies = typeof lies extends fc.Arbitrary<infer T> ? T : never

test('presence - a liar makes nobody dead who is linked past it', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(lies, (world) => {
        const { honest, alive } = seenDespite(world)
        return [...reach('n5', honest)].every((id) => alive.has(id))
      }),
      { numRuns: 2000 }
    )
  )
})

test('presence - a liar keeps nobody alive whom an honest peer dropped, and nobody for longer than two refreshes', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(lies, (world) => {
        const { alive, had } = seenDespite(world)
        return world.dead.every((id) => {
          const witness = [...(had.get(id) ?? [])].some(
            (p) => p !== 'n0' && !world.dead.includes(p)
          )
          return !(witness || world.deadForMs > 2 * refreshMs) || !alive.has(id)
        })
      }),
      { numRuns: 2000 }
    )
  )
})

test('presence - a liar makes no silence younger than I saw it begin, and nobody silent who is alive', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(lies, fc.integer({ min: 0, max: 60_000 }), (world, ms) => {
        const { alive, view } = seenDespite(world)
        const lastAlive = new Map(IDS.map((id) => [id, now - ms]))
        const said = silentMs({
          ...view,
          nodes: IDS,
          alive,
          lastAlive,
          lastFrame: new Map(),
          since: 0
        })
        return [...said].every(([id, silence]) => !alive.has(id) && silence >= ms)
      }),
      { numRuns: 1000 }
    )
  )
})

/** What honest, living n5 makes of it all; n0 is the liar. */
function seenDespite(world: Lies): {
  alive: Set<string>
  view: Parameters<typeof lastHeard>[0]
  honest: Map<string, Set<string>>
  had: Map<string, Set<string>>
} {
  const had = new Map<string, Set<string>>(IDS.map((id) => [id, new Set()]))
  for (const [a, b] of world.edges) {
    if (a === b) continue
    had.get(a)?.add(b)
    had.get(b)?.add(a)
  }
  const isDead = (id: string): boolean => world.dead.includes(id)
  const records = new Map<string, HeardLinks>()
  const honest = new Map<string, Set<string>>()
  for (const [i, id] of IDS.entries()) {
    const peers = [...(had.get(id) ?? [])].filter((p) => isDead(id) || !isDead(p))
    const disowned = peers.includes('n0') && !world.liar.peers.includes(id)
    const answers = disowned && !isDead(id) ? [{ peer: 'n0', seq: world.liar.seq }] : []
    const said = { peers, ended: [], answers, uptimeRank: 0, session: 's' }
    const ageMs = isDead(id) ? world.deadForMs : (world.ages[i] ?? 0)
    records.set(id, { body: said, seq: 10, receivedAt: now - ageMs })
    if (!isDead(id)) honest.set(id, new Set(peers.filter((p) => p !== 'n0')))
  }
  const { ageMs, seq, ...words } = world.liar
  const body = { ...words, uptimeRank: 4, session: 's' }
  records.set('n0', { body, seq, receivedAt: now - ageMs })
  honest.delete('n0')
  const input = { self: 'n5', links: records, now, refreshMs }
  const disputedSince = new Map([...disputed(input)].map((id) => [id, now - ANSWER_MS]))
  const myPeers = new Set(records.get('n5')?.body.peers)
  const alive = aliveNodes({ ...input, myPeers, disputedSince })
  return { alive, view: { ...input, lastFrame: new Map(), disputedSince }, honest, had }
}

function reach(from: string, edges: Map<string, Set<string>>): Set<string> {
  const found = new Set([from])
  for (const id of found) for (const next of edges.get(id) ?? []) found.add(next)
  return found
}
