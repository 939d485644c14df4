/**
 * Which slots take their new revision now, and whether a rollout is over. Pure: the same on every
 * node that sees the same; a rollout under way is in the view, so any leader goes on with it.
 *
 * Slots take their turn in waves of `parallelism`: those that do not run first, which costs nothing;
 * the next when the last is up. The first that fails ends it, unless its policy says otherwise.
 */
import type { ContainerStatus, StatusBody } from '../../core/gossip-records.ts'
import type { OpId } from '../../core/state/records.ts'
import { isStopped, updateOf, type UpdatePolicy } from '../../core/state/policies.ts'
import { recordAt, rolloutOf } from '../../core/state/rollouts.ts'
import {
  microserviceKey,
  slotKey,
  type MicroserviceRecord,
  type PlacementRecord,
  type RolloutRecord,
  type State
} from '../../core/state/state.ts'

/** What is seen of slots, without having looked before. */
export interface SlotView {
  state: State
  status: ReadonlyMap<string, StatusBody>
}

export interface RolloutInput extends SlotView {
  /** Node ids. */
  alive: ReadonlySet<string>
  /** For how long each slot has been as it is now, up or not, as placed now; absent: since now. */
  sinceMs: ReadonlyMap<string, number>
}

/** Of one microservice. */
export interface Wave {
  /** Slots, by key, that take the new revision now. */
  renewed: ReadonlySet<string>
  /** Why the others do not. */
  reason: string
  end: RolloutVerdict | null
  /** When time alone may change it; null if it cannot. */
  againInMs: number | null
}

export interface RolloutVerdict {
  application: string
  microservice: string
  of: OpId
  outcome: 'done' | 'rolledBack' | 'paused'
  /** One line. */
  reason: string
  /** The slot that failed, by key, and its node: whose log tells more. */
  failed: { slot: string; node: string } | null
}

/** What is not up after so long has failed. */
export const PROGRESS_MS = 600_000

/** By `application/microservice`. One that is absent takes its revision everywhere at once. */
export function waves(input: RolloutInput): Map<string, Wave> {
  const open = openRollouts(input.state)
  return new Map(open.map(({ key, record, slots }) => [key, waveOf(record, slots, input)]))
}

/** Those that are under way, and those that have slots behind: after a rollback. */
function openRollouts(
  state: State
): { key: string; record: MicroserviceRecord; slots: PlacementRecord[] }[] {
  return [...slotsOfRollouts(state)].flatMap(([key, slots]) => {
    const record = state.microservices.get(key)
    if (record === undefined) return []
    const isOpen =
      rolloutOf(state, record) !== null || slots.some((p) => p.revision !== record.revision)
    return isOpen ? [{ key, record, slots }] : []
  })
}

/** The placements of each microservice that has a rollout, by `application/microservice`. */
export function slotsOfRollouts({ rollouts, placements }: State): Map<string, PlacementRecord[]> {
  const slots = new Map([...rollouts.keys()].map((key) => [key, [] as PlacementRecord[]]))
  if (slots.size === 0) return slots
  for (const p of placements.values()) slots.get(`${p.application}/${p.microservice}`)?.push(p)
  return slots
}

/** A slot that is up as placed: its container runs, healthily where anybody looks; or did its work. */
export function isUp(placed: PlacementRecord, input: SlotView): boolean {
  const copy = copyOf(placed, input)
  if (copy?.revision !== placed.revision) return false
  if (copy.state !== 'running') return copy.state === 'stopped'
  return checksHealth(placed, input.state) ? copy.healthy === true : copy.healthy !== false
}

/** A slot as a leader sees it, and since when it is so. */
export interface SlotSight {
  /** What changes with it: placement, up or not, how often it was started again. */
  as: string
  /** Boot ms. */
  at: number
}

