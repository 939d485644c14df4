/**
 * Whose turn it is where many have something to send: who has little and had nothing before goes first,
 * and those who go on and on take turns (Deficit Round Robin with a list of new ones, as in FQ-CoDel).
 */

export interface Sender {
  /** What it may send in this turn, bytes; Turns keeps it. */
  deficit: number
  /** Bytes that it could send now. */
  readonly ready: number
}

/** A turn, bytes. */
export const QUANTUM = 16 * 1024

export class Turns<S extends Sender> {
  /** Had nothing to send until now. */
  readonly #fresh = new Set<S>()
  /** Had a turn; kept for one round after they ran out, so that nobody is new again by a pause. */
  readonly #old = new Set<S>()

  /** It has something to send. */
  add(sender: S): void {
    if (this.#fresh.has(sender) || this.#old.has(sender)) return
    sender.deficit = QUANTUM
    this.#fresh.add(sender)
  }

  delete(sender: S): void {
    this.#fresh.delete(sender)
    this.#old.delete(sender)
  }

  /** Who is next; null where nobody has anything. `took` has to follow. */
  next(): S | null {
    for (;;) {
      const fresh = first(this.#fresh)
      const sender = fresh ?? first(this.#old)
      if (sender === undefined) return null
      if (sender.ready > 0) return sender
      this.delete(sender)
      if (fresh !== undefined) this.#old.add(sender)
    }
  }

  took(sender: S, bytes: number): void {
    sender.deficit -= bytes
    if (sender.deficit > 0) return
    sender.deficit = QUANTUM
    this.delete(sender)
    this.#old.add(sender)
  }
}

const first = <S>(set: Set<S>): S | undefined => set.values().next().value
