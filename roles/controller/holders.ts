/** Who has which bundle whole: nodes get from each other what they lack, so one in reach is enough. */
import { MAX_HOLDS_TOLD, type HoldsBody } from '../../core/gossip-records.ts'
import type { State } from '../../core/state/state.ts'

export interface HoldersInput {
  state: State
  alive: ReadonlySet<string>
  silentMs: ReadonlyMap<string, number>
  /** What each node says, by its id. */
  holds: ReadonlyMap<string, HoldsBody>
}

const MAX_NAMED = 3

export class Holders {
  readonly #input: HoldersInput
  readonly #inReach = new Map<string, boolean>()

  constructor(input: HoldersInput) {
    this.#input = input
  }

  /** Who tells of as many as one can tell of may have others too. */
  areInReach(digest: string): boolean {
    const known = this.#inReach.get(digest)
    if (known !== undefined) return known
    const { alive, holds } = this.#input
    let found = false
    for (const [node, body] of holds) {
      if (!alive.has(node)) continue
      found = digestsOf(body).has(digest) || body.digests.length >= MAX_HOLDS_TOLD
      if (found) break
    }
    this.#inReach.set(digest, found)
    return found
  }

  /** `n1, silent since 30 s`: members out of reach that have it; null where nobody knows of one. */
  elsewhere(digest: string): string | null {
    const { state, alive, silentMs, holds } = this.#input
    const named = [...state.nodes.values()]
      .filter(({ id, state: is }) => is === 'member' && !alive.has(id))
      .filter(({ id }) => holds.get(id)?.digests.includes(digest) === true)
      .sort((a, b) => (a.displayName < b.displayName ? -1 : 1))
      .map(({ id, displayName }) => {
        const ms = silentMs.get(id)
        return `${displayName}, silent${ms === undefined ? '' : ` since ${Math.floor(ms / 1000)} s`}`
      })
    if (named.length === 0) return null
    const more = named.length > MAX_NAMED ? [`${named.length - MAX_NAMED} more`] : []
    return [...named.slice(0, MAX_NAMED), ...more].join(', and ')
  }
}

const sets = new WeakMap<HoldsBody, ReadonlySet<string>>()

/** Of one word of a node they are gathered once. */
function digestsOf(body: HoldsBody): ReadonlySet<string> {
  const known = sets.get(body)
  if (known !== undefined) return known
  const digests = new Set(body.digests)
  sets.set(body, digests)
  return digests
}
