/**
 * What this node remembers to judge who is alive: when it last heard and saw each node, which words
 * wait for an answer, and since when it listens. The rules themselves are in `presence.ts`.
 */
import type { LinksBody } from './gossip-records.ts'
import {
  aliveNodes,
  answersOf,
  disputed,
  lastHeard,
  silentMs,
  type HeardLinks
} from './presence.ts'

export interface ObserverComponents {
  self: string
  /** Links of mine, with the boot ms of the last frame on each. */
  links: () => Iterable<{ id: string; heardAt: number }>
  /** Newest `links` records. */
  records: () => ReadonlyMap<string, HeardLinks>
  refreshMs: number
  now: () => number
}

/** After a start or a gap: nobody is judged before. */
export const LISTEN_MS = 2_000
/** Looked at so much later than each second: this node stood still, nobody else was silent. */
const GAP_MS = 3_000
/** A word of a peer that does not list me is answered once it is no matter of a moment. */
const PATIENCE_MS = 1_500
const MAX_REMEMBERED = 10_000
/** Told of for so many refreshes, the newest so many of them. */
const TOLD_REFRESHES = 2
const MAX_TOLD = 16

export class Observer {
  readonly #components: ObserverComponents
  /** Boot ms of the last frame of links that ended. */
  readonly #lastFrame = new Map<string, number>()
  readonly #lastAlive = new Map<string, number>()
  /** Peers of mine that are not alive since boot ms `at`, and how long they had been silent then. */
  readonly #lost = new Map<string, { silentMs: number; at: number }>()
  readonly #disputedSince = new Map<string, number>()
  readonly #unlistedSince = new Map<string, number>()
  /** Whom it saw before a gap. */
  #before: ReadonlySet<string> = new Set()
  #alive: ReadonlySet<string> = new Set()
  #listeningSince: number
  #lookedAt: number

  constructor(components: ObserverComponents) {
    this.#components = components
    this.#listeningSince = this.#lookedAt = components.now()
  }

  /** The node itself stood still, or was asleep: it listens before it judges anybody. */
  onGap(): void {
    this.#listeningSince = this.#components.now()
    this.#before = new Set([...this.#before, ...this.#alive])
  }

  /** Boot ms of the last frame of links that ended. */
  get lastFrames(): ReadonlyMap<string, number> {
    return this.#lastFrame
  }

  onLinkEnded(id: string, heardAt: number): void {
    remember(this.#lastFrame, id, heardAt)
  }

  /** Looks again; to be called each second and whenever links changed. True if who is alive did. */
  look(): boolean {
    const view = this.#view()
    this.#noticeGap(view.now)
    this.#lookedAt = view.now
    keep(this.#disputedSince, disputed(view), view.now)
    const alive = this.alive()
    for (const id of alive) remember(this.#lastAlive, id, view.now)
    const before = this.#alive
    this.#alive = alive
    this.#noteLost(before, view.now)
    return alive.size !== before.size || [...alive].some((id) => !before.has(id))
  }

  /** Nodes that can be reached over links both ends list, this one included. */
  alive(): Set<string> {
    const view = this.#view()
    this.#noticeGap(view.now)
    const myPeers = new Set([...this.#components.links()].map(({ id }) => id))
    const alive = aliveNodes({ ...view, myPeers, disputedSince: this.#disputedSince })
    if (view.now - this.#listeningSince < LISTEN_MS) for (const id of this.#before) alive.add(id)
    else if (this.#before.size > 0) this.#before = new Set()
    return alive
  }

  /** ms of silence of each of `nodes` that is not alive. */
  silent(nodes: Iterable<string>, alive: ReadonlySet<string>): Map<string, number> {
    const since = this.#listeningSince
    return silentMs({ ...this.#heardView(), nodes, alive, lastAlive: this.#lastAlive, since })
  }

  /** Age of each node's last sign of life, in ms; nodes not heard in this run are absent. */
  lastHeardMs(): Map<string, number> {
    const view = this.#heardView()
    const heard = lastHeard(view)
    const ages = new Map<string, number>()
    for (const [id, seen] of this.#lastAlive) {
      const at = this.#alive.has(id)
        ? (heard.get(id) ?? seen)
        : Math.min(heard.get(id) ?? seen, seen)
      if (id !== this.#components.self) ages.set(id, Math.max(0, Math.round(view.now - at)))
    }
    return ages
  }

  /**
   * Peers I lost, with how long each had been silent: not those whose link to me alone ended, which
   * is no sign of anything.
   */
  ended(): LinksBody['ended'] {
    const since = this.#components.now() - TOLD_REFRESHES * this.#components.refreshMs
    const young = [...this.#lost].filter(([, { at }]) => at >= since)
    return young.slice(-MAX_TOLD).map(([peer, { silentMs }]) => ({ peer, silentMs }))
  }

  /** Peers that have not listed me for longer than news take. */
  answers(): LinksBody['answers'] {
    const view = this.#view()
    const myPeers = [...this.#components.links()].map(({ id }) => id)
    const all = answersOf({ ...view, myPeers })
    keep(this.#unlistedSince, new Set(all.map(({ peer }) => peer)), view.now)
    const isOld = (peer: string): boolean =>
      view.now - (this.#unlistedSince.get(peer) ?? view.now) >= PATIENCE_MS
    return all.filter(({ peer }) => isOld(peer))
  }

  #noteLost(before: ReadonlySet<string>, now: number): void {
    for (const id of this.#lost.keys()) if (this.#alive.has(id)) this.#lost.delete(id)
    for (const id of before) {
      const heardAt = this.#lastFrame.get(id)
      if (this.#alive.has(id) || heardAt === undefined) continue
      remember(this.#lost, id, { silentMs: Math.round(now - heardAt), at: now })
    }
  }

  /** Timers run before what came in meanwhile is read: whoever asks first finds the gap. */
  #noticeGap(now: number): void {
    if (now - this.#lookedAt <= GAP_MS) return
    this.#lookedAt = now
    this.onGap()
  }

  #view(): Parameters<typeof disputed>[0] {
    const { self, records, refreshMs, now } = this.#components
    return { self, links: records(), refreshMs, now: now() }
  }

  #heardView(): Parameters<typeof lastHeard>[0] {
    const lastFrame = new Map(this.#lastFrame)
    for (const { id, heardAt } of this.#components.links()) lastFrame.set(id, heardAt)
    return { ...this.#view(), lastFrame, disputedSince: this.#disputedSince }
  }
}

/** Since when each has been in `found` without a break. */
function keep(since: Map<string, number>, found: ReadonlySet<string>, now: number): void {
  for (const id of since.keys()) if (!found.has(id)) since.delete(id)
  for (const id of found) if (!since.has(id)) since.set(id, now)
}

function remember<T>(map: Map<string, T>, id: string, value: T): void {
  map.delete(id)
  map.set(id, value)
  const oldest = map.keys().next().value
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest)
}
