import test, { type Assert } from 'brittle'
import { createActor, SimulatedClock } from 'xstate'
import {
  createController,
  CONTROLLER_SETTINGS,
  type ControllerWorld
} from '../../../roles/controller/machine.ts'
import type { Plan, SlotReason } from '../../../roles/controller/place.ts'
import { carriedOut, microservice, node, placement, world } from '../../sim/worlds.ts'

const { listenMs, gatherMs, retryMs, retryCapMs } = CONTROLLER_SETTINGS

test('controller - listens after its start, then claims, and leads once the view says so', async (t) => {
  const c = start(t)
  await c.pass(listenMs - 1)
  t.is(c.state(), 'listening')
  t.alike(c.claims, [])
  await c.pass(1)
  t.alike(c.claims, [1])
  t.is(c.state(), 'claiming.waiting')
  c.world.state.lease = { term: 1, node: 'a' }
  await c.hear('view.changed')
  t.is(c.state(), 'leading.watching')
})

test('controller - judges nothing while it listens, whatever it hears', async (t) => {
  const c = start(t)
  for (let i = 0; i < 5; i++) await c.hear('peers.changed')
  t.is(c.looks(), 0)
})

test('controller - claims a term once, however often it is asked to', async (t) => {
  const c = start(t)
  await c.pass(listenMs)
  for (let i = 0; i < 5; i++) await c.hear('gossip.changed')
  t.alike(c.claims, [1])
  c.world.uptimeRank = new Map([['b', 4]])
  await c.hear('gossip.changed')
  t.is(c.state(), 'following', 'another is first choice')
  c.world.uptimeRank = new Map()
  await c.hear('gossip.changed')
  t.alike(c.claims, [1], 'its claim of that term is in the oplog')
  t.is(c.state(), 'claiming.waiting')
})

test('controller - claims the next term when another had this one and is gone', async (t) => {
  const c = start(t)
  await c.pass(listenMs)
  c.world.state.lease = { term: 1, node: 'b' }
  await c.hear('view.changed')
  t.is(c.state(), 'following')
  c.world.alive = new Set(['a', 'c'])
  await c.hear('peers.changed')
  t.alike(c.claims, [1, 2])
})

test('controller - claims the next term at once when the winner of this one is gone already', async (t) => {
  const c = start(t)
  await c.pass(listenMs)
  c.world.state.lease = { term: 1, node: 'b' }
  c.world.alive = new Set(['a', 'c'])
  await c.hear('view.changed')
  t.alike(c.claims, [1, 2])
  t.is(c.state(), 'claiming.waiting')
})

test('controller - a refused claim is tried again, later each time, with a cap', async (t) => {
  const c = start(t)
  c.refuse(new Error('no'))
  await c.pass(listenMs)
  t.is(c.claims.length, 1)
  await c.pass(retryMs * 0.75 - 1)
  await c.hear('gossip.changed', 0)
  t.is(c.claims.length, 1, 'news do not shorten the wait')
  for (let i = 0; i < 12; i++) await c.pass(retryCapMs)
  const waits = c.failures.map((f) => f.retryInMs)
  t.alike(
    waits.slice(0, 3),
    [retryMs, retryMs * 2, retryMs * 4].map((ms) => ms * 0.75)
  )
  t.is(Math.max(...waits), retryCapMs * 0.75)
  c.refuse(null)
  await c.pass(retryCapMs)
  t.is(c.state(), 'claiming.waiting')
})

test('controller - follows whoever holds the lease, and appends nothing', async (t) => {
  const c = start(t)
  c.world.state.lease = { term: 3, node: 'b' }
  c.world.state.microservices.set('app/web', microservice('web'))
  await c.pass(listenMs)
  await c.hear('view.changed')
  t.is(c.state(), 'following')
  t.alike([c.claims, c.appends], [[], []])
})

test('controller - leading, it places what has no place, under its term, once', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  await c.hear('view.changed')
  t.is(c.appends.length, 1)
  t.is(c.appends[0]?.term, 1)
  t.alike(
    c.appends[0]?.plan.set.map((s) => s.node),
    ['a']
  )
  t.is(c.state(), 'leading.awaitingView')
  await c.hear('gossip.changed')
  t.is(c.appends.length, 1, 'not again before the view shows it')
  c.carryOut()
  await c.hear('view.changed')
  t.is(c.state(), 'leading.watching')
})

test('controller - gathers news: many at once are one look', async (t) => {
  const c = await lead(t)
  const before = c.looks()
  for (let i = 0; i < 50; i++) c.send('gossip.changed')
  await c.pass(gatherMs)
  t.is(c.looks() - before, 2, 'one to judge, one to plan')
})

test('controller - steady news do not put the look off', async (t) => {
  const c = await lead(t)
  const before = c.looks()
  for (let i = 0; i < 10; i++) {
    c.send('gossip.changed')
    await c.pass(gatherMs / 2)
  }
  t.ok(c.looks() > before)
})

test('controller - looks again when time alone changes the plan', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  c.world.state.placements.set('app/web/0', placement('web', 0, 'b'))
  c.world.alive = new Set(['a', 'c'])
  c.silence('b', 2000)
  await c.hear('peers.changed')
  t.is(c.appends.length, 0)
  await c.pass(3000 - gatherMs - 1)
  t.is(c.appends.length, 0)
  await c.pass(1)
  t.alike(
    c.appends[0]?.plan.set.map((s) => s.node),
    ['a']
  )
})