/** Looks at every slot that a rollout may wait for; what is as before is so since then. */
export function seeSlots(
  view: SlotView,
  before: ReadonlyMap<string, SlotSight>,
  now: number
): Map<string, SlotSight> {
  const seen = new Map<string, SlotSight>()
  for (const placed of openRollouts(view.state).flatMap(({ slots }) => slots)) {
    const as = `${placed.op} ${isUp(placed, view)} ${copyOf(placed, view)?.restarts ?? 0}`
    const known = before.get(slotKey(placed))
    seen.set(slotKey(placed), known?.as === as ? known : { as, at: now })
  }
  return seen
}

function waveOf(record: MicroserviceRecord, all: PlacementRecord[], input: RolloutInput): Wave {
  const policy = updateOf(record.spec)
  const rollout = rolloutOf(input.state, record)
  const slots = all.sort((a, b) => a.slot - b.slot)
  const reached = slots.filter((p) => input.alive.has(p.node))
  const isNew = (p: PlacementRecord): boolean => p.revision === record.revision
  const since = (p: PlacementRecord): number => input.sinceMs.get(slotKey(p)) ?? 0
  const up = new Set(reached.filter((p) => isUp(p, input)))
  const failures = reached.filter(isNew).flatMap((p) => failureOf(p, up.has(p), since(p), input))
  const failed = new Set(failures.map(({ placed }) => placed))
  let againInMs: number | null = null
  const again = (ms: number): void => {
    againInMs = Math.max(1, Math.ceil(Math.min(ms, againInMs ?? Infinity)))
  }

  const behind = reached
    .filter((p) => !isNew(p))
    .sort((a, b) => (up.has(a) ? 1 : 0) - (up.has(b) ? 1 : 0))
  const inFlight = reached.filter((p) => {
    if (!isNew(p) || failed.has(p)) return false
    if (!up.has(p)) again(PROGRESS_MS - since(p))
    else if (since(p) < policy.delayMs && behind.length > 0) again(policy.delayMs - since(p))
    return !up.has(p) || since(p) < policy.delayMs
  })
  const silent = slots.filter((p) => !input.alive.has(p.node) && !isNew(p))

  const end =
    rollout &&
    endOf(rollout, { record, policy, slots, failures }, () => {
      if (behind.length > 0 || silent.length > 0) return false
      const unproved = reached.filter((p) => !up.has(p) || since(p) < policy.monitorMs)
      for (const p of unproved) if (up.has(p)) again(policy.monitorMs - since(p))
      return unproved.every((p) => failed.has(p))
    })
  const turn = turnOf(rollout, { policy, behind, inFlight, silent, up, slots, isNew })
  // What failed goes to nobody else.
  const renewed = end === null || end.outcome === 'done' ? turn.renewed : new Set<string>()
  return { ...turn, renewed, end, againInMs }
}

interface Situation {
  policy: UpdatePolicy
  /** In reach and not renewed, those that do not run first. */
  behind: PlacementRecord[]
  inFlight: PlacementRecord[]
  /** Out of reach and not renewed. */
  silent: PlacementRecord[]
  up: ReadonlySet<PlacementRecord>
  slots: PlacementRecord[]
  isNew: (placed: PlacementRecord) => boolean
}

