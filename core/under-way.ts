/** What was given to a line and not heard of yet, how fast it goes over, and in how long at best. */

/** What went over longer ago says little of what goes over now. */
const RATE_MS = 500
/** So often the best is looked for anew: the way may be another one. */
const LEAST_EVERY_MS = 10_000
/** The best shows only with so little before it. */
export const PROBE_BYTES = 16 * 1024

export class UnderWay {
  bytes = 0
  readonly #now: () => number
  /** Bytes a ms that were heard of late, at `#ratedAt`. */
  #rate = 0
  #ratedAt = 0
  #leastMs = Infinity
  #leastAt = 0

  /** `now` in ms. */
  constructor(now = (): number => performance.now()) {
    this.#now = now
  }

  /** Gives what to call once they are heard of. */
  add(bytes: number): () => void {
    const before = this.bytes
    this.bytes += bytes
    const began = this.#now()
    return () => {
      const now = this.#now()
      this.bytes -= bytes
      this.#rate = this.rate + bytes / RATE_MS
      this.#ratedAt = now
      const isBest = now - began <= this.#leastMs || (this.isStale && before < PROBE_BYTES)
      if (!isBest) return
      this.#leastMs = now - began
      this.#leastAt = now
    }
  }

  /** Bytes a ms; of an idle line, less than it takes. */
  get rate(): number {
    return this.#rate * Math.exp((this.#ratedAt - this.#now()) / RATE_MS)
  }

  /** From giving something until it was heard of, at best of late; 0 where nothing is known. */
  get leastMs(): number {
    return this.#leastMs === Infinity ? 0 : this.#leastMs
  }

  /**
   * The best is of long ago. It is seen again with less than `PROBE_BYTES` under way: who keeps a line busy
   * would take what waits on it for its length, give it more, and have more wait each time.
   */
  get isStale(): boolean {
    return this.#leastMs !== Infinity && this.#now() - this.#leastAt >= LEAST_EVERY_MS
  }
}
