import test from 'brittle'
import fc from 'fast-check'
import { elect, type ElectInput } from '../../../roles/controller/election.ts'
import { node, stateOf } from '../../sim/worlds.ts'

const nodes = [node('a'), node('b'), node('c')]

test('elect - without a lease the first by id claims term 1 and the others wait', (t) => {
  t.alike(view('a'), { act: 'claim', term: 1, leader: null })
  t.alike(view('b'), { act: 'wait', term: 0, leader: null })
})

test('elect - who has been up longer comes first', (t) => {
  const uptimeRank = new Map([
    ['b', 2],
    ['c', 3]
  ])
  t.alike(view('c', { uptimeRank }), { act: 'claim', term: 1, leader: null })
  t.is(view('a', { uptimeRank }).act, 'wait')
})

test('elect - a holder that is alive stays, however others rank', (t) => {
  const state = stateOf({ nodes, lease: { term: 4, node: 'b' } })
  const uptimeRank = new Map([['a', 4]])
  t.alike(view('b', { state, uptimeRank }), { act: 'lead', term: 4, leader: 'b' })
  t.alike(view('a', { state, uptimeRank }), { act: 'follow', term: 4, leader: 'b' })
})

test('elect - a holder that is silent is replaced under the next term', (t) => {
  const state = stateOf({ nodes, lease: { term: 4, node: 'b' } })
  const alive = new Set(['a', 'c'])
  t.alike(view('a', { state, alive }), { act: 'claim', term: 5, leader: null })
  t.alike(view('c', { state, alive }), { act: 'wait', term: 4, leader: null })
})

test('elect - nodes that may not lead do not, a holder among them neither', (t) => {
  const may = [
    node('a', { controller: false }),
    node('b', { state: 'removed' }),
    node('c', { state: 'pending' }),
    node('d', { role: 'viewer' }),
    node('e', { role: 'node' })
  ]
  const alive = new Set(may.map((n) => n.id))
  const state = stateOf({ nodes: may, lease: { term: 1, node: 'a' } })
  t.alike(view('e', { state, alive }), { act: 'claim', term: 2, leader: null })
  t.is(view('a', { state, alive }).act, 'wait')
  const none = { state, alive: new Set(['a', 'b']) }
  t.alike(view('a', none), { act: 'wait', term: 1, leader: null })
})

test('elect - in every part of the mesh that sees the same, at most one claims or leads', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(
        fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1 }),
        fc.subarray(['a', 'b', 'c', 'd']),
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 4, maxLength: 4 }),
        fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'gone')),
        (alive, may, ranks, holder) => {
          const all = ['a', 'b', 'c', 'd']
          const state = stateOf({
            nodes: all.map((id) => node(id, { controller: may.includes(id) })),
            lease: holder === null ? null : { term: 3, node: holder }
          })
          const uptimeRank = new Map(all.map((id, i) => [id, ranks[i] ?? 0]))
          const part = new Set(alive)
          const acts = alive.map((self) => elect({ self, state, alive: part, uptimeRank }).act)
          const first = acts.filter((act) => act === 'claim' || act === 'lead').length
          return first === (alive.some((id) => may.includes(id)) ? 1 : 0)
        }
      )
    )
  )
})

function view(self: string, over: Partial<ElectInput> = {}) {
  const { act, term, leader } = elect({
    self,
    state: stateOf({ nodes }),
    alive: new Set(['a', 'b', 'c']),
    uptimeRank: new Map(),
    ...over
  })
  return { act, term, leader }
}
