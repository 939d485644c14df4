/**
 * For how long something has been so, over restarts of the daemon and of the machine. Pure; times are
 * boot ms. While the daemon is down the clock goes on, as what runs does; while the machine is off it
 * stands still: nothing runs, and no clock tells for how long. What counts then is what was saved
 * last, which is a minute old at the most.
 */
export interface Lasting {
  /** Names the boot that `since` is of. */
  boot: string
  since: number
  /** How much had gone by when it was saved. */
  forMs: number
}

export interface Clock {
  boot: string
  now: number
}

const STEP_MS = 60_000

/** Whole minutes, so that it changes once a minute, and not at all after `enoughMs`. */
export function toLasting(since: number, forMs: number, enoughMs: number, boot: string): Lasting {
  return { boot, since, forMs: forMs >= enoughMs ? enoughMs : forMs - (forMs % STEP_MS) }
}

/** Since when, in boot ms of this boot: below zero where it began in an earlier one. */
export const sinceOf = (saved: Lasting, { boot, now }: Clock): number =>
  saved.boot === boot ? Math.min(saved.since, now) : now - saved.forMs
