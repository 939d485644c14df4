/** What the ops of a handler carry of what their author, this node, has seen. */
import type { Mesh } from '../../core/mesh.ts'
import { seen, type Seen } from '../../core/state/conflicts.ts'
import type { Thing } from '../../core/state/history.ts'
import type { OpId } from '../../core/state/records.ts'

/** `record`: of `mesh.state`, the one the decision was made on. */
export const seenOf = (mesh: Mesh, thing: Thing, record: { op: OpId } | undefined): Promise<Seen> =>
  mesh.oplog.look((view) => seen(view, thing, record))
