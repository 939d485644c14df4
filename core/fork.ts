/**
 * Which order of ops a node stands on. There is one until the nodes that confirm it are lost for
 * good and an admin forks it (`recover`); then there may be several, on the two sides of a split
 * even at once. All nodes end on the one that is ahead: the rule below knows no clock, no order of
 * arrival and no rights, so every node that hears of the same forks chooses the same one.
 */
import type { OrderBody } from './gossip-records.ts'
import type { NodeRecord } from './state/state.ts'

export interface Fork {
  /** One higher than that of the order it was made from; 0 before any. */
  epoch: number
  /** Members that were in reach where it was made: of two of one epoch the larger side is ahead. */
  reached: number
  /** z-base-32 key of the system core that it began with; empty before any. */
  id: string
}

export const NO_FORK: Fork = { epoch: 0, reached: 0, id: '' }

export const isAhead = (a: Fork, b: Fork): boolean =>
  a.epoch !== b.epoch
    ? a.epoch > b.epoch
    : a.reached !== b.reached
      ? a.reached > b.reached
      : a.id > b.id

/**
 * The order to go over to; null to stay. Only an admin's word moves anybody, and it is enough: a
 * fork is its to make.
 */
export function whomToFollow(
  mine: Fork,
  said: ReadonlyMap<string, OrderBody>,
  nodes: ReadonlyMap<string, NodeRecord>
): OrderBody | null {
  let best: OrderBody | null = null
  for (const [id, order] of said) {
    const node = nodes.get(id)
    if (node?.state !== 'member' || node.role !== 'admin') continue
    if (!isAhead(order.fork, mine)) continue
    if (best === null || isBetter(order, best)) best = order
  }
  return best
}

/** Of those that stand on one fork the one that has confirmed most; then any, but the same for all. */
function isBetter(a: OrderBody, b: OrderBody): boolean {
  if (a.fork.id !== b.fork.id) return isAhead(a.fork, b.fork)
  return a.length !== b.length ? a.length > b.length : a.system > b.system
}
