/** What a bench makes of the times it took. */

/** ms, rounded to a tenth. */
export interface Durations {
  p50Ms: number
  p95Ms: number
  n: number
}

export function durations(samples: readonly number[]): Durations {
  return { p50Ms: percentile(samples, 50), p95Ms: percentile(samples, 95), n: samples.length }
}

/** p50 over p50, to two places. */
export const ratio = (ours: Durations, theirs: Durations): number =>
  Math.round((ours.p50Ms / theirs.p50Ms) * 100) / 100

/** Nearest rank: always a sample that was measured. */
function percentile(samples: readonly number[], p: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const value = sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)]
  if (value === undefined) throw new Error('nothing was measured')
  return Math.round(value * 10) / 10
}