test('controller - a refused append is tried again with backoff, and told', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  c.refuse(new Error('the oplog is closed'))
  await c.hear('view.changed')
  t.is(c.state(), 'leading.backingOff')
  t.is((c.failures[0]?.error as Error).message, 'the oplog is closed')
  c.refuse(null)
  await c.pass(retryMs)
  t.is(c.appends.length, 2)
  t.is(c.state(), 'leading.awaitingView')
})

test('controller - a plan the view never shows is appended again, ever more rarely', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  await c.hear('view.changed')
  for (let i = 0; i < 60; i++) await c.pass(1000)
  t.ok(c.appends.length > 3, 'it does not give up')
  t.ok(c.appends.length < 14, `it does not flood: ${c.appends.length} in a minute`)
})

test('controller - another plan does not wait for the one the view does not show', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  await c.hear('view.changed')
  c.world.state.microservices.set('app/api', microservice('api'))
  await c.hear('view.changed')
  t.alike(
    c.appends.map((a) => a.plan.set.length),
    [1, 2]
  )
})

test('controller - tells what waits and why, and takes it back when it no longer leads', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web', { node: 'pi-9' }))
  await c.hear('view.changed')
  t.is(c.told.at(-1)?.[0]?.reason, 'no member is named pi-9')
  const times = c.told.length
  await c.hear('gossip.changed')
  t.is(c.told.length, times, 'on change only')
  c.world.state.lease = { term: 2, node: 'b' }
  await c.hear('view.changed')
  t.is(c.state(), 'following')
  t.alike(c.told.at(-1), [])
})

test('controller - a leader that stood still listens again before it judges', async (t) => {
  const c = await lead(t)
  c.world.state.microservices.set('app/web', microservice('web'))
  c.standStill(4000)
  await c.pass(1000)
  t.is(c.state(), 'listening')
  await c.hear('peers.changed')
  t.is(c.appends.length, 0)
  await c.pass(listenMs)
  t.is(c.appends.length, 1)
})

interface Driven {
  world: ControllerWorld & { alive: Set<string>; uptimeRank: Map<string, number> }
  claims: number[]
  appends: { plan: Plan; term: number }[]
  told: SlotReason[][]
  failures: { error: unknown; retryInMs: number }[]
  state(): string
  /** How often the world was read. */
  looks(): number
  send(type: 'view.changed' | 'gossip.changed' | 'peers.changed'): void
  /** Sends it and lets the news be gathered. */
  hear(type: 'view.changed' | 'gossip.changed' | 'peers.changed', ms?: number): Promise<void>
  pass(ms: number): Promise<void>
  refuse(error: Error | null): void
  silence(id: string, ms: number): void
  standStill(ms: number): void
  /** Makes the view show what was appended. */
  carryOut(): void
}

/** A controller on node a of three, on a clock of its own. */
function start(t: Assert): Driven {
  const clock = new SimulatedClock()
  const calm = world({ nodes: [node('a'), node('b'), node('c')] })
  let stoodStill = 0
  let looks = 0
  let refusal: Error | null = null
  const heardAt = new Map<string, number>()
  const now = (): number => clock.now() + stoodStill
  const answer = async (): Promise<void> => {
    if (refusal) throw refusal
  }

  const driven: Driven = {
    world: {
      ...calm,
      alive: new Set(calm.alive),
      uptimeRank: new Map(),
      aliveMs: new Map(),
      merging: false,
      stableMs: 60_000
    },
    claims: [],
    appends: [],
    told: [],
    failures: [],
    state: () => nameOf(actor.getSnapshot().value),
    looks: () => looks,
    send: (type) => actor.send({ type, state: driven.world.state }),
    hear: async (type, ms = gatherMs) => {
      driven.send(type)
      await driven.pass(ms)
    },
    pass: async (ms) => {
      // In steps: a clock that jumps looks like a machine that stood still.
      for (let left = ms; left >= 0; left -= 250) {
        clock.increment(Math.min(left, 250))
        await answered()
      }
    },
    refuse: (error) => {
      refusal = error
    },
    silence: (id, ms) => {
      heardAt.set(id, now() - ms)
    },
    standStill: (ms) => {
      stoodStill += ms
    },
    carryOut: () => {
      const { plan } = driven.appends.at(-1) ?? {}
      if (plan)
        driven.world = {
          ...driven.world,
          ...carriedOut({ ...driven.world, sinceMs: new Map() }, plan)
        } as never
    }
  }
  const actor = createActor(
    createController({
      readWorld: () => {
        looks++
        const silentMs = new Map([...heardAt].map(([id, at]) => [id, now() - at]))
        return { ...driven.world, silentMs }
      },
      appendPlan: (plan, term) => {
        driven.appends.push({ plan, term })
        return answer()
      },
      claimLease: (term) => {
        driven.claims.push(term)
        return answer()
      },
      reportPlan: (waiting) => driven.told.push(waiting),
      reportFailure: (error, retryInMs) => driven.failures.push({ error, retryInMs }),
      now,
      random: () => 0
    }),
    { clock }
  )
  actor.start()
  t.teardown(() => actor.stop())
  return driven
}

/** Effects here settle at once: after a turn of the event loop what follows from them has happened. */
const answered = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The same, leading under term 1. */
async function lead(t: Assert): Promise<Driven> {
  const c = start(t)
  c.world.state.lease = { term: 1, node: 'a' }
  await c.pass(listenMs)
  t.is(c.state(), 'leading.watching')
  return c
}

function nameOf(value: string | object): string {
  if (typeof value === 'string') return value
  const [[name, inner] = ['', '']] = Object.entries(value) as [string, string | object][]
  return `${name}.${nameOf(inner)}`
}
