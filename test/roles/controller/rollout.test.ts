/** Rollouts decided step by step, carried out by Agents that take their time. */
import test, { type Assert } from 'brittle'
import fc from 'fast-check'
import { startsFirst } from '../../../core/state/policies.ts'
import type { ContainerStatus } from '../../../core/gossip-records.ts'
import { place } from '../../../roles/controller/place.ts'
import { PROGRESS_MS, waves } from '../../../roles/controller/rollout.ts'
import { container, microservice, node, placement, world } from '../../sim/worlds.ts'
import { play, stories, type Played, type Story } from '../../sim/rollouts.ts'

const RUNS = { numRuns: Number(process.env.BRUME_PROPERTY_RUNS ?? 100) }
const atOnce = ({ update, replicas }: Story): number =>
  update.parallelism === 0 ? replicas : (update.parallelism ?? 1)

function holds(
  t: Assert,
  arbitrary: fc.Arbitrary<Story>,
  why: (story: Story, played: Played) => string | null
): void {
  t.execution(() =>
    fc.assert(
      fc.property(arbitrary, (story) => {
        const broken = why(story, play(story))
        if (broken !== null) throw new Error(broken)
      }),
      RUNS
    )
  )
}

test('rollout - a good revision comes to its end, whoever leads', (t) => {
  holds(t, stories, (story, { ends, isQuiet, moments }) => {
    if (!isQuiet) return 'it goes on for ever'
    if (ends.length !== 1 || ends[0]?.outcome !== 'done') return `ends ${JSON.stringify(ends)}`
    const last = moments.at(-1)
    if (last?.serving !== story.replicas) return 'not all serve at its end'
    return last.revisions.every((r) => r === 'r2') ? null : 'not everywhere'
  })
})

test('rollout - never takes a microservice below what its policy allows', (t) => {
  holds(t, stories, (story, { moments }) => {
    const down = story.down !== null && story.down < story.replicas ? 1 : 0
    const kept = startsFirst({ ports: [], update: story.update })
      ? story.replicas - down
      : story.replicas - Math.max(atOnce(story), down)
    const low = moments.find(({ serving }) => serving < kept)
    return low === undefined ? null : `${low.serving} serve at ${low.atMs} ms, ${kept} should`
  })
})

const bad: fc.Arbitrary<Story> = stories.chain((story) =>
  fc
    .uniqueArray(fc.integer({ min: 0, max: story.replicas - 1 }), {
      minLength: 1,
      maxLength: story.replicas
    })
    .map((slots) => ({ ...story, bad: slots, down: null }))
)

test('rollout - a bad revision goes back by itself, and nothing is left of it', (t) => {
  holds(t, bad, (story, { ends, isQuiet, moments }) => {
    if (!isQuiet) return 'it goes on for ever'
    if (ends.length !== 1 || ends[0]?.outcome !== 'rolledBack')
      return `ends ${JSON.stringify(ends)}`
    if (!ends[0].reason.includes('exit code 1')) return ends[0].reason
    const last = moments.at(-1)
    if (last?.serving !== story.replicas) return 'not all serve at its end'
    if (!last.revisions.every((r) => r === 'r1')) return 'something of it is left'
    const kept = startsFirst({ ports: [], update: story.update })
      ? story.replicas
      : story.replicas - atOnce(story)
    const low = moments.find(({ serving }) => serving < kept)
    return low === undefined ? null : `${low.serving} serve at ${low.atMs} ms, ${kept} should`
  })
})

test('rollout - what fails is given to nobody else', (t) => {
  const all = stories.map((story) => ({ ...story, down: null, bad: [0, 1, 2, 3, 4, 5] }))
  holds(t, all, (story, { moments }) => {
    const most = Math.max(...moments.map(({ renewed }) => renewed))
    return most <= atOnce(story) ? null : `${most} got it`
  })
})

const STORY: Story = {
  nodes: 3,
  replicas: 4,
  update: {},
  bad: [],
  upAfterMs: [500, 500, 500, 500, 500, 500],
  leaderLostAt: [],
  down: null
}

test('rollout - paused where its policy says so, with the failure left to look at', (t) => {
  const { ends, moments, isQuiet } = play({
    ...STORY,
    bad: [1],
    update: { failureAction: 'pause' }
  })
  t.ok(isQuiet)
  t.alike(
    ends.map(({ outcome, failed }) => [outcome, failed?.slot]),
    [['paused', 'app/web/1']]
  )
  t.is(moments.at(-1)?.renewed, 2, 'the others keep what they had')
  t.is(moments.at(-1)?.serving, 4)
})

