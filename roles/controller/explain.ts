/** Why each node may run a microservice, or may not. Pure; for people who ask. */
import { disconnectOf, isStopped } from '../../core/state/policies.ts'
import { Board } from './board.ts'
import { CONSTRAINTS, refusing } from './constraints.ts'
import type { PlaceInput } from './place.ts'
import { waves } from './rollout.ts'

export interface NodeVerdict {
  /** Node id. */
  node: string
  /** How many replicas of it are placed there. */
  replicas: number
  /** What refuses one more, in words that follow the node's name; null: nothing does. */
  refusal: string | null
}

/** Of every member, by id; null where there is no such microservice. */
export function verdicts(input: PlaceInput, key: string): NodeVerdict[] | null {
  const board = new Board({ ...input, waves: waves(input) })
  const service = board.services.find((one) => one.key === key)
  if (service === undefined) return null
  const { record } = service
  return board.spots
    .filter(({ node }) => node.state === 'member')
    .map((spot) => ({
      node: spot.node.id,
      replicas: board.replicasOn(spot.node.id, service),
      refusal: refusing(CONSTRAINTS, spot, record)?.refusal(spot, record).one ?? null
    }))
}

/**
 * How many nodes could run it, where a split into halves would leave each side enough of them to replace
 * what the other has, so that both run it until they meet; else null.
 */
export function halves(input: PlaceInput, key: string): number | null {
  const board = new Board({ ...input, waves: new Map() })
  const record = board.services.find((one) => one.key === key)?.record
  if (record === undefined || isStopped(record.spec)) return null
  const { replicas, node } = record.spec
  const isReplaced = node === null && replicas !== 'all' && replicas > 0
  if (!isReplaced || disconnectOf(record.spec).replace !== 'auto') return null
  const count = board.couldRun(record).length
  return count > 0 && count % 2 === 0 ? count : null
}
