/**
 * Nodes: the members. Admitted through any member by the mesh key or an invite; labels, names and
 * rights are operators' and admins' words. A removed node's key never returns.
 */
import { admission, verifyAdmission, type Admission } from '../admission.ts'
import { fromId } from '../crypto.ts'
import { proof } from '../proof.ts'
import { writerKeyOf } from '../writer-key.ts'
import { declare, isAdmin, mayOperate, type ApplyContext, type ViewBatch } from './apply.ts'
import { revokeInvitesOf } from './invites.ts'
import { applyRotation, faultOf, rotation } from './join-keys.ts'
import { demote } from './indexers.ts'
import { keys } from './keys.ts'
import { labelKey, name, nodeId } from './names.ts'
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
import type { InviteRecord, MeshRecord, NodeRecord, Role } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const admit = object({ type: literal('node.admit'), admission, at })
export type NodeAdmit = Infer<typeof admit>

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
  /** The op whose value the author saw. */
  over: nullable(text(80)),
  at
})
export type NodeSet = Infer<typeof set>

const approve = object({ type: literal('node.approve'), node: nodeId, at })
export type NodeApprove = Infer<typeof approve>

const rm = object({
  type: literal('node.rm'),
  node: nodeId,
  proof,
  /** The mesh key dies with the node; missing with `--keep-key`. */
  rotation: optional(rotation),
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
      const isBack = op.node === context.author?.id && isOnlyBack(op)
      if (!mayOperate(context) && !isBack) return 'its author may not set nodes'
      if (op.role !== undefined && !isAdmin(context)) return 'only an admin gives roles'
      const node = await context.view.get<NodeRecord>(keys.node(op.node))
      if (node === null) return 'there is no such node'
      const next: NodeRecord = {
        ...node,
        name: op.name ?? node.name,
        displayName: op.name ?? node.name,
        labels: op.labels ?? node.labels,
        role: op.role ?? node.role,
        controller: op.controller ?? node.controller,
        lost: op.lost ?? node.lost,
        op: context.op
      }
      if (next.role !== 'admin' && (await isLastAdmin(node, context.view))) {
        return 'the last admin cannot be demoted'
      }
      await context.view.put(keys.node(op.node), next)
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
    async apply(_, context) {
      const { author, view } = context
      if (author === null) return 'its author is not a member'
      const nodes = await view.list<NodeRecord>(keys.nodes)
      const others = nodes.some(({ value: n }) => n.id !== author.id && n.state === 'member')
      if (others && (await isLastAdmin(author, view))) return 'the last admin cannot leave'
      const stays = await demote(context.writer, context)
      if (others && stays !== null) return `it confirms the order: ${stays}`
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
    op
  }
}

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
const isOnlyBack = ({ name, labels, role, controller, lost }: NodeSet): boolean =>
  lost === false && [name, labels, role, controller].every((field) => field === undefined)

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
