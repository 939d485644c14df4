/** Rollouts as people see them: what the view says, with how far the slots are. Pure. */
import { updateOf } from '../../core/state/policies.ts'
import { isUnderWay } from '../../core/state/rollouts.ts'
import type { PlacementRecord, RolloutRecord } from '../../core/state/state.ts'
import { isUp } from '../../roles/controller/rollout.ts'
import type { RolloutJson } from '../api.ts'
import type { ReplicaWorld } from './replicas.ts'
import { nodeName } from './world.ts'

/** By name. */
export function rollouts(world: ReplicaWorld): RolloutJson[] {
  const { state } = world
  const placed = new Map<string, PlacementRecord[]>()
  for (const p of state.placements.values()) {
    const key = `${p.application}/${p.microservice}`
    if (state.rollouts.has(key)) placed.set(key, [...(placed.get(key) ?? []), p])
  }
  return [...state.rollouts].map(([key, rollout]) => toJson(rollout, placed.get(key) ?? [], world))
}

function toJson(
  rollout: RolloutRecord,
  slots: PlacementRecord[],
  world: ReplicaWorld
): RolloutJson {
  const { application, microservice, revision, from, state, promoted, reason, log, by, at } =
    rollout
  const renewed = slots.filter((p) => p.revision === revision)
  const input = { ...world, sinceMs: new Map<string, number>() }
  const up = renewed.filter((p) => world.alive.has(p.node) && isUp(p, input)).length
  const record = world.state.microservices.get(`${application}/${microservice}`)
  const canary = record === undefined ? 0 : updateOf(record.spec).canary
  const behind = slots.find((p) => p.revision !== revision)
  const why =
    behind === undefined || !isUnderWay(rollout)
      ? null
      : (world.waiting.get(`${application}/${microservice}/${behind.slot}`) ?? null)
  return {
    application,
    microservice,
    revision,
    from: from?.revision ?? null,
    state,
    promoted,
    awaitsPromotion:
      state === 'running' &&
      !promoted &&
      canary > 0 &&
      behind !== undefined &&
      renewed.length >= canary &&
      up === renewed.length,
    slots: slots.length,
    renewed: renewed.length,
    up,
    waits: why,
    reason,
    log,
    by: nodeName(world.state, by),
    at: new Date(at).toISOString()
  }
}
