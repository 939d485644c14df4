/**
 * Nodes: the members. Admitted through any member by the mesh key or an invite; labels, names and
 * rights are operators' and admins' words. A removed node's key never returns.
 */
import { admission, verifyAdmission, type Admission } from '../admission.ts'
import { fromId } from '../crypto.ts'
import { proof } from '../proof.ts'
import { writerKeyOf } from '../writer-key.ts'
import {
  declare,
  isAdmin,
  mayOperate,
  written,
  type ApplyContext,
  type ViewBatch,
  type ViewReader
} from './apply.ts'
import { overrule, seen, seenFields, stand, withdraw, type Seen, type Value } from './conflicts.ts'
import { remember, type Edit, type Thing } from './history.ts'
import { revokeInvitesOf } from './invites.ts'
import { applyRotation, faultOf, rotation } from './join-keys.ts'
import { demote } from './indexers.ts'
import { keys } from './keys.ts'
import { labelKey, name, nodeId } from './names.ts'
import {
  bool,
  integer,
  list,
  literal,
  map,
  nullable,
  object,
  optional,
  text,
  type Infer
} from './shape.ts'
import type { InviteRecord, MeshRecord, NodeField, NodeRecord, Role } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const admit = object({ type: literal('node.admit'), admission, at })
export type NodeAdmit = Infer<typeof admit>

export const availability = object({
  mode: literal('active', 'cordoned', 'draining'),
  reason: text(200),
  deadlineMs: nullable(integer(0, 365 * 86_400_000))
})

const set = object({
  type: literal('node.set'),
  node: nodeId,
  name: optional(name),
  /** The whole set of labels; left as it is where missing. */
  labels: optional(map(labelKey, text(256), 64)),
  role: optional(literal('admin', 'operator', 'node', 'viewer')),
  controller: optional(bool),
  /** It will not come back; a node that does takes it back itself. */
  lost: optional(bool),
  /** Heeded since format 2. */
  availability: optional(availability),
  ...seenFields,
  /** Of all fields it sets together, those that are not `over`. */
  beside: optional(list(text(80), 64)),
  at
})
export type NodeSet = Infer<typeof set>

const { over } = seenFields
const approve = object({ type: literal('node.approve'), node: nodeId, over, at })
export type NodeApprove = Infer<typeof approve>

const rm = object({
  type: literal('node.rm'),
  node: nodeId,
  proof,
  /** The mesh key dies with the node; missing with `--keep-key`. */
  rotation: optional(rotation),
  over,
  at
})
export type NodeRm = Infer<typeof rm>

const leave = object({ type: literal('node.leave'), at })
export type NodeLeave = Infer<typeof leave>

