/**
 * A clock for machines that goes from one due timer to the next, and on only once all that waits for no
 * clock has happened: a minute of a few nodes takes a few ms.
 */
export class EventClock {
  #now = 1_000_000
  #due: { at: number; nth: number; act: () => void }[] = []
  #nth = 0

  /** Boot ms. */
  now = (): number => this.#now

  setTimeout = (act: () => void, ms: number): number => {
    const timer = { at: this.#now + Math.max(0, ms), nth: ++this.#nth, act }
    const before = this.#due.findLastIndex(({ at }) => at <= timer.at)
    this.#due.splice(before + 1, 0, timer)
    return timer.nth
  }

  clearTimeout = (nth: number): void => {
    const i = this.#due.findIndex((timer) => timer.nth === nth)
    if (i >= 0) this.#due.splice(i, 1)
  }

  /** Resolves after so many ms of it. */
  sleep = (ms: number): Promise<void> => new Promise((resolve) => this.setTimeout(resolve, ms))

  /** Lets so many ms go by, with all that happens meanwhile. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await calm()
    for (let next = this.#due[0]; next !== undefined && next.at <= end; next = this.#due[0]) {
      this.#now = next.at
      while (this.#due[0] !== undefined && this.#due[0].at <= this.#now) this.#due.shift()?.act()
      await calm()
    }
    this.#now = end
  }
}

/** Nothing here reads or writes: after a turn of the event loop no promise is left that could settle. */
const calm = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