function turnOf(rollout: RolloutRecord | null, s: Situation): Pick<Wave, 'renewed' | 'reason'> {
  const { policy, behind, inFlight, silent, slots, up } = s
  if (rollout?.state === 'paused') {
    const why = rollout.reason === null ? '' : `: ${rollout.reason}`
    return { renewed: new Set(), reason: `the rollout is paused${why}` }
  }
  const renewed = slots.filter(s.isNew).length
  const canaries =
    rollout === null || rollout.promoted || policy.canary === 0 ? Infinity : policy.canary
  if (renewed >= canaries) {
    return {
      renewed: new Set(),
      reason: `waits for \`brume rollout promote\`: ${canaries} run the new revision`
    }
  }
  const atOnce = policy.parallelism === 0 ? Infinity : policy.parallelism
  // What went back has proved itself: where nothing runs nothing is lost by going back at once.
  const isFree = (p: PlacementRecord): boolean => rollout === null && !up.has(p)
  const free = behind.filter(isFree).length
  let left = Math.min(atOnce - inFlight.length - free, canaries - renewed)
  const turn = behind.filter((p) => isFree(p) || left-- > 0)
  // Out of reach they are no use as a proof: last, and nobody waits for them.
  const isLast = behind.length === 0 && inFlight.length === 0 && canaries === Infinity
  return {
    renewed: new Set([...turn, ...(isLast ? silent : [])].map(slotKey)),
    reason: `waits for its turn: ${renewed + turn.length} of ${slots.length} take the new revision`
  }
}

interface Failure {
  placed: PlacementRecord
  reason: string
}

function endOf(
  rollout: RolloutRecord,
  {
    record,
    policy,
    slots,
    failures
  }: {
    record: MicroserviceRecord
    policy: UpdatePolicy
    slots: PlacementRecord[]
    failures: Failure[]
  },
  isProved: () => boolean
): RolloutVerdict | null {
  const { application, microservice, of } = rollout
  const verdict = { application, microservice, of }
  if (rollout.state === 'paused') return null
  const [first] = failures
  const isFailed = failures.length > policy.maxFailureRatio * slots.length
  if (
    first !== undefined &&
    isFailed &&
    rollout.from !== null &&
    policy.failureAction !== 'continue'
  ) {
    return {
      ...verdict,
      outcome: policy.failureAction === 'rollback' ? 'rolledBack' : 'paused',
      reason: first.reason,
      failed: { slot: slotKey(first.placed), node: first.placed.node }
    }
  }
  const nothingRuns = isStopped(record.spec) || record.spec.replicas === 0
  if (!(nothingRuns || (slots.length > 0 && isProved()))) return null
  return { ...verdict, outcome: 'done', reason: '', failed: null }
}

function failureOf(
  placed: PlacementRecord,
  isUp: boolean,
  sinceMs: number,
  input: RolloutInput
): Failure[] {
  const copy = copyOf(placed, input)
  const where = input.state.nodes.get(placed.node)?.displayName ?? placed.node
  const fail = (why: string): Failure[] => [
    { placed, reason: `${slotKey(placed)} on ${where} ${why}` }
  ]
  const failing = input.status.get(placed.node)?.failing ?? []
  if (failing.includes(`${placed.application}/${placed.microservice}@${placed.revision}`)) {
    return fail(`failed five times: ${oneLine(copy?.reason ?? null)}`)
  }
  if (copy?.revision === placed.revision) {
    if (copy.state === 'failed' || copy.state === 'restarting') {
      return fail(`does not run: ${oneLine(copy.reason)}`)
    }
    if (copy.state === 'running' && copy.healthy === false) return fail('runs and is not healthy')
  }
  // What waits for what it depends on has not begun.
  if (!isUp && copy?.waits !== true && sinceMs >= PROGRESS_MS) {
    return fail(`is not up after ${PROGRESS_MS / 60_000} minutes`)
  }
  return []
}

const oneLine = (reason: string | null): string =>
  (reason ?? 'it gave no reason').replace(/\s+/g, ' ').slice(0, 500)

function copyOf(placed: PlacementRecord, { status }: SlotView): ContainerStatus | undefined {
  const key = slotKey(placed)
  return status
    .get(placed.node)
    ?.containers.find((c) => slotKey(c) === key && c.placement === placed.op)
}

function checksHealth(placed: PlacementRecord, state: State): boolean {
  const key = microserviceKey({ application: placed.application, name: placed.microservice })
  const record = state.microservices.get(key)
  if (record === undefined) return false
  return (recordAt(state, record, placed.revision) ?? record).spec.healthcheck !== null
}
