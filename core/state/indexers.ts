/**
 * Indexers: the few members whose agreement confirms the order of ops. Changed one at a time by
 * whoever leads, under a stored claim, or by an admin. Which there are is Autobase's own record
 * (`State.indexers`): a second one in the view could differ from it after a fork.
 */
import { writerKeyOf } from '../writer-key.ts'
import { fromId } from '../crypto.ts'
import { declare, isAdmin, mayControl, type ApplyContext, type Verdict } from './apply.ts'
import { keys } from './keys.ts'
import { hasClaimed } from './lease.ts'
import { nodeId } from './names.ts'
import { bool, integer, literal, nullable, object, type Infer } from './shape.ts'
import type { NodeRecord } from './state.ts'

/** More would only make confirming slower. */
export const MAX_INDEXERS = 7

const set = object({
  type: literal('indexer.set'),
  node: nodeId,
  indexer: bool,
  /** Of the leader that wrote it; null for an admin's own word. */
  term: nullable(integer(1, Number.MAX_SAFE_INTEGER)),
  at: integer(0, Number.MAX_SAFE_INTEGER)
})
export type IndexerSet = Infer<typeof set>

export const indexerOps = {
  'indexer.set': declare<IndexerSet>({
    shape: set,
    async apply(op, context) {
      const refusal = await mayChange(op, context)
      if (refusal !== null) return refusal
      const node = await context.view.get<NodeRecord>(keys.node(op.node))
      const nodeKey = fromId(op.node)
      if (node === null || nodeKey === null) return 'there is no such node'
      return op.indexer ? promote(node, nodeKey, context) : demote(writerKeyOf(nodeKey), context)
    }
  })
}

async function promote(
  node: NodeRecord,
  nodeKey: Buffer,
  { indexers }: ApplyContext
): Promise<Verdict> {
  if (node.state !== 'member') return 'it is no member'
  const writer = writerKeyOf(nodeKey).toString('hex')
  const all = [...indexers.confirming, ...indexers.coming]
  if (all.includes(writer)) return null
  if (all.length >= MAX_INDEXERS) return `there are ${all.length} already`
  await indexers.add(nodeKey)
  return null
}

/**
 * INVARIANT: one stays. Also for `node.rm` and `node.leave`: a base without an indexer closes, on
 * every node, at every start.
 */
export async function demote(writer: Buffer, { indexers }: ApplyContext): Promise<Verdict> {
  const id = writer.toString('hex')
  if (indexers.coming.includes(id)) return 'it has not begun yet'
  if (!indexers.confirming.includes(id)) return null
  if (indexers.confirming.length === 1) return 'no indexer would be left'
  await indexers.remove(writer)
  return null
}

async function mayChange(op: IndexerSet, context: ApplyContext): Promise<Verdict> {
  const { author, view } = context
  if (op.term === null) return isAdmin(context) ? null : 'only an admin does so without a lease'
  if (!mayControl(context) || author === null) return 'its author may not choose indexers'
  if (!(await hasClaimed(view, author.id, op.term))) {
    return `its author has no claim of term ${op.term}`
  }
  return null
}
