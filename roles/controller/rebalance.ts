/**
 * Which replicas would be better off elsewhere, by the rules a new one is placed by. Nothing does this
 * by itself: a person asks, and the moves are wishes as any other.
 */
import type { Slot } from './board.ts'
import { Board } from './board.ts'
import { Judge } from './best.ts'
import type { PlaceInput } from './place.ts'
import { waves } from './rollout.ts'

export interface Rebalanced extends Slot {
  /** Node ids. */
  from: string
  to: string
}

/** In the order of slots; a slot moves at most once, and each move makes the spread better. */
export function rebalance(input: PlaceInput): Rebalanced[] {
  const board = new Board({ ...input, waves: waves(input) })
  const moves: Rebalanced[] = []
  for (const service of board.services) {
    const { spec } = service.record
    if (spec.replicas === 'all' || spec.node !== null) continue
    for (const placed of [...service.placed.values()].sort((a, b) => a.slot - b.slot)) {
      const now = board.spot(placed.node)
      if (!now.isAlive || board.home(service, placed.slot) !== null) continue
      const record = board.aim(service, placed)
      board.take(service, placed)
      const judge = new Judge(board, service, record)
      const best = judge.best()
      const isWorth = best !== null && judge.advantage(best.spot, now) !== null
      const to = isWorth ? best.spot.node.id : placed.node
      board.put(service, { ...placed, node: to })
      if (!isWorth) continue
      const { application, microservice, slot } = placed
      moves.push({ application, microservice, slot, from: placed.node, to })
    }
  }
  return moves
}
