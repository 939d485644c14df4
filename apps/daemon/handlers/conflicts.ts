/** Concurrent edits: the list, and the word that ends one. */
import { contentHash } from '../../../core/crypto.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { conflictsOf, type Conflict } from '../../../core/state/conflicts.ts'
import { putBack } from '../../../core/state/put-back.ts'
import type { State } from '../../../core/state/state.ts'
import type {
  ConflictJson,
  ConflictsJson,
  KeepRequest,
  KeepResult,
  OverspentJson
} from '../../api.ts'
import { contrast } from '../changes.ts'
import type { Daemon } from '../daemon.ts'
import { inviteId } from './invites.ts'
import type { Route } from '../socket.ts'
import { mustBeAdmin, mustOperate, nodeName, offlineNodes } from '../world.ts'

const SHORTEST_ID = 6

export const conflicts = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/conflicts',
    async handle(): Promise<ConflictsJson> {
      const { mesh } = daemon.member()
      const found = await mesh.oplog.look(conflictsOf)
      return {
        conflicts: found.conflicts.map((conflict) => toJson(conflict, mesh.state)),
        overspent: overspent(mesh.state),
        dropped: found.dropped
      }
    }
  },
  {
    method: 'POST',
    path: '/conflicts/:conflict/keep',
    async handle(request): Promise<KeepResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const { which } = await request.json<KeepRequest>()
      if (which !== 'lost' && which !== 'standing') {
        throw new BrumeError('BAD_REQUEST', '`which` is neither "lost" nor "standing"')
      }
      const asked = request.params['conflict'] ?? ''
      const invite = overspent(mesh.state).find(({ id }) => isNamed(id, asked))
      if (invite !== undefined) throw nothingToKeep(invite)
      const { conflict, ops } = await mesh.oplog.look(async (view) => {
        const conflict = find((await conflictsOf(view)).conflicts, asked)
        const side = which === 'lost' ? 'rival' : 'standing'
        return { conflict, ops: await putBack(view, conflict, side, Date.now()) }
      })
      const json = toJson(conflict, mesh.state)
      if (typeof ops === 'string') throw impossible(json, which, ops)
      if (ops.some((op) => op.type === 'node.set' && op.role !== undefined)) mustBeAdmin(mesh)
      await mesh.append(ops)
      const { noun, name } = json
      return { noun, name, kept: json[which], offline: offlineNodes(mesh) }
    }
  }
]

/** As many as are listed. */
export async function conflictCount({ oplog, state }: Mesh): Promise<number> {
  const { conflicts } = await oplog.look(conflictsOf)
  return conflicts.length + overspent(state).length
}

function find(conflicts: Conflict[], asked: string): Conflict {
  const found = conflicts.filter(({ id }) => isNamed(id, asked))
  const [first, second] = found
  if (first !== undefined && second === undefined) return first
  throw new BrumeError(
    'UNKNOWN_CONFLICT',
    second === undefined
      ? `there is no conflict "${asked}": it may have been decided, or be another one since a side went on`
      : `more than one conflict has an id that begins ${asked}`,
    { next: 'brume conflicts' }
  )
}

const isNamed = (id: string, asked: string): boolean =>
  asked.length >= SHORTEST_ID && id.startsWith(asked)

/** Not those an admin revoked: somebody has looked at them. */
function overspent({ invites, nodes }: State): OverspentJson[] {
  return [...invites.values()]
    .filter(({ revoked }) => !revoked)
    .map(({ publicKey, uses, used }) => ({
      id: contentHash(['invite', publicKey]),
      invite: inviteId({ publicKey }),
      uses,
      nodes: used.flatMap((id) => {
        const node = nodes.get(id)
        if (node === undefined || node.state === 'removed') return []
        return [{ name: node.displayName, state: node.state }]
      })
    }))
    .filter(({ uses, nodes }) => nodes.length > uses)
}

function nothingToKeep({ invite, uses, nodes }: OverspentJson): BrumeError {
  const names = nodes.map(({ name }) => name).join(', ')
  return new BrumeError(
    'CANNOT_KEEP',
    `invite ${invite} let ${names} in, ${nodes.length} instead of ${uses}: all of them stay, there is nothing to choose between`,
    {
      next: `brume node rm NODE takes one out again; brume invite rm ${invite} says that all of them are fine`
    }
  )
}

function toJson({ id, noun, name, standing, rival }: Conflict, state: State): ConflictJson {
  const [standingHas, rivalHas] = contrast(standing, rival)
  const side = (of: Conflict['rival'], has: string): ConflictJson['lost'] => ({
    op: of.op,
    by: nodeName(state, of.by),
    at: new Date(of.at).toISOString(),
    removed: of.value === null,
    has
  })
  return {
    id,
    noun,
    name: noun === 'node' ? nodeName(state, nodeOf(name)) : name,
    standing: side(standing, standingHas),
    lost: side(rival, rivalHas)
  }
}

const nodeOf = (thing: string): string => thing.slice(0, thing.indexOf('/'))

function impossible(
  { noun, name, ...sides }: ConflictJson,
  which: KeepRequest['which'],
  why: 'value-lost' | 'unknown-noun'
): BrumeError {
  if (why === 'unknown-noun') {
    return new BrumeError('CANNOT_KEEP', `this version cannot put back a ${noun}`, {
      next: 'set it anew, which ends the conflict too'
    })
  }
  return new BrumeError(
    'CANNOT_KEEP',
    `the edit of ${name} by ${sides[which].by} was too large to be kept`,
    { next: `deploy it again from its file; ${sides[which].by} has it` }
  )
}
