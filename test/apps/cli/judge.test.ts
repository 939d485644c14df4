import test from 'brittle'
import { createJudge, type Goal } from '../../../apps/cli/judge.ts'
import { watched } from './fake-daemon.ts'

const goal = (fields: Partial<Goal> = {}): Goal => ({
  application: 'hello',
  microservices: new Map([['web', 2]]),
  revisions: new Map(),
  exact: false,
  offline: [],
  ...fields
})

const up = watched({ slot: 0 })
const up1 = watched({ slot: 1 })

test('judge - done when every wanted slot runs, not before', (t) => {
  const judge = createJudge(goal())
  t.is(judge.see([], 0).kind, 'going', 'nothing is there yet')
  t.is(judge.see([up], 1).kind, 'going', 'a slot is missing')
  t.is(judge.see([up, watched({ slot: 1, state: 'starting' })], 2).kind, 'going')
  t.is(judge.see([up, up1], 3).kind, 'done')
})

test('judge - an older copy that runs is not what was asked for', (t) => {
  const judge = createJudge(goal())
  t.is(judge.see([up, watched({ slot: 1, revision: 'older' })], 0).kind, 'going')
})

test('judge - with a healthcheck health must be known and good; without, it must not be bad', (t) => {
  const judge = createJudge(goal({ microservices: new Map([['web', 1]]) }))
  t.is(judge.see([watched({ checked: true, healthy: null })], 0).kind, 'going')
  t.is(judge.see([watched({ checked: true, healthy: false })], 1).kind, 'going')
  t.is(judge.see([watched({ checked: true, healthy: true })], 2).kind, 'done')
  t.is(judge.see([watched({ checked: false, healthy: false })], 3).kind, 'going')
})

test('judge - `all` waits for at least one, none wanted for none', (t) => {
  const all = createJudge(goal({ microservices: new Map([['web', 'all']]) }))
  t.is(all.see([], 0).kind, 'going')
  t.is(all.see([up], 1).kind, 'done')
  t.is(createJudge(goal({ microservices: new Map([['web', 0]]) })).see([], 0).kind, 'done')
})

test('judge - other microservices of the application are not looked at', (t) => {
  const broken = watched({ microservice: 'db', state: 'failed' })
  const judge = createJudge(goal())
  t.is(judge.see([up, up1, broken], 0).kind, 'done')
  t.is(judge.see([up, up1, broken], 60_000).kind, 'done')
})

test('judge - leftovers count where nothing else may be left, but not what nobody can see', (t) => {
  const leftover = watched({ slot: 2, state: 'stopping', wanted: null })
  const unseen = watched({ slot: 2, state: 'unknown', wanted: null })
  t.is(createJudge(goal()).see([up, up1, leftover], 0).kind, 'done')
  t.is(createJudge(goal({ exact: true })).see([up, up1, leftover], 0).kind, 'going')
  t.is(createJudge(goal({ exact: true })).see([up, up1, unseen], 0).kind, 'done')
})

test('judge - what is on an offline node is not waited for', (t) => {
  const away = watched({ slot: 1, node: 'pi-9', state: 'unknown' })
  t.is(createJudge(goal()).see([up, away], 0).kind, 'going')
  t.is(createJudge(goal({ offline: ['pi-9'] })).see([up, away], 0).kind, 'done')
})

test('judge - a failure that stays is one, one that passes is not', (t) => {
  const judge = createJudge(goal())
  const down = watched({ slot: 1, state: 'failed', reason: 'image x is missing' })
  t.is(judge.see([up, down], 0).kind, 'going')
  t.is(judge.see([up, watched({ slot: 1, state: 'starting' })], 1_000).kind, 'going')
  t.is(judge.see([up, down], 1_500).kind, 'going')
  t.is(judge.see([up, down], 3_499).kind, 'going')
  const verdict = judge.see([up, down], 3_500)
  t.is(verdict.kind === 'failed' && verdict.cause, 'image x is missing')
})

test('judge - what dies three times will not come up, and its last reason is the cause', (t) => {
  const judge = createJudge(goal())
  const dying = watched({ slot: 1, state: 'restarting', reason: 'exit code 7' })
  const again = watched({ slot: 1, state: 'starting' })
  for (let i = 0; i < 2; i++) {
    t.is(judge.see([up, dying], i * 100).kind, 'going')
    t.is(judge.see([up, dying], i * 100 + 10).kind, 'going', 'seen twice is one')
    t.is(judge.see([up, again], i * 100 + 50).kind, 'going')
  }
  const verdict = judge.see([up, { ...dying, reason: null }], 300)
  t.is(verdict.kind === 'failed' && verdict.cause, 'failed 3 times: exit code 7')
})

test('judge - a slot that moves to another node starts anew', (t) => {
  const judge = createJudge(goal())
  const dying = (node: string) => watched({ slot: 1, node, state: 'restarting' })
  const again = (node: string) => watched({ slot: 1, node, state: 'starting' })
  for (const node of ['a', 'a', 'b', 'b']) {
    t.is(judge.see([up, dying(node)], 0).kind, 'going')
    t.is(judge.see([up, again(node)], 0).kind, 'going')
  }
})

test('judge - unhealthy for ten seconds is a failure', (t) => {
  const judge = createJudge(goal())
  const ill = watched({ slot: 1, checked: true, healthy: false })
  t.is(judge.see([up, ill], 0).kind, 'going')
  t.is(judge.see([up, ill], 9_999).kind, 'going')
  const verdict = judge.see([up, ill], 10_000)
  t.is(verdict.kind === 'failed' && verdict.cause, 'runs but is unhealthy: its healthcheck fails')
})
