/**
 * Of the nodes that fit a replica the one that is best for it, and why: what was asked for first, then
 * spread, then room.
 */
import { placingOf } from '../../core/state/policies.ts'
import type { MicroserviceRecord } from '../../core/state/state.ts'
import type { Board, Service } from './board.ts'
import { reservedWith, type Spot } from './constraints.ts'

/** What speaks against a node, most of all first. */
export interface Candidate {
  spot: Spot
  failing: number
  /** Company it is better away from, and lacks. */
  apart: number
  lacks: number
  /** Replicas on the node and beside it, in the order that is asked for. */
  first: number
  second: number
  /** The share of the node that would be reserved. */
  reserved: number
  slots: number
}

/** What decides between two that fit, in this order, and how that is said of the better one. */
const CRITERIA: [Exclude<keyof Candidate, 'spot'>, string][] = [
  ['failing', 'has failed it less than'],
  ['apart', 'has less that it is better away from than'],
  ['lacks', 'has more that it is better beside than'],
  ['first', 'spreads it better than'],
  ['second', 'spreads it better than'],
  ['reserved', 'has less reserved than'],
  ['slots', 'has fewer replicas than']
]

export interface Choice extends Candidate {
  /** The next best; null where no other fits. */
  next: Candidate | null
}

/** For a slot that is not on the board; of equals the first by id. */
export function bestFor(board: Board, service: Service, record: MicroserviceRecord): Choice | null {
  const judge = judgeFor(board, service, record)
  let best: Candidate | null = null
  let next: Candidate | null = null
  for (const spot of board.eligible(record)) {
    if (!board.hasRoom(spot, record)) continue
    const candidate = judge(spot)
    if (best === null || isBetter(candidate, best)) {
      next = best
      best = candidate
    } else if (next === null || isBetter(candidate, next)) next = candidate
  }
  return best && { ...best, next }
}

export function judgeFor(
  board: Board,
  service: Service,
  record: MicroserviceRecord
): (spot: Spot) => Candidate {
  const { spread, near, apart } = placingOf(record.spec)
  const keyed = (names: readonly string[]): string[] =>
    names.map((n) => `${record.application}/${n}`)
  const [beside, away] = [keyed(near), keyed(apart)]
  const count = (keys: string[], { use }: Spot): number =>
    keys.length === 0 ? 0 : keys.filter((key) => use.replicas.has(key)).length
  const spreadOf = board.spreadOf(service)
  const reserved = reservedWith(record)
  return (spot) => {
    const onNode = spot.use.replicas.get(service.key) ?? 0
    const alike = spreadOf(spot)
    return {
      spot,
      failing: board.isFailing(spot.node.id, record) ? 1 : 0,
      apart: count(away, spot),
      lacks: beside.length - count(beside, spot),
      // Asked for, a label goes first; else nodes do, and zones decide among them.
      first: spread === null ? onNode : alike,
      second: spread === null ? alike : onNode,
      reserved: reserved(spot),
      slots: spot.use.slots
    }
  }
}

export const isBetter = (a: Candidate, b: Candidate): boolean =>
  (a.failing - b.failing ||
    a.apart - b.apart ||
    a.lacks - b.lacks ||
    a.first - b.first ||
    a.second - b.second ||
    a.reserved - b.reserved ||
    a.slots - b.slots) < 0

/** `has less reserved than b`; null where nothing but an id is for the better one. */
export function advantage(better: Candidate, other: Candidate): string | null {
  const why = CRITERIA.find(([key]) => better[key] !== other[key])?.[1]
  return why === undefined ? null : `${why} ${other.spot.node.displayName}`
}

/** Why a slot gets the place that is best for it. */
export function whyThere({ next, ...best }: Choice): string {
  const { displayName } = best.spot.node
  if (next === null) return `only ${displayName} fits`
  const more = advantage(best, next)
  return `${displayName} fits${more === null ? '' : `, and ${more}`}`
}
