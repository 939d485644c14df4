import test from 'brittle'
import fc from 'fast-check'
import { quorumOf } from '../../../core/state/recover.ts'
import type { NodeRecord } from '../../../core/state/state.ts'
import { chooseIndexers, type IndexersInput } from '../../../roles/controller/indexers.ts'
import { node, stateOf } from '../../sim/worlds.ts'

const MINUTE = 60_000

interface Part {
  id: string
  role?: NodeRecord['role']
  labels?: Record<string, string>
  state?: NodeRecord['state']
  lost?: boolean
  /** Alive for so long; silent for so long where it is negative. */
  ms?: number
  rank?: number
}

function input(indexers: string[], ...parts: Part[]): IndexersInput {
  const nodes = parts.map(
    ({ id, role = 'admin', labels = {}, state = 'member', lost = false }) => ({
      ...node(id),
      role,
      labels,
      state,
      lost
    })
  )
  const alive = parts.filter(({ ms = MINUTE }) => ms >= 0)
  const silent = parts.filter(({ ms = MINUTE }) => ms < 0)
  return {
    state: { ...stateOf({ nodes }), indexers },
    alive: new Set(alive.map(({ id }) => id)),
    aliveMs: new Map(alive.map(({ id, ms = MINUTE }) => [id, ms])),
    silentMs: new Map(silent.map(({ id, ms = 0 }) => [id, -ms])),
    uptimeRank: new Map(parts.map(({ id, rank = 1 }) => [id, rank])),
    merging: false,
    stableMs: MINUTE
  }
}

const parts = (ids: string, more: Omit<Part, 'id'> = {}): Part[] =>
  [...ids].map((id) => ({ id, ...more }))

function settle(from: IndexersInput, max = 20): { indexers: string[]; steps: number } {
  let now = from
  for (let steps = 0; steps < max; steps++) {
    const { change } = chooseIndexers(now)
    if (change === null) return { indexers: now.state.indexers, steps }
    now = { ...now, state: { ...now.state, indexers: after(now.state.indexers, change) } }
  }
  return { indexers: now.state.indexers, steps: max }
}

const after = (
  indexers: string[],
  { node, indexer }: { node: string; indexer: boolean }
): string[] => (indexer ? [...indexers, node] : indexers.filter((id) => id !== node))

const CASES: [claim: string, from: IndexersInput, indexers: string[]][] = [
  ['one of two', input(['a'], ...parts('ab')), ['a']],
  ['three of three', input(['a'], ...parts('abc')), ['a', 'b', 'c']],
  ['three of nineteen', input(['a'], ...parts('abcdefghijklmnopqrs')), ['a', 'b', 'c']],
  ['five of twenty', input(['a'], ...parts('abcdefghijklmnopqrst')), ['a', 'b', 'c', 'd', 'e']],
  ['the longest up', input(['a'], ...parts('abc'), ...parts('xy', { rank: 3 })), ['a', 'x', 'y']],
  ['no field nodes', input(['a'], ...parts('ab'), ...parts('cd', { role: 'node' })), ['a']],
  ['no viewers', input(['a'], ...parts('ab'), ...parts('cd', { role: 'viewer' })), ['a']],
  [
    'no trucks',
    input(['a'], ...parts('ab'), ...parts('cd', { labels: { mobile: 'true' } })),
    ['a']
  ],
  ['a truck where it is alone', input(['a'], ...parts('a', { labels: { mobile: 'yes' } })), ['a']],
  [
    'not the truck once there is another',
    input(['a'], ...parts('a', { labels: { mobile: 'yes' } }), ...parts('b')),
    ['b']
  ],
  ['nobody just come', input(['a'], ...parts('abc', { ms: MINUTE - 1 })), ['a']],
  [
    'no more while one that confirms has just come back',
    input(['a'], ...parts('a', { ms: MINUTE - 1 }), ...parts('bc')),
    ['a']
  ],
  [
    'no fewer either',
    input(['a', 'b', 'c', 'd', 'e'], ...parts('abcd'), ...parts('e', { ms: 1 })),
    ['a', 'b', 'c', 'd', 'e']
  ],
  ['no even number', input(['a'], ...parts('ab'), ...parts('c', { ms: 5 })), ['a']],
  [
    'who is gone is replaced',
    input(['a', 'b', 'c'], ...parts('abd'), ...parts('c', { ms: -MINUTE })),
    ['a', 'b', 'd']
  ],
  [
    'not at once',
    input(['a', 'b', 'c'], ...parts('abd'), ...parts('c', { ms: 1 - MINUTE })),
    ['a', 'b', 'c']
  ],
  [
    'not without another',
    input(['a', 'b', 'c'], ...parts('ab'), ...parts('c', { ms: -MINUTE })),
    ['a', 'b', 'c']
  ],
  [
    'who is lost, at once',
    input(['a', 'b', 'c'], ...parts('abd'), ...parts('c', { lost: true, ms: -1 })),
    ['a', 'b', 'd']
  ],
  [
    'who was removed',
    input(['a', 'b', 'c'], ...parts('abd'), ...parts('c', { state: 'removed', ms: -1 })),
    ['a', 'b', 'd']
  ],
  [
    'nothing without a quorum',
    input(['a', 'b', 'c'], ...parts('ade'), ...parts('bc', { ms: -MINUTE })),
    ['a', 'b', 'c']
  ],
  [
    'an alive one is not swapped',
    input(['a', 'b', 'c'], ...parts('abc'), ...parts('de', { rank: 4 })),
    ['a', 'b', 'c']
  ],
  [
    'three stay of two',
    input(['a', 'b', 'c'], ...parts('ab'), ...parts('c', { state: 'removed', ms: -1 })),
    ['a']
  ]
]

