/** Rollouts as people see them: what the view says, with how far the slots are. Pure. */
import { updateOf } from '../../core/state/policies.ts'
import { isUnderWay } from '../../core/state/rollouts.ts'
import type { PlacementRecord, RolloutRecord } from '../../core/state/state.ts'
import { isUp, slotsOfRollouts } from '../../roles/controller/rollout.ts'
import type { RolloutJson } from '../api.ts'
import type { ReplicaWorld } from './replicas.ts'
import { nodeName } from './world.ts'

/** By name. */
export function rollouts(world: ReplicaWorld): RolloutJson[] {
  const slots = slotsOfRollouts(world.state)
  return [...world.state.rollouts].map(([key, rollout]) =>
    toJson(rollout, slots.get(key) ?? [], world)
  )
}

function toJson(
  rollout: RolloutRecord,
  slots: PlacementRecord[],
  world: ReplicaWorld
): RolloutJson {
  const { application, microservice, revision, from, state, promoted, reason, log, by, at } =
    rollout
  const renewed = slots.filter((p) => p.revision === revision)
  const up = renewed.filter((p) => world.alive.has(p.node) && isUp(p, world)).length
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
