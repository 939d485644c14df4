/**
 * The State of a view that grows, is cut back and grows otherwise, read in the time of what changed
 * and not of all there is.
 *
 * Of the last states it keeps what leads back to the one before. A state is still the beginning of
 * the view if the view's first blocks have the hash they had: then only what came after is read,
 * wherever those blocks came from (an append, a merge, another core of the same content).
 */
import type Hyperbee from 'hyperbee'
import { keys } from './state/keys.ts'
import { emptyState, nextState } from './state/read.ts'
import { Records } from './state/sorted.ts'
import type { State } from './state/state.ts'

type View = Hyperbee<unknown>
type Change = [key: string, value: unknown]

/** A length of the view at which it was read. */
interface Point {
  length: number
  /** Of the blocks up to there. */
  hash: Buffer
  /** What makes the records of this point those of the point before. */
  undo: Change[]
}

/** A view cut back further than this is read whole. */
const MAX_POINTS = 64
const MAX_UNDO = 20_000

export class ViewTracker {
  #records = new Records()
  #state = emptyState()
  /** Oldest first; the last is what `#state` shows. */
  #points: Point[] = []
  #reading: Promise<unknown> = Promise.resolve()

  /** `view` is a snapshot. Nothing has changed here where it fails. */
  read(view: View): Promise<State> {
    const reading = this.#reading.then(() => this.#read(view))
    this.#reading = reading.catch(() => {})
    return reading
  }

  async #read(view: View): Promise<State> {
    await view.ready()
    const { length } = view.core
    const last = await this.#lastIn(view)
    const point = this.#points[last]
    if (point?.length === length && last === this.#points.length - 1) return this.#state
    const changes = point === undefined ? await whole(view) : await since(view, point.length)
    const hash = length === 0 ? Buffer.alloc(0) : await view.core.treeHash(length)

    // From here on nothing waits.
    if (point === undefined) this.#startOver()
    const changed = new Set<string>()
    for (const { undo } of this.#points.splice(last + 1).reverse()) {
      for (const [key, value] of undo) {
        this.#records.set(key, value)
        changed.add(key)
      }
    }
    const undo: Change[] = []
    for (const [key, value] of changes) {
      undo.push([key, this.#records.set(key, value)])
      changed.add(key)
    }
    this.#points.push({ length, hash, undo: undo.reverse() })
    this.#forgetOld()
    this.#state = nextState(this.#state, this.#records, changed)
    return this.#state
  }

  /** Index of the newest point that is in this view; -1 for none. */
  async #lastIn({ core }: View): Promise<number> {
    for (let i = this.#points.length - 1; i >= 0; i--) {
      const { length, hash } = this.#points[i] as Point
      if (length === 0) return i
      if (length > core.length || !(await core.has(length - 1))) continue
      if ((await core.treeHash(length)).equals(hash)) return i
    }
    return -1
  }

  #startOver(): void {
    this.#records = new Records()
    this.#state = emptyState()
    this.#points = []
  }

  #forgetOld(): void {
    let kept = 0
    let first = this.#points.length
    while (first > 0 && this.#points.length - first < MAX_POINTS && kept <= MAX_UNDO) {
      kept += this.#points[--first]?.undo.length ?? 0
    }
    this.#points.splice(0, first)
    // Nothing leads further back than the oldest.
    const oldest = this.#points[0]
    if (oldest !== undefined) oldest.undo = []
  }
}

async function whole(view: View): Promise<Change[]> {
  const found: Change[] = []
  for await (const { key, value } of view.createReadStream({ lt: keys.onDemand })) {
    found.push([key, value])
  }
  return found
}

async function since(view: View, length: number): Promise<Change[]> {
  const found = new Map<string, unknown>()
  const range = { lt: keys.onDemand }
  for await (const { left, right } of view.createDiffStream(Math.max(1, length), range)) {
    if (left !== null) found.set(left.key, left.value)
    else if (right !== null && !found.has(right.key)) found.set(right.key, undefined)
  }
  return [...found]
}
