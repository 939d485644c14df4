/**
 * The State of a view that grows, is cut back and grows otherwise, read in the time of what changed
 * and not of all there is.
 *
 * Of the last states it keeps what leads back to the one before. A state is still the beginning of
 * the view if the view's first blocks have the hash they had: then only what came after is read,
 * wherever those blocks came from (an append, a merge, another core of the same content).
 */
import type Hyperbee from 'hyperbee'
import type { BeeCache } from 'hyperbee'
import Hypercore from 'hypercore'
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
/** Blocks of the tree that are kept from one read to the next: the upper ones of it come up each time. */
const MAX_BLOCKS = 512

export class ViewTracker {
  #records = new Records()
  #state = emptyState()
  /** Oldest first; the last is what `#state` shows. */
  #points: Point[] = []
  /** INVARIANT: of the view up to the last point. */
  readonly #keys = new Blocks()
  readonly #nodes = new Blocks()
  #reading: Promise<unknown> = Promise.resolve()

  /** `view` is a snapshot. Nothing has changed here where it fails. */
  read(view: View): Promise<State> {
    const reading = this.#reading.then(() => this.#read(view))
    // What was read beyond the last point may come otherwise.
    this.#reading = reading.catch(() => this.#forgetBlocks())
    return reading
  }

  async #read(view: View): Promise<State> {
    await view.ready()
    const { length } = view.core
    const last = await this.#lastIn(view)
    const point = this.#points[last]
    if (point?.length === length && last === this.#points.length - 1) return this.#state
    if (last < this.#points.length - 1) this.#forgetBlocks()
    const changes =
      point === undefined ? await whole(view) : await since(this.#cached(view), point.length)
    const hash = view.core.state.hash()

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
      if (length <= core.length && (await hashOf(core, length))?.equals(hash) === true) return i
    }
    return -1
  }

  #cached(view: View): View {
    view._keyCache = this.#keys
    view._nodeCache = this.#nodes
    return view
  }

  #forgetBlocks(): void {
    this.#keys.clear()
    this.#nodes.clear()
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
  const before = view.checkout(Math.max(1, length), { reuseSession: true })
  before._keyCache = view._keyCache
  before._nodeCache = view._nodeCache
  for await (const { left, right } of view.createDiffStream(before, range)) {
    if (left !== null) found.set(left.key, left.value)
    else if (right !== null && !found.has(right.key)) found.set(right.key, undefined)
  }
  return [...found]
}

/** Of the first `length` blocks; null where the tree over them is not here. */
async function hashOf(core: View['core'], length: number): Promise<Buffer | null> {
  if (length === core.length) return core.state.hash()
  // A store that fails does so again when the view is read.
  return Hypercore.treeHashFromStorage(core, length).catch(() => null)
}

/** What a Hyperbee keeps of blocks, by their number. */
class Blocks implements BeeCache {
  readonly #found = new Map<number, unknown>()

  get(seq: number): unknown {
    return this.#found.get(seq) ?? null
  }

  set(seq: number, value: unknown): void {
    this.#found.delete(seq)
    this.#found.set(seq, value)
    const [oldest] = this.#found.keys()
    if (this.#found.size > MAX_BLOCKS && oldest !== undefined) this.#found.delete(oldest)
  }

  /** Of a view that is cut: a snapshot is not. */
  gc(): void {}

  clear(): void {
    this.#found.clear()
  }
}