test('rollout - goes on where its policy says so, and is done without what failed', (t) => {
  const { ends, moments } = play({ ...STORY, bad: [1], update: { failureAction: 'continue' } })
  t.alike(
    ends.map(({ outcome }) => outcome),
    ['done']
  )
  t.is(moments.at(-1)?.renewed, 4)
})

test('rollout - a few failures are allowed for', (t) => {
  const some = play({ ...STORY, bad: [1], update: { maxFailureRatio: 0.25 } })
  t.alike(
    some.ends.map(({ outcome }) => outcome),
    ['done']
  )
  const more = play({ ...STORY, bad: [1, 2], update: { maxFailureRatio: 0.25 } })
  t.alike(
    more.ends.map(({ outcome }) => outcome),
    ['rolledBack']
  )
})

test('rollout - canaries go first and wait', (t) => {
  const { ends, moments, isQuiet } = play({ ...STORY, update: { canary: 2 } })
  t.ok(isQuiet)
  t.alike(ends, [])
  t.is(moments.at(-1)?.renewed, 2)
})

test('rollout - what waits for what it depends on has not failed', (t) => {
  const next = { ...microservice('web', {}, 'r2'), op: 'b.1' }
  const placed = { ...placement('web', 0, 'a', 'r2'), op: 'p' }
  const verdict = (over: Partial<ContainerStatus>) => {
    const containers = [container('web', 0, { revision: 'r2', placement: 'p', ...over })]
    const input = world({
      ...{ nodes: [node('a')], microservices: [next], placements: [placed] },
      runs: { a: containers }
    })
    const from = { revision: 'r1', spec: next.spec, op: 'a.1' }
    input.state.rollouts.set('app/web', {
      ...{ application: 'app', microservice: 'web', of: 'b.1', revision: 'r2', from },
      ...{ state: 'running', promoted: false, reason: null, log: [], op: 'b.1', by: 'a', at: 0 }
    })
    const sinceMs = new Map([['app/web/0', PROGRESS_MS]])
    return waves({ ...input, sinceMs }).get('app/web')?.end?.outcome
  }
  t.is(verdict({ state: 'starting' }), 'rolledBack')
  t.is(verdict({ state: 'starting', waits: true }), undefined)
})

test('rollout - waits between waves, and proves itself at the end', (t) => {
  const { ends, moments } = play({ ...STORY, update: { delayMs: 2_000, monitorMs: 5_000 } })
  t.is(ends[0]?.outcome, 'done')
  const reached = (n: number): number => moments.find(({ renewed }) => renewed >= n)?.atMs ?? NaN
  for (const n of [2, 3, 4])
    t.ok(reached(n) - reached(n - 1) >= 2_500, `${reached(n)} after ${reached(n - 1)}`)
  const over = moments.find(({ atMs }) => atMs > reached(4) && atMs >= reached(4) + 5_500)
  t.ok(over)
})

test('rollout - a slot whose revision was given up before it ran has what ran before, till its turn comes', (t) => {
  const third = { ...microservice('web', { replicas: 2 }, 'r3'), op: 'c.1' }
  const slots = [0, 1].map((slot) => placement('web', slot, 'a', 'r2'))
  const planned = (runs: ContainerStatus[], isBack = false) => {
    const input = world({
      ...{ nodes: [node('a')], microservices: [third], placements: slots },
      runs: { a: runs }
    })
    const from = isBack ? null : { revision: 'r1', spec: third.spec, op: 'a.1' }
    input.state.rollouts.set('app/web', {
      ...{ application: 'app', microservice: 'web', of: 'c.1', revision: 'r3', from },
      ...{ state: 'paused', promoted: false, reason: null, log: [], op: 'c.1', by: 'a', at: 0 }
    })
    return place(input).set.map(({ slot, node, revision }) => `${slot} ${node} ${revision}`)
  }
  const old = [0, 1].map((slot) => container('web', slot, { revision: 'r1' }))
  t.alike(planned(old), ['0 a r1', '1 a r1'])
  t.alike(planned([]), ['0 a r1', '1 a r1'], 'whether or not that runs')
  const [, second] = old
  const up = container('web', 0, { revision: 'r2' })
  t.alike(planned([up, second as ContainerStatus]), ['1 a r1'], 'what runs stays')
  t.alike(
    planned(old, true),
    ['0 a r3', '1 a r3'],
    'that is what is asked for, where it was gone back to'
  )
})
