/** What the ops of a handler carry of what their author, this node, has seen. */
import type { Mesh } from '../../core/mesh.ts'
import { seen, type Seen } from '../../core/state/conflicts.ts'
import type { Thing } from '../../core/state/history.ts'
import { seenOfNode, type NodeSet } from '../../core/state/nodes.ts'
import type { OpId } from '../../core/state/records.ts'
import type { NodeField, NodeRecord } from '../../core/state/state.ts'

/** `record`: of `mesh.state`, the one the decision was made on. */
export const seenOf = (mesh: Mesh, thing: Thing, record: { op: OpId } | undefined): Promise<Seen> =>
  mesh.oplog.look((view) => seen(view, thing, record))

/** An op that sets fields of a node, over what this node has seen of each. */
export async function nodeSet(
  mesh: Mesh,
  record: NodeRecord,
  fields: Pick<NodeSet, NodeField>
): Promise<NodeSet> {
  const seen = await mesh.oplog.look((view) => seenOfNode(view, record, fields))
  return { type: 'node.set', node: record.id, ...fields, ...seen, at: Date.now() }
}
