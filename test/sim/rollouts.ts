/**
 * A microservice whose revision changes, with Agents that take their time: what a leader decides is
 * carried out step by step, and what serves is counted at every moment.
 */
import fc from 'fast-check'
import type { ContainerStatus } from '../../core/gossip-records.ts'
import { startsFirst, type Policies } from '../../core/state/policies.ts'
import {
  slotKey,
  type PlacementRecord,
  type RolloutRecord,
  type State
} from '../../core/state/state.ts'
import { place } from '../../roles/controller/place.ts'
import { seeSlots, type RolloutVerdict, type SlotSight } from '../../roles/controller/rollout.ts'
import { container, facts, microservice, node, placement, world } from './worlds.ts'

export interface Story {
  nodes: number
  replicas: number
  update: NonNullable<Policies['update']>
  /** Which slots the new revision fails on. */
  bad: number[]
  /** How long a container takes until it is up, by slot, ms. */
  upAfterMs: number[]
  /** When another leads, who has seen nothing yet, ms. */
  leaderLostAt: number[]
  /** A slot that does not run when it begins. */
  down: number | null
}

export const stories: fc.Arbitrary<Story> = fc.record({
  nodes: fc.integer({ min: 1, max: 5 }),
  replicas: fc.integer({ min: 1, max: 6 }),
  update: fc.record(
    {
      parallelism: fc.integer({ min: 0, max: 3 }),
      order: fc.constantFrom('auto' as const, 'startFirst' as const, 'stopFirst' as const),
      delayMs: fc.constantFrom(0, 700),
      monitorMs: fc.constantFrom(0, 1000, 10_000)
    },
    { requiredKeys: [] }
  ),
  bad: fc.constant([]),
  upAfterMs: fc.array(fc.integer({ min: 100, max: 3000 }), { minLength: 6, maxLength: 6 }),
  leaderLostAt: fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 3 }),
  down: fc.option(fc.integer({ min: 0, max: 5 }), { freq: 3 })
})

export interface Moment {
  atMs: number
  /** Slots that serve. */
  serving: number
  /** Slots that have, or had, the new revision. */
  renewed: number
  revisions: string[]
}

export interface Played {
  moments: Moment[]
  ends: RolloutVerdict[]
  /** Whether nothing changed any more at the end. */
  isQuiet: boolean
  state: State
}

const STEP_MS = 100
const LONGEST_MS = 120_000

interface Slot {
  /** Placement its node has seen, and since when. */
  op: string
  revision: string
  at: number
  /** The revision that serves meanwhile; null: none. */
  serves: string | null
}

