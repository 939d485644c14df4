import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { ROLES, type InviteRecord } from '../../../core/state/state.ts'
import type { InviteJson, InviteMade, InviteRequest } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import type { Route } from '../socket.ts'
import { mustBeAdmin } from '../world.ts'

export const invites = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/invites',
    async handle(): Promise<InviteJson[]> {
      const { mesh } = daemon.member()
      const all = [...mesh.state.invites.values()].sort((a, b) => a.at - b.at)
      return all.map((invite) => inviteJson(mesh, invite))
    }
  },
  {
    method: 'POST',
    path: '/invites',
    async handle(request): Promise<InviteMade> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const { role, labels, uses, expiresInMs } = await request.json<InviteRequest>()
      if (!ROLES.includes(role)) throw new BrumeError('BAD_REQUEST', `"${role}" is no role`)
      const at = Date.now()
      const expiresAt = Math.round(at + expiresInMs)
      const controller = role === 'admin' || role === 'operator'
      const { op, text } = mesh.invite({ role, controller, labels, uses, expiresAt, at })
      await mesh.append([op])
      return { ...inviteJson(mesh, find(mesh, op.publicKey)), invite: text }
    }
  },
  {
    method: 'DELETE',
    path: '/invites/:invite',
    async handle({ params }): Promise<InviteJson> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const { publicKey } = find(mesh, params['invite'] ?? '')
      await mesh.append([{ type: 'invite.rm', publicKey, at: Date.now() }])
      return inviteJson(mesh, find(mesh, publicKey))
    }
  }
]

/** By the beginning of its id. */
function find({ state }: Mesh, text: string): InviteRecord {
  const [first, second] = [...state.invites.values()].filter(
    ({ publicKey }) => text.length >= 4 && publicKey.startsWith(text)
  )
  if (first !== undefined && second === undefined) return first
  const what = first === undefined ? 'there is no invite' : 'more than one invite is'
  throw new BrumeError('UNKNOWN_INVITE', `${what} "${text}"`, { next: 'brume invite ls' })
}

/** As people are shown it. */
export const inviteId = ({ publicKey }: Pick<InviteRecord, 'publicKey'>): string =>
  publicKey.slice(0, 12)

function inviteJson({ state }: Mesh, invite: InviteRecord): InviteJson {
  const nameOf = (id: string): string => state.nodes.get(id)?.displayName ?? id.slice(0, 8)
  const { role, labels, uses, used, expiresAt, by } = invite
  return {
    id: inviteId(invite),
    role,
    labels,
    state: stateOf(invite, Date.now()),
    uses,
    used: used.map(nameOf),
    expiresAt: new Date(expiresAt).toISOString(),
    createdBy: nameOf(by)
  }
}

function stateOf(invite: InviteRecord, now: number): InviteJson['state'] {
  if (invite.revoked) return 'revoked'
  if (invite.used.length >= invite.uses) return 'used'
  return invite.expiresAt <= now ? 'expired' : 'open'
}
