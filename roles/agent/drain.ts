/**
 * For how long this node has been drained, where that has a deadline: by its own clock, whoever leads
 * meanwhile. Pure; times are boot ms.
 */
import type { OpId } from '../../core/state/records.ts'
import type { State } from '../../core/state/state.ts'

export interface Drain {
  /** That has it drained; another one begins anew. */
  op: OpId
  deadlineMs: number
  since: number
}

/** null where it is not drained, or may be so for ever. */
export function drainOf(
  view: State,
  self: string,
  known: Pick<Drain, 'op' | 'since'> | null,
  now: number
): Drain | null {
  const { availability, edits } = view.nodes.get(self) ?? { edits: {} }
  const op = edits.availability?.op
  if (availability?.mode !== 'draining' || availability.deadlineMs === null) return null
  if (op === undefined) return null
  return { op, deadlineMs: availability.deadlineMs, since: known?.op === op ? known.since : now }
}

/** In ms from now; 0 once it is over. */
export const overdueIn = ({ since, deadlineMs }: Drain, now: number): number =>
  Math.max(0, since + deadlineMs - now)