export function play(story: Story): Played {
  const { update, replicas } = story
  const spec = { replicas, healthcheck: HEALTH, update }
  const old = microservice('web', { ...spec, image: 'x:1' }, 'r1')
  const next = { ...microservice('web', { ...spec, image: 'x:2' }, 'r2'), op: 'b.1' }
  const rollout: RolloutRecord = {
    application: 'app',
    microservice: 'web',
    of: 'b.1',
    revision: 'r2',
    from: { revision: 'r1', spec: old.spec, op: old.op },
    state: 'running',
    promoted: false,
    reason: null,
    log: [],
    op: 'b.1',
    by: 'a',
    at: 0
  }
  const ids = Array.from({ length: story.nodes }, (_, i) => `n${i}`)
  const all = Array.from({ length: replicas }, (_, slot) => slot)
  const on = (slot: number): string => ids[slot % ids.length] ?? 'n0'
  let state: State = {
    ...world({ nodes: ids.map((id) => node(id)), microservices: [next] }).state,
    placements: new Map(
      all.map((s) => [`app/web/${s}`, { ...placement('web', s, on(s)), op: `p${s}` }])
    ),
    rollouts: new Map([['app/web', rollout]])
  }
  const slots = new Map<string, Slot>(
    all.map((s) => [
      `app/web/${s}`,
      { op: `p${s}`, revision: 'r1', at: -60_000, serves: s === story.down ? null : 'r1' }
    ])
  )
  const renewed = new Set<string>()
  const moments: Moment[] = []
  const ends: RolloutVerdict[] = []
  let sights: ReadonlyMap<string, SlotSight> = new Map()
  let ops = 0
  let quietFor = 0

  for (let now = 0; now <= LONGEST_MS && quietFor < 300; now += STEP_MS) {
    if (story.leaderLostAt.some((at) => at >= now && at < now + STEP_MS)) sights = new Map()
    for (const [key, slot] of slots) act(key, slot, now)
    const input = {
      ...world({ nodes: [...state.nodes.values()] }),
      facts: new Map(ids.map((id) => [id, facts()])),
      state,
      status: statusNow(now)
    }
    sights = seeSlots(input, sights, now)
    const sinceMs = new Map([...sights].map(([key, { at }]) => [key, now - at]))
    const plan = place({ ...input, sinceMs })
    quietFor = plan.set.length + plan.rm.length + plan.ends.length === 0 ? quietFor + 1 : 0
    for (const set of plan.set) {
      const { application, microservice: name, slot, node: at, revision } = set
      const record: PlacementRecord = {
        ...placement(name, slot, at, revision),
        application,
        op: `q${ops++}`
      }
      state = { ...state, placements: new Map(state.placements).set(slotKey(set), record) }
      if (revision === 'r2') renewed.add(slotKey(set))
    }
    for (const end of plan.ends) {
      ends.push(end)
      const over: RolloutRecord = {
        ...rollout,
        state: end.outcome,
        reason: end.reason,
        from: end.outcome === 'paused' ? rollout.from : null
      }
      state = { ...state, rollouts: new Map([['app/web', over]]) }
      if (end.outcome === 'rolledBack') {
        state = { ...state, microservices: new Map([['app/web', { ...old, op: 'c.1' }]]) }
      }
    }
    moments.push({
      atMs: now,
      serving: [...slots.values()].filter(({ serves }) => serves !== null).length,
      renewed: renewed.size,
      revisions: [...slots.values()].map(({ revision }) => revision)
    })
  }
  return { moments, ends, isQuiet: quietFor >= 300, state }

  /** What its node's Agent does: it sees the placement a moment late, then follows its order. */
  function act(key: string, slot: Slot, now: number): void {
    const placed = state.placements.get(key)
    if (placed === undefined) return
    if (placed.op !== slot.op) {
      const first = startsFirst({ ports: [], update })
      const keeps = first || slot.serves === placed.revision
      slots.set(key, {
        op: placed.op,
        revision: placed.revision,
        at: now,
        serves: keeps ? slot.serves : null
      })
      return
    }
    if (isUp(placed.slot, slot, now)) slot.serves = slot.revision
  }

  function isUp(n: number, slot: Slot, now: number): boolean {
    if (slot.serves === slot.revision) return true
    if (slot.revision === 'r1' && n === story.down && slot.at < 0) return false
    return !fails(n, slot) && now - slot.at >= (story.upAfterMs[n] ?? 0)
  }

  function fails(n: number, slot: Slot): boolean {
    return slot.revision === 'r2' && story.bad.includes(n)
  }

  function statusNow(
    now: number
  ): Map<string, { containers: ContainerStatus[]; failing: string[] }> {
    const status = new Map(
      ids.map((id) => [id, { containers: [] as ContainerStatus[], failing: [] as string[] }])
    )
    for (const [key, slot] of slots) {
      const placed = state.placements.get(key)
      if (placed === undefined || placed.op !== slot.op) continue
      const up = isUp(placed.slot, slot, now)
      const failed =
        fails(placed.slot, slot) && now - slot.at >= (story.upAfterMs[placed.slot] ?? 0)
      status.get(placed.node)?.containers.push(
        container('web', placed.slot, {
          revision: slot.revision,
          placement: slot.op,
          state: up ? 'running' : failed ? 'restarting' : 'starting',
          healthy: up ? true : null,
          reason: failed ? 'ended with exit code 1' : null
        })
      )
    }
    return status
  }
}

const HEALTH = {
  command: ['true'],
  shell: false,
  intervalMs: 1000,
  timeoutMs: 1000,
  retries: 3,
  startPeriodMs: 0
}
