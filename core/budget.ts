/** So much a second, with a reserve for bursts: what a peer or an author may cost. */
export class Budget {
  readonly #perSecond: number
  readonly #burst: number
  #left: number
  #at: number

  /** `now` in boot ms, here and below. */
  constructor({ perSecond, burst }: { perSecond: number; burst: number }, now: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#left = burst
    this.#at = now
  }

  /** Takes `amount`; false, and takes nothing, where that is more than is left. */
  take(amount: number, now: number): boolean {
    const grown = this.#left + (Math.max(0, now - this.#at) / 1000) * this.#perSecond
    this.#left = Math.min(this.#burst, grown)
    this.#at = now
    if (amount > this.#left) return false
    this.#left -= amount
    return true
  }
}
