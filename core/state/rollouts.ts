/**
 * Rollouts: the way of a microservice from one revision to another. Begun in apply by whatever
 * changes what its containers are made of, ended by the leader, so that whoever leads next, on any
 * side, finds in the view what to go on with. Since format 2; a change of before has none, and takes
 * place everywhere at once.
 */
import type { MicroserviceSpec } from './microservices.ts'
import type { OpId } from './records.ts'
import {
  microserviceKey,
  type MicroserviceRecord,
  type RolloutRecord,
  type RolloutState,
  type State
} from './state.ts'

export const isUnderWay = ({ state }: Pick<RolloutRecord, 'state'>): boolean =>
  state === 'running' || state === 'paused'

/** What is gone back to: what ran before the change, or before one that never came to its end. */
export function beginRollout(
  before: RolloutRecord | null,
  current: MicroserviceRecord,
  next: { op: OpId; by: string; at: number; revision: string }
): RolloutRecord {
  const { application, name: microservice, revision, spec, op } = current
  const stable =
    before !== null && isUnderWay(before) && before.from !== null
      ? before.from
      : { revision, spec, op }
  return {
    application,
    microservice,
    of: next.op,
    revision: next.revision,
    // Who goes back to what ran before has nothing to go back to.
    from: stable.revision === next.revision ? null : stable,
    state: 'running',
    promoted: false,
    reason: null,
    log: [],
    op: next.op,
    by: next.by,
    at: next.at
  }
}

/** Other wishes for the same content (replicas, a policy): it goes on, as that op's. */
export function carryOn(rollout: RolloutRecord, { op, spec }: MicroserviceRecord): RolloutRecord {
  const { from } = rollout
  return { ...rollout, of: op, from: from && { ...from, spec: made(from.spec, spec) } }
}

/** The rollout of what is asked for now, while it is under way. */
export function rolloutOf(state: State, record: MicroserviceRecord): RolloutRecord | null {
  const rollout = state.rollouts.get(microserviceKey(record))
  return rollout !== undefined && isUnderWay(rollout) && rollout.of === record.op ? rollout : null
}

/** The record as it is for a slot of this revision; null where nobody knows what that is made of. */
export function recordAt(
  state: State,
  record: MicroserviceRecord,
  revision: string
): MicroserviceRecord | null {
  if (record.revision === revision) return record
  const from = rolloutOf(state, record)?.from ?? null
  if (from?.revision !== revision) return null
  return { ...record, revision, spec: made(from.spec, record.spec) }
}

/** The containers of one as the other wants them placed. */
function made(content: MicroserviceSpec, wishes: MicroserviceSpec): MicroserviceSpec {
  const { replicas, node, constraints, update, disconnect, placing, dependsOn, stopped } = wishes
  const spec: MicroserviceSpec = { ...content, replicas, node, constraints }
  return Object.assign(spec, { update, disconnect, placing, dependsOn, stopped })
}

/** What people call them. */
export const ROLLOUT_STATES: Record<RolloutState, string> = {
  running: 'under way',
  paused: 'paused',
  done: 'done',
  rolledBack: 'rolled back'
}
