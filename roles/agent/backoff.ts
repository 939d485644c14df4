import { delayMs, type BackoffPolicy } from '../../core/backoff.ts'

/** Where a row of failures stands. */
export interface Backoff {
  /** Failures in a row. */
  attempts: number
  /** Boot ms before which nothing is tried again; null: try now. */
  at: number | null
}

export const FRESH: Backoff = { attempts: 0, at: null }

export const RESTART: BackoffPolicy = { firstMs: 500, capMs: 60_000 }
/** For what comes from far away: images and files. */
export const FETCH: BackoffPolicy = { firstMs: 500, capMs: 300_000 }
export const CONNECT: BackoffPolicy = { firstMs: 500, capMs: 30_000 }

/** One failure more. `random` is in [0, 1). */
export function failedOnce(
  backoff: Backoff,
  policy: BackoffPolicy,
  now: number,
  random: number
): Backoff {
  return {
    attempts: backoff.attempts + 1,
    at: now + delayMs(backoff.attempts, policy, random)
  }
}
