/** Invites: join keys with a role, labels, an end and a number of uses. Written by admins. */
import { proof } from '../proof.ts'
import { declare, isAdmin, written, type ViewBatch } from './apply.ts'
import { faultOf } from './join-keys.ts'
import { keys } from './keys.ts'
import { labelKey, nodeId } from './names.ts'
import { bool, integer, literal, map, object, text, type Infer } from './shape.ts'
import type { InviteRecord, MeshRecord } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const set = object({
  type: literal('invite.set'),
  publicKey: nodeId,
  role: literal('admin', 'operator', 'node', 'viewer'),
  controller: bool,
  labels: map(labelKey, text(256), 64),
  uses: integer(1, 10_000),
  expiresAt: integer(0, 8.64e15),
  proof,
  at
})
export type InviteSet = Infer<typeof set>

const rm = object({ type: literal('invite.rm'), publicKey: nodeId, at })
export type InviteRm = Infer<typeof rm>

/** Kept invites; beyond, the oldest that lets nobody in any more makes room. */
export const MAX_INVITES = 500

export const inviteOps = {
  'invite.set': declare<InviteSet>({
    shape: set,
    audit: ({ publicKey }) => publicKey.slice(0, 8),
    async apply(op, context) {
      if (!isAdmin(context)) return 'only an admin invites'
      const mesh = await context.view.get<MeshRecord>(keys.mesh)
      if (mesh === null) return 'there is no mesh yet'
      const { publicKey, role, controller, labels, uses, expiresAt, proof } = op
      const fault = faultOf(proof, 'invite', publicKey, mesh.id, context)
      if (fault !== null) return fault
      if ((await context.view.get(keys.invite(publicKey))) !== null) return 'it is there already'
      if ((await context.view.get(keys.joinKey(publicKey))) !== null) return 'its key is a mesh key'
      if (!(await makeRoom(context.view, op.at))) return `there are ${MAX_INVITES} open invites`
      const record: InviteRecord = {
        publicKey,
        role,
        controller,
        labels,
        uses,
        used: [],
        expiresAt,
        revoked: false,
        proof,
        ...written(context, op.at)
      }
      await context.view.put(keys.invite(publicKey), record)
      return null
    }
  }),

  'invite.rm': declare<InviteRm>({
    shape: rm,
    audit: ({ publicKey }) => publicKey.slice(0, 8),
    async apply({ publicKey }, context) {
      if (!isAdmin(context)) return 'only an admin revokes invites'
      const invite = await context.view.get<InviteRecord>(keys.invite(publicKey))
      if (invite === null) return 'there is no such invite'
      await context.view.put(keys.invite(publicKey), { ...invite, revoked: true })
      return null
    }
  })
}

/** What a removed admin invited with dies with it. */
export async function revokeInvitesOf(view: ViewBatch, node: string): Promise<void> {
  for (const { key, value } of await view.list<InviteRecord>(keys.invites)) {
    if (value.by === node && !value.revoked) await view.put(key, { ...value, revoked: true })
  }
}

async function makeRoom(view: ViewBatch, at: number): Promise<boolean> {
  const all = await view.list<InviteRecord>(keys.invites)
  if (all.length < MAX_INVITES) return true
  const closed = all
    .filter(({ value: i }) => i.revoked || i.used.length >= i.uses || i.expiresAt < at)
    .sort((a, b) => a.value.at - b.value.at || (a.key < b.key ? -1 : 1))
  const [oldest] = closed
  if (oldest === undefined) return false
  await view.del(oldest.key)
  return true
}
