/** What was given to a line and not heard of yet, how fast it goes over, and in how long at best. */

/** What went over longer ago says little of what goes over now. */
const RATE_MS = 500
/** So often the best is looked for anew: the way may be another one. */
const LEAST_EVERY_MS = 10_000

export class UnderWay {
  bytes = 0
  /** Bytes a ms that were heard of late, at `#ratedAt`. */
  #rate = 0
  #ratedAt = 0
  #leastMs = Infinity
  #leastAt = 0

  /** Gives what to call once they are heard of. */
  add(bytes: number): () => void {
    this.bytes += bytes
    const began = performance.now()
    return () => {
      const now = performance.now()
      this.bytes -= bytes
      this.#rate = this.rate + bytes / RATE_MS
      this.#ratedAt = now
      if (now - began > this.#leastMs && now - this.#leastAt < LEAST_EVERY_MS) return
      this.#leastMs = now - began
      this.#leastAt = now
    }
  }

  /** Bytes a ms; of an idle line, less than it takes. */
  get rate(): number {
    return this.#rate * Math.exp((this.#ratedAt - performance.now()) / RATE_MS)
  }

  /** From giving something until it was heard of, at best of late; 0 where nothing is known. */
  get leastMs(): number {
    return this.#leastMs === Infinity ? 0 : this.#leastMs
  }
}
