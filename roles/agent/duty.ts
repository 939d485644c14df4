/** What this node owes to one slot, by the view alone. */
import {
  microserviceKey,
  slotKey,
  type MicroserviceRecord,
  type PlacementRecord,
  type State
} from '../../core/state/state.ts'
import { imageFor, type MicroserviceSpec } from '../../core/state/microservices.ts'
import { disconnectOf, isStopped } from '../../core/state/policies.ts'
import { recordAt } from '../../core/state/rollouts.ts'
import type { EngineContainer, EngineInfo } from './engine.ts'

export interface SlotRef {
  application: string
  microservice: string
  slot: number
}

export type Duty =
  /** Placed here: it should run. The record is that of the placed revision, where it is known. */
  | { kind: 'ours'; placement: PlacementRecord; record: MicroserviceRecord }
  /** Asked for, but not of this node: a copy that runs is handed over. */
  | { kind: 'lost'; placement: PlacementRecord | null; record: MicroserviceRecord }
  /** Asked of nobody: no copy should be. */
  | { kind: 'unasked'; why: string }

export function dutyOf(ref: SlotRef, view: State, self: string): Duty {
  const name = `${ref.application}/${ref.microservice}`
  if (view.nodes.get(self)?.state === 'removed')
    return { kind: 'unasked', why: 'this node was removed from the mesh' }
  const record = view.microservices.get(
    microserviceKey({ application: ref.application, name: ref.microservice })
  )
  if (!record) return { kind: 'unasked', why: `${name} is no longer asked for` }
  if (isStopped(record.spec)) return { kind: 'unasked', why: `${name} is stopped` }
  const placement = view.placements.get(slotKey(ref)) ?? null
  if (placement?.node === self) {
    return { kind: 'ours', placement, record: recordAt(view, record, placement.revision) ?? record }
  }
  if (placement) return { kind: 'lost', placement, record }
  // Its place is taken away only when the time to find another is over.
  const { mode, deadlineMs } = view.nodes.get(self)?.availability ?? {
    mode: 'active',
    deadlineMs: null
  }
  if (mode === 'draining' && deadlineMs !== null)
    return { kind: 'unasked', why: 'this node is drained, and no other may run it' }
  if (record.spec.replicas === 'all')
    return { kind: 'unasked', why: `${name} has no replica for this slot any more` }
  if (ref.slot >= record.spec.replicas)
    return { kind: 'unasked', why: `${name} has ${record.spec.replicas} replicas now` }
  return { kind: 'lost', placement: null, record }
}

/** Why a cut-off node stopped what it ran. */
export const ALONE = 'no other node is in reach for too long (disconnect.stopAfter)'

/**
 * When this node, cut off from all others, stops what it has of a slot, in ms from now; null where it
 * runs on whatever happens.
 */
export function stopsAloneIn(duty: Duty, aloneMs: number | null): number | null {
  if (duty.kind === 'unasked' || aloneMs === null) return null
  const { stopAfterMs } = disconnectOf(duty.record.spec)
  return stopAfterMs === null ? null : Math.max(0, stopAfterMs - aloneMs)
}

/**
 * The container that is this slot's copy. The placed revision's own; where its content is not
 * known (the record has moved on, the placement has not yet), whichever is newest.
 */
export function copyOf(
  duty: Extract<Duty, { kind: 'ours' }>,
  containers: readonly EngineContainer[]
): EngineContainer | null {
  const exact = containers.find((c) => c.revision === duty.placement.revision)
  if (exact) return exact
  return canCreate(duty) ? null : (containers.toSorted(newestFirst)[0] ?? null)
}

/** True when the record holds the content of the placed revision. */
export const canCreate = (duty: Extract<Duty, { kind: 'ours' }>): boolean =>
  duty.record.revision === duty.placement.revision

export type EngineFacts = Pick<EngineInfo, 'kind' | 'arch'>

/** Why this engine can never run it as it is written, or null. */
export function refusalOf(record: MicroserviceRecord, engine: EngineFacts): string | null {
  const name = microserviceKey(record)
  if (engine.kind === 'docker' && imageFor(record.spec, engine.arch) === null)
    return `${name} names no image for ${engine.arch}`
  if (engine.kind === 'process' && record.spec.command.length === 0)
    return `${name} has no command, which the process engine needs`
  return null
}

/** Whether a container that ended with `exitCode` should run again. */
export function startsAgain(spec: MicroserviceSpec, exitCode: number | null): boolean {
  if (spec.restart === 'always') return true
  return spec.restart === 'on-failure' && exitCode !== 0
}

function newestFirst(a: EngineContainer, b: EngineContainer): number {
  return (
    Number(b.state === 'running') - Number(a.state === 'running') ||
    (b.startedAt ?? 0) - (a.startedAt ?? 0) ||
    (a.id < b.id ? -1 : 1)
  )
}
