/**
 * How long this node has been alone and drained: what an earlier daemon saw of both goes on, and what
 * is seen of them is kept for a later one. Pure; times are boot ms.
 */
import type { State } from '../../core/state/state.ts'
import { aloneFrom, aloneMs, aloneStill, isAlone, longestAlone, type Alone } from './alone.ts'
import { drainOf, type Drain } from './drain.ts'
import { sinceOf, toLasting, type Clock } from './lasting.ts'
import { slotsOf, type SavedMemory, type World } from './memory.ts'

/** As they are saved. */
export type Clocks = Pick<SavedMemory, 'alone' | 'drained'>

/** As they go on. */
export interface Spans {
  alone: Alone | null
  drain: Drain | null
}

/** Both now, as they went on before. `recalled` is what an earlier daemon saved, for the first time only. */
export function spansNow(
  { alone, drain }: Spans,
  recalled: Clocks | null,
  { self, view, alive }: { self: string; view: State; alive: ReadonlySet<string> },
  clock: Clock
): Spans {
  const { alone: was, drained } = recalled ?? {}
  const begun = was ? aloneStill(was, clock) : aloneFrom(clock.now)
  const known = drained ? { op: drained.op, since: sinceOf(drained, clock) } : drain
  return {
    alone: isAlone(view, alive, self) ? ((was ? null : alone) ?? begun) : null,
    drain: drainOf(view, self, known, clock.now)
  }
}

/** What of them outlives the daemon: of how long it is alone only what something here waits for. */
export function clocksOf({ alone, drain }: Spans, world: World, boot: string): Clocks {
  const { now, view, self } = world
  const refs = slotsOf(world).map(([, ref]) => ref)
  const longest = alone === null ? null : longestAlone(refs, view, self)
  return {
    ...(alone !== null &&
      longest !== null && { alone: toLasting(alone.since, aloneMs(alone, now), longest, boot) }),
    ...(drain && {
      drained: {
        op: drain.op,
        ...toLasting(drain.since, now - drain.since, drain.deadlineMs, boot)
      }
    })
  }
}
