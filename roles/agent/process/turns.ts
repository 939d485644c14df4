/** Acts on one thing run one after another, those on different things side by side. */
export class Turns {
  /** The last act on each thing. */
  readonly #last = new Map<string, Promise<unknown>>()

  async take<T>(key: string, act: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const turn = (async () => {
      // Its failure is told to whoever asked for it.
      await before?.catch(() => undefined)
      return act()
    })()
    this.#last.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.#last.get(key) === turn) this.#last.delete(key)
    }
  }

  /** Resolves once those under way are over, however they end. */
  async over(): Promise<void> {
    await Promise.allSettled(this.#last.values())
  }
}
