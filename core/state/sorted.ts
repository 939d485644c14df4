/** Records by key, in the order of their keys, as the view has them. */
export class Records {
  readonly #values = new Map<string, unknown>()
  readonly #keys: string[] = []

  get<T>(key: string): T | undefined {
    return this.#values.get(key) as T | undefined
  }

  /** undefined: not there. Gives what was there. */
  set(key: string, value: unknown): unknown {
    const before = this.#values.get(key)
    if (value === undefined) {
      if (this.#values.delete(key)) this.#keys.splice(firstFrom(this.#keys, key), 1)
    } else {
      if (!this.#values.has(key)) this.#keys.splice(firstFrom(this.#keys, key), 0, key)
      this.#values.set(key, value)
    }
    return before
  }

  /** Of a prefix that ends in `/`, in key order. */
  *under<T>(prefix: string): Iterable<[string, T]> {
    for (let i = firstFrom(this.#keys, prefix); i < this.#keys.length; i++) {
      const key = this.#keys[i] ?? ''
      if (!key.startsWith(prefix)) return
      yield [key, this.#values.get(key) as T]
    }
  }
}

/** Index of the first key that is not before `start`. */
function firstFrom(sorted: string[], start: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? '') < start) low = middle + 1
    else high = middle
  }
  return low
}
