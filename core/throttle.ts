import { bootNow } from './clock.ts'

export interface Timers {
  now(): number
  setTimeout(fn: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

const real: Timers = {
  now: bootNow,
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout)
}

export interface Throttled {
  (): void
  /** What is due is left undone. */
  end(): void
}

/** Does it at once, and then at most once in `ms`: what was asked for meanwhile is done at the end. */
export function throttle(act: () => void, ms: number, timers = real): Throttled {
  let last = -Infinity
  const note = (): void => {
    last = timers.now()
    act()
  }
  return gather(note, () => last + ms - timers.now(), timers)
}

/** Does it `ms` after it was asked for, once for all who asked until then. */
export const delayed = (act: () => void, ms: number, timers = real): Throttled =>
  gather(act, () => ms, timers)

/** Once for all who ask until it is done. */
function gather(act: () => void, waitMs: () => number, timers: Timers): Throttled {
  let timer: unknown = null
  const run = (): void => {
    timer = null
    act()
  }
  const ask = (): void => {
    if (timer !== null) return
    const wait = waitMs()
    if (wait <= 0) run()
    else timer = timers.setTimeout(run, wait)
  }
  return Object.assign(ask, {
    end() {
      if (timer !== null) timers.clearTimeout(timer)
      timer = null
    }
  })
}
