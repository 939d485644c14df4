import test from 'brittle'
import { changes } from '../../../apps/daemon/events.ts'
import type { RolloutRecord, State } from '../../../core/state/state.ts'
import { microservice, node, placement, stateOf } from '../../sim/worlds.ts'

const nodes = [node('a'), node('b')]
const microservices = [microservice('web')]
const texts = (before: State, after: State): string[] =>
  changes(before, after).map(({ text }) => text)

test('events - placements: where to, from where and why', (t) => {
  const none = stateOf({ nodes, microservices })
  const placed = { ...placement('web', 0, 'a'), reason: 'a fits' }
  const first = { ...none, placements: new Map([['app/web/0', placed]]) }
  t.alike(texts(none, first), ['app/web/0 is placed on a: a fits'])
  const moved = {
    ...first,
    placements: new Map([['app/web/0', { ...placed, node: 'b', reason: 'a is silent' }]])
  }
  t.alike(texts(first, moved), ['app/web/0 moves from a to b: a is silent'])
  const renewed = {
    ...first,
    placements: new Map([['app/web/0', { ...placed, revision: 'r2', reason: 'new revision' }]])
  }
  t.alike(texts(first, renewed), ['app/web/0 takes its new revision on a: new revision'])
  t.alike(texts(first, none), ['app/web/0 has no place on a any more'])
  t.alike(
    texts(first, { ...first, placements: new Map(first.placements) }),
    [],
    'the same again is nothing'
  )
})

test('events - nodes, leaders and rollouts', (t) => {
  const before = stateOf({ nodes, microservices })
  const drained = node('b', {
    availability: { mode: 'draining', reason: 'roof', deadlineMs: null }
  })
  t.alike(texts(before, stateOf({ nodes: [nodes[0] ?? node('a'), drained], microservices })), [
    'b is drained: roof'
  ])
  t.alike(texts(before, { ...before, nodes: new Map([...before.nodes, ['c', node('c')]]) }), [
    'c is a member'
  ])
  t.alike(texts(before, { ...before, lease: { term: 3, node: 'b' } }), ['b leads, term 3'])
  const rollout = (over: Partial<RolloutRecord>): State => {
    const record: RolloutRecord = {
      ...{ application: 'app', microservice: 'web', of: 'o', revision: 'bbbb1111', from: null },
      ...{ state: 'running', promoted: false, reason: null, log: [], op: 'o', by: 'a', at: 0 },
      ...over
    }
    return { ...before, rollouts: new Map([['app/web', record]]) }
  }
  const begun = rollout({})
  t.alike(texts(before, begun), ['app/web takes revision bbbb1111'])
  t.alike(texts(begun, rollout({ promoted: true })), [])
  const failed = rollout({ state: 'rolledBack', reason: 'it does not run' })
  t.alike(texts(begun, failed), ['app/web goes back from bbbb1111: it does not run'])
  t.alike(texts(failed, begun), ['app/web takes revision bbbb1111'], 'the same is tried again')
})
