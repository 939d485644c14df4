/** The mesh itself: its first op makes it, with its first node as admin. */
import b4a from 'b4a'
import { verifyAdmission, admission } from '../admission.ts'
import { writerKeyOf } from '../writer-key.ts'
import { declare } from './apply.ts'
import { keys } from './keys.ts'
import { nodeRecord } from './nodes.ts'
import { integer, literal, object, optional, type Infer } from './shape.ts'
import type { JoinKeyRecord, MeshRecord } from './state.ts'
import { toId } from '../crypto.ts'

/** The format of the view this code writes. */
export const FORMAT = 2

const init = object({
  type: literal('mesh.init'),
  defaultRole: literal('admin', 'operator', 'node', 'viewer'),
  /** Of the first node, signed with the join key it brings. */
  admission,
  /** Of the view from its start; 1 where it is missing. */
  format: optional(integer(1, 1_000_000)),
  at: integer(0, Number.MAX_SAFE_INTEGER)
})
export type MeshInit = Infer<typeof init>

export const meshOps = {
  'mesh.init': declare<MeshInit>({
    shape: init,
    async apply(op, context) {
      if (!b4a.equals(context.writer, context.meshKey))
        return 'only the first writer makes the mesh'
      if ((await context.view.get(keys.mesh)) !== null) return 'the mesh is made already'
      const { node, joinPublicKey, mesh } = op.admission
      const nodeKey = verifyAdmission(op.admission)
      if (nodeKey === null) return 'its signatures do not verify'
      if (!b4a.equals(writerKeyOf(nodeKey), context.writer)) return 'its node is not its writer'
      if (mesh !== toId(context.meshKey)) return 'it names another mesh'
      const record: MeshRecord = {
        id: mesh,
        defaultRole: op.defaultRole,
        joinPublicKey,
        keyEpoch: 0,
        locked: false
      }
      const first: JoinKeyRecord = { publicKey: joinPublicKey, epoch: 0, proof: null }
      await context.view.put(keys.format, op.format ?? 1)
      await context.view.put(keys.mesh, record)
      await context.view.put(keys.joinKey(joinPublicKey), first)
      await context.view.put(keys.node(node), nodeRecord(op.admission, 'admin', 0, context.op))
      await context.view.put(keys.writer(context.writer), node)
      return null
    }
  })
}
