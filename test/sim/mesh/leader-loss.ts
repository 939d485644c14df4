/**
 * One rollout, and the leader lost at one of its steps: each append of the Controller is one. The
 * seed says which rollout, what befalls the leader, and at which step; before that step all worlds
 * of one rollout are the same.
 */
import type { Op } from '../../../core/state/index.ts'
import type { UpdatePolicy } from '../../../core/state/policies.ts'
import type { RolloutState } from '../../../core/state/state.ts'
import { specWith } from '../../helpers/spec.ts'
import { mend } from './faults.ts'
import type { Host } from './host.ts'
import { settledRollouts } from './invariants/rollouts.ts'
import { moodsToEnv, type Moods } from './moody-engine.ts'
import { at } from './operations/operation.ts'
import { settle } from './settle.ts'
import type { World } from './world.ts'

interface Story {
  words: string
  next: Moods
  update: Partial<UpdatePolicy>
  end: RolloutState
}

const SLOW: Moods = { startsAfter: 1_500 }
const SICK: Moods = { sick: true }
const DYING: Moods = { diesAfter: 300 }

export const STORIES: readonly Story[] = [
  { words: 'a good revision, the new one first', next: SLOW, update: {}, end: 'done' },
  {
    words: 'a good revision, the old one ends first',
    ...{ next: SLOW, update: { order: 'stopFirst', delayMs: 500 }, end: 'done' }
  },
  {
    words: 'a good revision, two at a time',
    ...{ next: SLOW, update: { parallelism: 2 }, end: 'done' }
  },
  { words: 'a sick revision goes back', next: SICK, update: {}, end: 'rolledBack' },
  {
    words: 'a dying revision, the old one ended first, goes back',
    ...{ next: DYING, update: { order: 'stopFirst' }, end: 'rolledBack' }
  },
  {
    words: 'a dying revision is paused',
    ...{ next: DYING, update: { failureAction: 'pause' }, end: 'paused' }
  }
]

/** What befalls the leader. `never`: its append is not made, or it never hears that it was. */
type Loss = (world: World, host: Host) => Promise<void>
const never = (): Promise<never> => new Promise(() => {})

export const LOSSES: readonly { words: string; when: 'before' | 'after'; act: Loss }[] = [
  { words: 'is killed before', when: 'before', act: kill },
  { words: 'is killed after', when: 'after', act: kill },
  { words: 'is cut off before', when: 'before', act: cut },
  { words: 'is cut off after', when: 'after', act: cut },
  { words: 'stands still before', when: 'before', act: standStill }
]

const STEPS = 100
const LOSS_STEPS = STEPS * 10

/** `step` 1 is the first; 0: nothing befalls anybody, to count them. */
export const seedOf = (story: number, loss: number, step: number): number =>
  story * LOSS_STEPS + loss * STEPS + step

/** What is drawn for the rollout of a seed. */
export const storyOf = (seed: number): number => Math.floor(seed / LOSS_STEPS)

/** What the Controller writes as a leader. */
const DECISIONS: ReadonlySet<Op['type']> = new Set([
  'placement.set',
  'placement.rm',
  'rollout.end',
  'indexer.set'
])

const NODES = 3
const APPLICATION = 'shop'
const HEALTH = {
  ...{ command: ['true'], shell: false, intervalMs: 500, timeoutMs: 500, retries: 1 },
  startPeriodMs: 2_000
}
const SETTLE = { settleMs: 120_000, complaints: settledRollouts }

/** @returns how many steps its leaders took while nothing else befell them */
export async function loseLeader(world: World, seed: number, healMs: number[]): Promise<void> {
  const story = STORIES[storyOf(seed)]
  const loss = LOSSES[Math.floor((seed % LOSS_STEPS) / STEPS)]
  if (story === undefined || loss === undefined) throw new Error(`nobody tells story ${seed}`)
  await meet(world)
  const [first] = world.hosts as [Host]
  world.administer(first, 'deploy web', [
    { type: 'application.set', name: APPLICATION, over: null, at: at() },
    { ...named(), spec: specOf('1', {}, story.update), over: null, at: at() }
  ])
  await settle(world, SETTLE)
  world.founders = new Set(world.hosts.map(({ id }) => id))

  const step = seed % STEPS
  let lost: Host | null = null
  const onStep = async (host: Host, when: 'before' | 'after'): Promise<void> => {
    if (lost !== null || !host.controller.startsWith('leading')) return
    if (when === 'before') world.decisions++
    if (world.decisions !== step || when !== loss.when) return
    lost = host
    world.say(`${host.name}, which leads, ${loss.words} its step ${step}`)
    await loss.act(world, host)
  }
  for (const host of world.hosts) {
    host.onAppend = async (ops, when) => {
      if (ops.some(({ type }) => DECISIONS.has(type))) await onStep(host, when)
    }
  }
  const follower = world.hosts.find(({ controller }) => !controller.startsWith('leading')) ?? first
  const over = follower.mesh.state.microservices.get(`${APPLICATION}/web`)?.op ?? null
  world.administer(follower, story.words, [
    { ...named(), spec: specOf('2', story.next, story.update), over, at: at() }
  ])
  // Out of its node, too, the rollout comes to its end.
  await settle(world, SETTLE)
  if (lost === null && step > 0) world.broken.push(`there is no step ${step}`)
  if (world.broken.length > 0) return
  await mend(world)
  healMs.push(Math.round(await settle(world, SETTLE)))
  for (const { name, mesh } of world.hosts) {
    const is = mesh.state.rollouts.get(`${APPLICATION}/web`)?.state
    if (is !== story.end) world.broken.push(`${name} has the rollout ${is}, not ${story.end}`)
  }
}

async function meet(world: World): Promise<void> {
  const first = world.add()
  await world.whole(() => first.make())
  const key = await world.whole(() => first.mesh.keyRing.show())
  for (let i = 1; i < NODES; i++) {
    const host = world.add()
    world.begin(`${host.name} joins`, () => host.join(key))
  }
  await world.finish()
  await settle(world, SETTLE)
}

const named = () => ({
  ...{ type: 'microservice.set' as const, application: APPLICATION, name: 'web' }
})

const specOf = (version: string, moods: Moods, update: Partial<UpdatePolicy>) =>
  specWith({
    ...{ command: [], replicas: 3, healthcheck: HEALTH },
    env: { VERSION: version, ...moodsToEnv(moods) },
    update: { monitorMs: 2_000, ...update }
  })

async function kill(world: World, host: Host): Promise<void> {
  world.begin(`kill -9 ${host.name}`, () => host.crash('all'))
  await never()
}

async function cut(world: World, host: Host): Promise<void> {
  world.network.split(new Map(world.hosts.map(({ id }) => [id, id === host.id ? 0 : 1])))
  return Promise.resolve()
}

const STILL_MS = 20_000

async function standStill(world: World, host: Host): Promise<void> {
  host.pause()
  await new Promise<void>((resolve) => world.time.after(STILL_MS, null, resolve))
  host.resume()
}
