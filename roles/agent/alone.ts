/**
 * For how long this node has been cut off from all others, for what stops then (`disconnect.stopAfter`). Pure;
 * times are boot ms.
 */
import { disconnectOf } from '../../core/state/policies.ts'
import type { State } from '../../core/state/state.ts'
import { dutyOf, type SlotRef } from './duty.ts'
import { sinceOf, type Clock, type Lasting } from './lasting.ts'

export interface Alone {
  since: number
  /** What counts until a daemon that just started had time to find others: the time it was down may not. */
  searching: { forMs: number; untilMs: number } | null
}

/** Longer than a daemon needs to find others that are there. */
export const SEARCH_MS = 10_000

export const aloneFrom = (now: number): Alone => ({ since: now, searching: null })

/** As an earlier daemon was, and nobody has been met since. */
export const aloneStill = (saved: Lasting, clock: Clock): Alone => ({
  since: sinceOf(saved, clock),
  searching: { forMs: saved.forMs, untilMs: clock.now + SEARCH_MS }
})

export function aloneMs({ since, searching }: Alone, now: number): number {
  return searching !== null && now < searching.untilMs ? searching.forMs : now - since
}

/** When it counts for more at once, in ms from now; null: it only grows. */
export function searchEndsIn({ searching }: Alone, now: number): number | null {
  return searching === null || now >= searching.untilMs ? null : searching.untilMs - now
}

/** No other member is alive, and there is one. */
export function isAlone(view: State, alive: ReadonlySet<string>, self: string): boolean {
  const others = [...view.nodes.values()].filter(
    (n) => n.id !== self && n.state === 'member' && !n.lost
  )
  return others.length > 0 && !others.some(({ id }) => alive.has(id))
}

/** The longest that any of these slots goes on alone; null where none stops. */
export function longestAlone(refs: Iterable<SlotRef>, view: State, self: string): number | null {
  let longest: number | null = null
  for (const ref of refs) {
    const duty = dutyOf(ref, view, self)
    if (duty.kind === 'unasked') continue
    const { stopAfterMs } = disconnectOf(duty.record.spec)
    if (stopAfterMs !== null) longest = Math.max(stopAfterMs, longest ?? 0)
  }
  return longest
}
