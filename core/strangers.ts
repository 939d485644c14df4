/**
 * Links to nodes that the view does not know. The admission of such a node may be on its way here,
 * or may have come to nothing: who let it in was no member, or no admin, any more. After a grace its
 * link ends; it greets anew, and is let in, or told why not.
 */
import type { Link } from './links.ts'

/** An admission that was made arrives within, also over a slow link and amid a merge. */
const GRACE_MS = 20_000

export class Strangers {
  readonly #since = new Map<string, number>()

  /** Links that have had their time. `now` in boot ms; to be asked every second or so. */
  overdue(links: readonly Link[], known: ReadonlyMap<string, unknown>, now: number): Link[] {
    const strangers = links.filter(({ id }) => !known.has(id))
    const ids = new Set(strangers.map(({ id }) => id))
    for (const id of this.#since.keys()) if (!ids.has(id)) this.#since.delete(id)
    return strangers.filter(({ id, since: up }) => {
      const since = Math.max(this.#since.get(id) ?? now, up)
      this.#since.set(id, since)
      return now - since >= GRACE_MS
    })
  }
}
