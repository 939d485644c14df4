import test from 'brittle'
import { slotKey } from '../../../core/state/state.ts'
import { pass, type Pass, type PassInput } from '../../../roles/agent/pass.ts'
import { check, world } from './worlds.ts'

const BY = { boot: 'boot', wallNow: 7, random: () => 0.5 }
const NEW: PassInput = {
  alone: null,
  drain: null,
  volumes: [],
  reported: new Map(),
  checked: new Map()
}

test('pass - a second one of the same world takes no step, and tells and saves nothing new', (t) => {
  check(world({ steps: true }), (w) => {
    const first = pass(w, NEW, BY)
    const again = pass({ ...w, memory: first.memory }, after(first), { ...BY, wallNow: 9 })
    if (again.steps.length > 0) return `another step: ${again.steps[0]?.kind}`
    if (JSON.stringify(again.status) !== JSON.stringify(first.status)) return 'news'
    if (again.durable !== first.durable) return 'something to save'
    const ids = (p: Pass): string => [...p.checks.keys()].join()
    return ids(again) === ids(first) ? null : 'other checks'
  })
  t.pass()
})

test('pass - it comes again at the first of what time alone brings', (t) => {
  check(world({ steps: false }), (w) => {
    const { againInMs } = pass(w, NEW, BY)
    const by = (over: Partial<PassInput>): number | null =>
      pass(w, { ...NEW, ...over }, BY).againInMs
    const first = (ms: number): number => Math.min(ms, againInMs ?? Infinity)
    const drain = { op: 'op', deadlineMs: 300, since: w.now }
    if (by({ drain }) !== first(300)) return 'not at the deadline of a drain'
    const searching = { forMs: 0, untilMs: w.now + 200.5 }
    if (by({ drain, alone: { since: 0, searching } }) !== first(201))
      return 'not when it was sought'
    return by({ drain: { ...drain, since: w.now - 300 } }) === againInMs ? null : 'for what is over'
  })
  t.pass()
})

const after = ({ status, checks }: Pass): PassInput => ({
  ...NEW,
  reported: new Map(status.containers.map((s) => [slotKey(s), s])),
  checked: new Map([...checks].map(([id, { slot }]) => [id, slot]))
})
