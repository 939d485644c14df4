/**
 * Of the nodes that fit a replica the one that is best for it, and why: what was asked for first, then
 * spread, then room.
 */
import { placingOf } from '../../core/state/policies.ts'
import type { MicroserviceRecord } from '../../core/state/state.ts'
import type { Board, Service } from './board.ts'
import { reservedWith, type Spot } from './constraints.ts'

interface Criterion {
  /** Between the better of two and the name of the other. */
  words: string
  /** What speaks against a node; null where that is the same for all. */
  weigh: (asker: Asker) => Weight | null
}
interface Asker {
  board: Board
  service: Service
  record: MicroserviceRecord
}
type Weight = (spot: Spot) => number

/** What decides between two that fit, most of all first. */
const CRITERIA: readonly Criterion[] = [
  {
    words: 'has failed it less than',
    weigh: ({ board, record }) =>
      board.hasFailures ? ({ node }) => (board.isFailing(node.id, record) ? 1 : 0) : null
  },
  {
    words: 'has less that it is better away from than',
    weigh: ({ record }) => companyOf(record, placingOf(record.spec).apart)
  },
  {
    words: 'has more that it is better beside than',
    weigh: ({ record }) => {
      const company = companyOf(record, placingOf(record.spec).near)
      return company && ((spot) => -company(spot))
    }
  },
  // Asked for, a label goes first; else nodes do, and zones decide among them.
  {
    words: 'spreads it better than',
    weigh: ({ board, service, record }) =>
      placingOf(record.spec).spread === null ? onNode(service) : board.spreadOf(service)
  },
  {
    words: 'spreads it better than',
    weigh: ({ board, service, record }) =>
      placingOf(record.spec).spread === null ? board.spreadOf(service) : onNode(service)
  },
  { words: 'has less reserved than', weigh: ({ record }) => reservedWith(record) },
  {
    words: 'has fewer replicas than',
    weigh: () => (spot) => spot.use.slots
  }
]

export interface Choice {
  spot: Spot
  /** `n1 fits, and has less reserved than n2`. */
  why: () => string
}

/** What of the board does not change while one slot is looked at, which is not on it. */
export class Judge {
  readonly #asker: Asker
  readonly #criteria: { words: string; weight: Weight }[]

  constructor(board: Board, service: Service, record: MicroserviceRecord) {
    this.#asker = { board, service, record }
    this.#criteria = CRITERIA.flatMap(({ words, weigh }) => {
      const weight = weigh(this.#asker)
      return weight === null ? [] : [{ words, weight }]
    })
  }

  /** Of equals the first by id. */
  best(): Choice | null {
    const { board, record } = this.#asker
    let best: Weighed | null = null
    let next: Weighed | null = null
    for (const spot of board.eligible(record)) {
      // Most fall behind the second at the first look, whether or not they have room.
      if (next !== null && !this.#isAhead(spot, next)) continue
      if (!board.hasRoom(spot, record)) continue
      const weighed = { spot, weights: this.#criteria.map(({ weight }) => weight(spot)) }
      if (best === null || this.#isAhead(spot, best)) [best, next] = [weighed, best]
      else next = weighed
    }
    if (best === null) return null
    const [spot, other] = [best.spot, next?.spot ?? null]
    return { spot, why: () => this.#whyThere(spot, other) }
  }

  /** `has less reserved than n2`; null where nothing but an id is for the first of the two. */
  advantage(spot: Spot, other: Spot): string | null {
    for (const { words, weight } of this.#criteria) {
      const more = weight(spot) - weight(other)
      if (more !== 0) return more < 0 ? `${words} ${other.node.displayName}` : null
    }
    return null
  }

  #isAhead(spot: Spot, { weights }: Weighed): boolean {
    const criteria = this.#criteria
    for (let i = 0; i < weights.length; i++) {
      const more = (criteria[i]?.weight(spot) ?? 0) - (weights[i] ?? 0)
      if (more !== 0) return more < 0
    }
    return false
  }

  #whyThere(spot: Spot, next: Spot | null): string {
    const { displayName } = spot.node
    if (next === null) return `only ${displayName} fits`
    const more = this.advantage(spot, next)
    return `${displayName} fits${more === null ? '' : `, and ${more}`}`
  }
}

interface Weighed {
  spot: Spot
  weights: readonly number[]
}

const onNode =
  ({ key }: Service): Weight =>
  ({ use }) =>
    use.replicas.get(key) ?? 0

/** How many of these microservices, of the same application, a node has. */
function companyOf({ application }: MicroserviceRecord, names: readonly string[]): Weight | null {
  if (names.length === 0) return null
  const keys = names.map((name) => `${application}/${name}`)
  return ({ use }) => keys.filter((key) => use.replicas.has(key)).length
}