for (const [claim, from, indexers] of CASES) {
  test(`indexers - ${claim}`, (t) => {
    const settled = settle(from)
    t.alike(settled.indexers.sort(), indexers)
    t.ok(settled.steps < 8, `${settled.steps} changes`)
  })
}

test('indexers - time alone may change it, and then says when', (t) => {
  t.is(chooseIndexers(input(['a'], ...parts('abc', { ms: 20_000 }))).againInMs, 40_000)
  t.is(chooseIndexers(input(['a'], ...parts('abc'))).change?.indexer, true)
  const back = input(['a'], ...parts('a', { ms: 50_000 }), ...parts('bc'))
  t.alike(chooseIndexers(back), { change: null, againInMs: 10_000 })
})

test('indexers - while much is merged none is begun without need, and it is looked at again', (t) => {
  const merging = (from: IndexersInput): IndexersInput => ({ ...from, merging: true })
  const more = input(['a'], ...parts('abc'))
  t.alike(chooseIndexers(merging(more)), { change: null, againInMs: 5_000 })
  const fewer = input(['a', 'b', 'c', 'd', 'e'], ...parts('abcdefg'))
  t.is(chooseIndexers(fewer).change?.indexer, false)
  t.is(chooseIndexers(merging(fewer)).change, null)
  const gone = input(['a', 'b', 'c'], ...parts('abd'), ...parts('c', { ms: -MINUTE }))
  t.alike(chooseIndexers(merging(gone)).change, chooseIndexers(gone).change)
  t.is(chooseIndexers(gone).change?.node, 'c')
})

const worlds = fc
  .array(
    fc.record({
      role: fc.constantFrom<NodeRecord['role']>('admin', 'operator', 'node', 'viewer'),
      labels: fc.constantFrom<Record<string, string>>({}, {}, { mobile: 'true' }),
      state: fc.constantFrom<NodeRecord['state']>(
        'member',
        'member',
        'member',
        'removed',
        'pending'
      ),
      lost: fc.boolean(),
      ms: fc.constantFrom(0, 30_000, MINUTE, 10 * MINUTE, -1, -30_000, -MINUTE),
      rank: fc.integer({ min: 0, max: 4 }),
      indexer: fc.boolean()
    }),
    { minLength: 1, maxLength: 24 }
  )
  .map((list) => {
    const all = list.map((part, i) => ({ ...part, id: `n${String(i).padStart(2, '0')}` }))
    const indexers = all
      .filter(({ indexer }) => indexer)
      .map(({ id }) => id)
      .slice(0, 5)
    return input(indexers.length === 0 ? ['n00'] : indexers, ...all)
  })

test('indexers - in any world: one change at a time, never without a quorum, and it comes to rest', (t) => {
  fc.assert(
    fc.property(worlds, (from) => {
      let now = from
      const confirming = (ids: string[]): number => ids.filter((id) => from.alive.has(id)).length
      const isCalm = (ids: string[]): boolean =>
        ids.every((id) => (from.aliveMs.get(id) ?? 0) >= from.stableMs)
      for (let i = 0; i < 20; i++) {
        const { change } = chooseIndexers(now)
        if (change === null) {
          const { length } = now.state.indexers
          if (i > 0 && length % 2 === 0) {
            // Rests on an even number only where a further change could not be confirmed, or soon.
            return confirming(now.state.indexers) < length || !isCalm(now.state.indexers)
          }
          return true
        }
        const { indexers } = now.state
        if (confirming(indexers) < quorumOf(indexers.length)) return false
        const node = now.state.nodes.get(change.node)
        if (change.indexer && !from.alive.has(change.node)) return false
        if (change.indexer && (node?.state !== 'member' || node.lost)) return false
        if (change.indexer && (node?.role === 'viewer' || node?.role === 'node')) return false
        const next = after(indexers, change)
        if (next.length === 0 || confirming(next) < quorumOf(next.length)) return false
        now = { ...now, state: { ...now.state, indexers: next } }
      }
      return false
    }),
    { numRuns: 2_000 }
  )
  t.pass()
})

test('indexers - the order of what is known makes no difference', (t) => {
  fc.assert(
    fc.property(worlds, (from) => {
      const nodes = new Map([...from.state.nodes].reverse())
      const turned = {
        ...from,
        state: { ...from.state, nodes },
        alive: new Set([...from.alive].reverse())
      }
      return JSON.stringify(chooseIndexers(from)) === JSON.stringify(chooseIndexers(turned))
    })
  )
  t.pass()
})
