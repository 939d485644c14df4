/** Waiting longer after each failure, up to a cap, never at the same moment as everybody else. */
export interface BackoffPolicy {
  firstMs: number
  capMs: number
}

/**
 * Between three quarters and the whole of min(cap, first × 2^attempts), in ms. `random` is in [0, 1).
 *
 * @param attempts Failures in a row before the last one.
 */
export function delayMs(attempts: number, policy: BackoffPolicy, random: number): number {
  const whole = Math.min(policy.capMs, policy.firstMs * 2 ** Math.min(attempts, 30))
  return Math.round(whole * (0.75 + 0.25 * random))
}

/** ms, up to a tenth more or less: what all do at intervals they do not do at once. */
export const jittered = (ms: number): number => ms * (0.9 + Math.random() * 0.2)