export const nodeOps = {
  'node.admit': declare<NodeAdmit>({
    shape: admit,
    async apply(op, context) {
      const { view } = context
      const mesh = await view.get<MeshRecord>(keys.mesh)
      if (mesh === null) return 'there is no mesh yet'
      if (context.author === null) return 'its author is not a member'
      const paper = op.admission
      if (paper.mesh !== mesh.id) return 'it names another mesh'
      const nodeKey = verifyAdmission(paper)
      if (nodeKey === null) return 'its signatures do not verify'
      const writer = writerKeyOf(nodeKey)
      if ((await view.get(keys.writer(writer))) !== null) return null
      const grant = await grantOf(paper, mesh, view)
      if (grant === null) return 'its join key is neither the mesh key nor an invite'
      const { length: ordinal } = await view.list(keys.nodes)
      await view.put(keys.writer(writer), paper.node)
      await view.put(keys.node(paper.node), {
        ...nodeRecord(paper, grant.role, ordinal, context.op),
        controller: grant.controller,
        labels: grant.labels,
        state: grant.state
      })
      await context.addWriter(writer)
      return null
    }
  }),

  'node.set': declare<NodeSet>({
    shape: set,
    audit: ({ node }) => node,
    async apply(op, context) {
      const { author, view } = context
      const fields = fieldsOf(op).filter((f) => context.format >= 2 || f !== 'availability')
      const isBack = op.node === author?.id && isOnlyBack(op, fields)
      if (!mayOperate(context) && !isBack) return 'its author may not set nodes'
      if (op.role !== undefined && !isAdmin(context)) return 'only an admin gives roles'
      const node = await view.get<NodeRecord>(keys.node(op.node))
      if (node === null) return 'there is no such node'
      if (node.state === 'removed') return 'the node was removed'
      const next: NodeRecord = {
        ...node,
        name: op.name ?? node.name,
        displayName: op.name ?? node.name,
        labels: op.labels ?? node.labels,
        role: op.role ?? node.role,
        controller: op.controller ?? node.controller,
        lost: op.lost ?? node.lost,
        ...(context.format >= 2 && op.availability && { availability: op.availability }),
        op: context.op
      }
      if (next.role !== 'admin' && (await isLastAdmin(node, view))) {
        return 'the last admin cannot be demoted'
      }
      if (isBack) {
        await overrule(context, editOf(op, 'lost'))
        await view.put(keys.node(op.node), { ...next, edits: { ...node.edits, lost: undefined } })
        return null
      }
      const own = written(context, op.at)
      for (const field of fields) {
        await stand(context, editOf(op, field), standingOf(node, field))
      }
      const set = Object.fromEntries(fields.map((field) => [field, own]))
      await view.put(keys.node(op.node), { ...next, edits: { ...node.edits, ...set } })
      return null
    }
  }),

  'node.approve': declare<NodeApprove>({
    shape: approve,
    audit: ({ node }) => node,
    async apply(op, context) {
      if (!isAdmin(context)) return 'only an admin approves nodes'
      const node = await context.view.get<NodeRecord>(keys.node(op.node))
      if (node?.state !== 'pending') return 'no such node waits for it'
      await remember(context, membership(op, 'member'))
      await context.view.put(keys.node(op.node), { ...node, state: 'member', op: context.op })
      return null
    }
  }),

  'node.rm': declare<NodeRm>({
    shape: rm,
    audit: ({ node }) => node,
    mayBeOutside: outranks,
    async apply(op, context) {
      const { view } = context
      const author = await reinstated(op, context)
      if (author?.role !== 'admin') return 'only an admin removes nodes'
      const as = { ...context, author }
      const mesh = await view.get<MeshRecord>(keys.mesh)
      const node = await view.get<NodeRecord>(keys.node(op.node))
      if (mesh === null || node === null) return 'there is no such node'
      if (node.id === author.id) return 'a node does not remove itself, it leaves'
      if (node.state === 'removed') return null
      const fault = faultOf(op.proof, 'removal', op.node, mesh.id, as)
      if (fault !== null) return fault
      await view.put(keys.node(author.id), author)
      if (context.author?.state === 'removed') {
        await remember(as, membership({ node: author.id, over: null, at: op.at }, 'member'))
      }
      await remember(as, membership(op, 'removed'))
      await withdraw(view, nodeThings(op.node))
      await view.put(keys.node(op.node), {
        ...node,
        state: 'removed',
        removal: op.proof,
        op: context.op
      })
      await demote(writerOf(op.node), context)
      await revokeInvitesOf(view, op.node)
      return op.rotation === undefined ? null : applyRotation(op.rotation, as)
    }
  }),

  'node.leave': declare<NodeLeave>({
    shape: leave,
    audit: (_, author) => author,
    async apply(op, context) {
      const { author, view } = context
      if (author === null) return 'its author is not a member'
      const nodes = await view.list<NodeRecord>(keys.nodes)
      const others = nodes.some(({ value: n }) => n.id !== author.id && n.state === 'member')
      if (others && (await isLastAdmin(author, view))) return 'the last admin cannot leave'
      const stays = await demote(context.writer, context)
      if (others && stays !== null) return `it confirms the order: ${stays}`
      const leaving = { node: author.id, over: author.op, at: op.at }
      await remember(context, membership(leaving, 'removed'))
      await withdraw(view, nodeThings(author.id))
      await view.put(keys.node(author.id), { ...author, state: 'removed', op: context.op })
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
    admittedBy: paper.joinPublicKey,
    lost: false,
    removal: null,
    ordinal,
    edits: {},
    op
  }
}

/** What people set of a node, each by itself: edits of two fields are no conflict. */
const FIELDS: readonly NodeField[] = [
  'name',
  'labels',
  'role',
  'controller',
  'lost',
  'availability'
]

/**
 * One field of a node; its value is an object of this one field. `state` is whether it is in, of
 * which there is history but no conflict: a removal is for good, in any order.
 */
export const nodeThing = (node: string, field: NodeField | 'state'): Thing => ({
  noun: 'node',
  name: `${node}/${field}`
})

/** Begins the names of all things of a node. */
export const nodeThings = (node: string): Thing => ({ noun: 'node', name: `${node}/` })

/** What a `node.set` of these fields has to carry. */
export async function seenOfNode(
  view: ViewReader,
  { id, edits }: NodeRecord,
  fields: Partial<Record<NodeField, unknown>>
): Promise<Seen> {
  const ops: string[] = []
  for (const field of fieldsOf(fields)) {
    const { over, beside } = await seen(view, nodeThing(id, field), edits[field])
    if (over !== null) ops.push(over, ...beside)
  }
  const [over = null, ...beside] = new Set(ops)
  return { over, beside }
}

const fieldsOf = (set: Partial<Record<NodeField, unknown>>): NodeField[] =>
  FIELDS.filter((field) => set[field] !== undefined)

const editOf = (op: NodeSet, field: NodeField): Edit => ({
  ...op,
  thing: nodeThing(op.node, field),
  value: { [field]: op[field] }
})

function standingOf(node: NodeRecord, field: NodeField): Value | null {
  const edit = node.edits[field]
  return edit === undefined ? null : { ...edit, value: { [field]: node[field] } }
}

const membership = (
  { node, over, at }: Pick<NodeApprove, 'node' | 'over' | 'at'>,
  state: 'member' | 'removed'
): Edit => ({
  thing: nodeThing(node, 'state'),
  over,
  at,
  value: state === 'removed' ? null : { state }
})

/** Gives each node a name of its own: the later of two `pi` shows as `pi~2`; the removed have none. */
export function withDisplayNames(nodes: NodeRecord[]): NodeRecord[] {
  const seen = new Map<string, number>()
  return [...nodes]
    .sort((a, b) => a.ordinal - b.ordinal || (a.id < b.id ? -1 : 1))
    .map((node) => {
      if (node.state === 'removed') return { ...node, displayName: node.name }
      const nth = (seen.get(node.name) ?? 0) + 1
      seen.set(node.name, nth)
      return { ...node, displayName: nth === 1 ? node.name : `${node.name}~${nth}` }
    })
}

type Grant = Pick<NodeRecord, 'role' | 'controller' | 'labels' | 'state'>

/** What the key a newcomer came by gives it; counts the use of an invite. */
async function grantOf(
  { joinPublicKey, node }: Admission,
  mesh: MeshRecord,
  view: ViewBatch
): Promise<Grant | null> {
  const invite = await view.get<InviteRecord>(keys.invite(joinPublicKey))
  if (invite !== null) {
    const used = [...invite.used, node]
    await view.put(keys.invite(joinPublicKey), { ...invite, used })
    const { role, controller, labels } = invite
    // Two sides of a split may both have spent the last use: both nodes stay. More is no accident.
    const fits = !invite.revoked && used.length <= 2 * invite.uses
    return { role, controller, labels, state: fits ? 'member' : 'pending' }
  }
  if ((await view.get(keys.joinKey(joinPublicKey))) === null) return null
  const isCurrent = joinPublicKey === mesh.joinPublicKey && !mesh.locked
  const state = isCurrent ? 'member' : 'pending'
  return { role: mesh.defaultRole, controller: true, labels: {}, state }
}

/** A node that was given up may say itself that it is back, and nothing else. */
const isOnlyBack = ({ lost }: NodeSet, fields: NodeField[]): boolean =>
  lost === false && fields.length === 1

/** Of two admins who removed each other the older record stays, whoever comes first in the order. */
function outranks(op: NodeRm, author: NodeRecord, target: NodeRecord | null): boolean {
  return (
    author.state === 'removed' &&
    author.role === 'admin' &&
    author.removal?.by === op.node &&
    target !== null &&
    author.ordinal < target.ordinal
  )
}

async function reinstated(
  op: NodeRm,
  { author, view }: Pick<ApplyContext, 'author' | 'view'>
): Promise<NodeRecord | null> {
  if (author === null) return null
  const target = await view.get<NodeRecord>(keys.node(op.node))
  return outranks(op, author, target) ? { ...author, state: 'member', removal: null } : author
}

const writerOf = (node: string): Buffer => writerKeyOf(fromId(node) ?? Buffer.alloc(32))

async function isLastAdmin(node: NodeRecord, view: ViewBatch): Promise<boolean> {
  if (node.role !== 'admin' || node.state !== 'member') return false
  const nodes = await view.list<NodeRecord>(keys.nodes)
  return !nodes.some(
    ({ value }) => value.id !== node.id && value.role === 'admin' && value.state === 'member'
  )
}
