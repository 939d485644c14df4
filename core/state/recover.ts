/**
 * Recover: the survivors go on without the indexers that are lost for good. The op is the record of
 * it, and the moment at which its author's own base is forked (`core/oplog.ts`); nobody else's is
 * touched by it. Others go over to the new order when an admin's gossip names it (`core/fork.ts`).
 */
import { declare, isAdmin, written } from './apply.ts'
import { keys } from './keys.ts'
import { nodeId } from './names.ts'
import { bool, integer, list, literal, object, type Infer } from './shape.ts'
import type { NodeRecord, RecoveryRecord, State } from './state.ts'

const recover = object({
  type: literal('mesh.recover'),
  epoch: integer(1, 1_000_000),
  /** Node ids of the members that were in reach of its author. */
  reached: list(nodeId, 10_000),
  /** There were not more than half of the members that are not lost. */
  minority: bool,
  at: integer(0, Number.MAX_SAFE_INTEGER)
})
export type MeshRecover = Infer<typeof recover>

export const recoverOps = {
  'mesh.recover': declare<MeshRecover>({
    shape: recover,
    async apply(op, context) {
      if (!isAdmin(context)) return 'only an admin recovers a mesh'
      const before = await context.view.list<RecoveryRecord>(keys.recoveries)
      const last = Math.max(0, ...before.map(({ value }) => value.epoch))
      if (op.epoch > last + 1) return 'its epoch is not the next one'
      const { epoch, reached, minority } = op
      const record: RecoveryRecord = { epoch, reached, minority, ...written(context, op.at) }
      await context.view.put(keys.recovery(epoch, context.op), record)
      return null
    }
  })
}

export interface Survey {
  /** Members that are not lost. */
  members: NodeRecord[]
  /** Those of them in reach, this node among them. */
  reached: NodeRecord[]
  /** More than half of them are in reach. */
  most: boolean
  /** Indexers in reach, and how many it takes to confirm. */
  confirming: number
  quorum: number
  epoch: number
}

/** What a recovery from here would go by. */
export function survey(state: State, alive: ReadonlySet<string>): Survey {
  const members = [...state.nodes.values()].filter((n) => n.state === 'member' && !n.lost)
  const reached = members.filter(({ id }) => alive.has(id))
  return {
    members,
    reached,
    most: reached.length * 2 > members.length,
    confirming: state.indexers.filter((id) => alive.has(id)).length,
    quorum: quorumOf(state.indexers.length),
    epoch: Math.max(0, ...state.recoveries.map(({ epoch }) => epoch)) + 1
  }
}

/** How many of so many indexers it takes to confirm an op. */
export const quorumOf = (indexers: number): number => Math.floor(indexers / 2) + 1
