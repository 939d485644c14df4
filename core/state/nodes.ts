/** Nodes: the members. Admitted through any member; labels and rights are operators' words. */
import { admission, verifyAdmission, type Admission } from '../admission.ts'
import { writerKeyOf } from '../writer-key.ts'
import { declare, isAdmin, mayOperate } from './apply.ts'
import { keys } from './keys.ts'
import { labelKey, nodeId } from './names.ts'
import {
  bool,
  integer,
  literal,
  map,
  nullable,
  object,
  optional,
  text,
  type Infer
} from './shape.ts'
import type { MeshRecord, NodeRecord, Role } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const admit = object({ type: literal('node.admit'), admission, at })
export type NodeAdmit = Infer<typeof admit>

const set = object({
  type: literal('node.set'),
  node: nodeId,
  /** The whole set of labels; left as it is where missing. */
  labels: optional(map(labelKey, text(256), 64)),
  role: optional(literal('admin', 'operator', 'node', 'viewer')),
  controller: optional(bool),
  /** The op whose value the author saw. */
  over: nullable(text(80)),
  at
})
export type NodeSet = Infer<typeof set>

export const nodeOps = {
  'node.admit': declare<NodeAdmit>({
    shape: admit,
    async apply(op, context) {
      const mesh = await context.view.get<MeshRecord>(keys.mesh)
      if (mesh === null) return 'there is no mesh yet'
      if (context.author?.state !== 'member') return 'its author is not a member'
      const paper = op.admission
      if (paper.mesh !== mesh.id) return 'it names another mesh'
      if (paper.joinPublicKey !== mesh.joinPublicKey) return 'its join key is not the mesh key'
      if (paper.epoch !== mesh.keyEpoch) return 'its mesh key is of another epoch'
      const nodeKey = verifyAdmission(paper)
      if (nodeKey === null) return 'its signatures do not verify'
      const writer = writerKeyOf(nodeKey)
      if ((await context.view.get(keys.writer(writer))) !== null) return null
      const { length } = await context.view.list(keys.nodes)
      await context.view.put(keys.writer(writer), paper.node)
      await context.view.put(
        keys.node(paper.node),
        nodeRecord(paper, mesh.defaultRole, length, context.op)
      )
      await context.addWriter(writer)
      return null
    }
  }),

  'node.set': declare<NodeSet>({
    shape: set,
    async apply(op, context) {
      if (!mayOperate(context)) return 'its author may not set nodes'
      if (op.role !== undefined && !isAdmin(context)) return 'only an admin gives roles'
      const node = await context.view.get<NodeRecord>(keys.node(op.node))
      if (node === null) return 'there is no such node'
      const next: NodeRecord = {
        ...node,
        labels: op.labels ?? node.labels,
        role: op.role ?? node.role,
        controller: op.controller ?? node.controller,
        op: context.op
      }
      if (
        node.role === 'admin' &&
        next.role !== 'admin' &&
        (await isLastAdmin(node, context.view))
      ) {
        return 'the last admin cannot be demoted'
      }
      await context.view.put(keys.node(op.node), next)
      return null
    }
  })
}

/** A new member: by the mesh key it may lead, and its role is the mesh's default. */
export function nodeRecord(paper: Admission, role: Role, ordinal: number, op: string): NodeRecord {
  return {
    id: paper.node,
    name: paper.name,
    displayName: paper.name,
    role,
    controller: true,
    labels: {},
    state: 'member',
    ordinal,
    op
  }
}

/** Gives each node a name of its own: the later of two `pi` shows as `pi~2`. */
export function withDisplayNames(nodes: NodeRecord[]): NodeRecord[] {
  const seen = new Map<string, number>()
  return [...nodes]
    .sort((a, b) => a.ordinal - b.ordinal || (a.id < b.id ? -1 : 1))
    .map((node) => {
      const nth = (seen.get(node.name) ?? 0) + 1
      seen.set(node.name, nth)
      return { ...node, displayName: nth === 1 ? node.name : `${node.name}~${nth}` }
    })
}

async function isLastAdmin(
  node: NodeRecord,
  view: { list<T>(prefix: string): Promise<{ value: T }[]> }
): Promise<boolean> {
  const nodes = await view.list<NodeRecord>(keys.nodes)
  return !nodes.some(
    ({ value }) => value.id !== node.id && value.role === 'admin' && value.state === 'member'
  )
}
