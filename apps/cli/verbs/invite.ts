/** `brume invite …`: keys for one use or some, with a role and an end. */
import type { InviteJson, InviteMade, InviteRequest } from '../../api.ts'
import { collect, duration, labels, role, ROLES, usage } from '../options.ts'
import { since, table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'

interface Wish extends InviteRequest {
  qr: boolean
}

const MAX_USES = 10_000
const MAX_DAYS = 366
const DAY_MS = 86_400_000

export const inviteNew: Verb<Wish, InviteMade> = {
  describe(command) {
    command
      .option('--role <role>', `what who joins by it is: ${ROLES.join(', ')}`, 'node')
      .option('--uses <n>', 'how many nodes may join by it', '1')
      .option('--expires <duration>', 'how long it lasts: 30m, 1h, 7d', '1h')
      .option('--label <key=value>', 'label of who joins by it; may be repeated', collect)
      .option('--qr', 'show it as a QR code too')
  },

  parse(_, options) {
    const gives = role(options.role, '--role')
    const uses = /^\d{1,5}$/.test(String(options.uses)) ? Number(options.uses) : 0
    if (uses < 1 || uses > MAX_USES) {
      throw usage(`--uses: expected a number from 1 to ${MAX_USES}, got "${String(options.uses)}"`)
    }
    const expiresInMs = duration(String(options.expires), '--expires')
    if (expiresInMs > MAX_DAYS * DAY_MS) throw usage(`--expires: at most ${MAX_DAYS}d`)
    const given = labels((options.label as string[] | undefined) ?? [])
    return {
      role: gives,
      uses,
      expiresInMs,
      labels: given,
      qr: options.qr === true
    }
  },

  request: ({ qr: _, ...request }, { client }) => client.post('/invites', request),

  async print(made, { out, err, now }, { qr }) {
    if (qr) {
      const { renderUnicodeCompact } = await import('uqr')
      err.write(`${renderUnicodeCompact(made.invite)}\n`)
    }
    out.write(`${made.invite}\n`)
    const times = made.uses === 1 ? 'one node' : `${made.uses} nodes`
    const minutes = Math.ceil((Date.parse(made.expiresAt) - now()) / 60_000)
    err.write(`${made.role} for ${times}, for ${lasting(minutes)}: brume join INVITE\n`)
    err.write(`it is not shown again; to revoke it: brume invite rm ${made.id}\n`)
  }
}

export const inviteLs: Verb<null, InviteJson[]> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/invites'),

  print(all, { out, now }) {
    out.write(table(all, columns(now()), out))
  }
}

export const inviteRm: Verb<string, InviteJson> = {
  describe(command) {
    command.argument('<invite>', 'the beginning of its id (see `brume invite ls`)')
  },

  parse: ([id = '']) => id,

  request: (id, { client }) => client.delete(`/invites/${encodeURIComponent(id)}`),

  print(invite, { out }) {
    out.write(`${invite.id} is revoked\n`)
  }
}

const columns = (now: number): Column<InviteJson>[] => [
  { title: 'ID', cell: (i) => i.id },
  { title: 'STATE', cell: (i) => i.state, color: ({ state }) => (state === 'open' ? 32 : null) },
  { title: 'ROLE', cell: (i) => i.role },
  { title: 'USED', cell: (i) => `${i.used.length} of ${i.uses}` },
  { title: 'EXPIRES', cell: (i) => expiry(i, now) },
  { title: 'BY', cell: (i) => i.createdBy },
  { title: 'NODES', cell: (i) => i.used.join(','), whenAny: true },
  {
    title: 'LABELS',
    cell: (i) =>
      Object.entries(i.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    whenAny: true
  }
]

function expiry({ expiresAt }: InviteJson, now: number): string {
  const minutes = Math.ceil((Date.parse(expiresAt) - now) / 60_000)
  return minutes > 0 ? `in ${lasting(minutes)}` : `${since(expiresAt, now)} ago`
}

function lasting(minutes: number): string {
  if (minutes < 120) return minutes === 1 ? '1 minute' : `${minutes} minutes`
  return minutes < 2880 ? `${Math.round(minutes / 60)} hours` : `${Math.round(minutes / 1440)} days`
}
