/** What handlers read: the member's view and gossip, joined. */
import type { Mesh } from '../../core/mesh.ts'
import { applicationRev } from '../../core/state/applications.ts'
import { slotKey, type State } from '../../core/state/state.ts'
import { BrumeError } from '../../core/errors.ts'
import { exposedOf, statusOf } from '../../roles/node/world.ts'
import type { Member } from './daemon.ts'
import type { ReplicaWorld } from './replicas.ts'

export function replicaWorld({ mesh, node }: Pick<Member, 'mesh' | 'node'>): ReplicaWorld {
  const alive = mesh.alive()
  let waiting: ReplicaWorld['waiting'] | null = null
  return {
    state: mesh.state,
    alive,
    silentMs: mesh.silent(alive),
    status: statusOf(mesh),
    exposed: exposedOf(mesh),
    engineProblem: (node) => mesh.gossip.get(node, 'facts')?.body.engine.problem ?? null,
    /** A placement of everything, as the leader makes it: only where somebody waits. */
    get waiting() {
      return (waiting ??= new Map(node.explain().map((slot) => [slotKey(slot), slot.reason])))
    }
  }
}

/** Names of members that are not in reach now. */
export function offlineNodes(mesh: Mesh): string[] {
  const alive = mesh.alive()
  return [...mesh.state.nodes.values()]
    .filter(({ id, state }) => state === 'member' && !alive.has(id))
    .map(({ displayName }) => displayName)
}

/** @throws BrumeError FORBIDDEN where this node's role may not change what runs. */
export function mustOperate(mesh: Mesh): void {
  const role = mesh.me?.role
  if (role === 'admin' || role === 'operator') return
  throw new BrumeError(
    'FORBIDDEN',
    `this node is a ${role ?? 'stranger'}: only admins and operators change what runs`,
    { next: 'run the command on an admin node (see `brume nodes`)' }
  )
}

/** @throws BrumeError FORBIDDEN where this node's role may not change who is in the mesh. */
export function mustBeAdmin(mesh: Mesh): void {
  const role = mesh.me?.role
  if (role === 'admin') return
  throw new BrumeError(
    'FORBIDDEN',
    `this node is ${role === 'operator' ? 'an' : 'a'} ${role ?? 'stranger'}: only admins change who is in the mesh`,
    { next: 'run the command on an admin node (see `brume nodes`)' }
  )
}

/** @throws BrumeError UPGRADE_NEEDED where the mesh still uses a format that has no such thing. */
export function mustKnowFormat({ state }: Mesh, what: string): void {
  if (state.format >= 2) return
  throw new BrumeError(
    'UPGRADE_NEEDED',
    `the mesh still uses format ${state.format}, in which there is no ${what}`,
    { next: 'brume upgrade' }
  )
}

/** The name of a node as people know it; its id where the view has no such node. */
export const nodeName = (state: State, id: string): string =>
  state.nodes.get(id)?.displayName ?? id.slice(0, 8)

/** Names an application as it is now; null where there is none. */
export function revOf({ applications, microservices }: State, name: string): string | null {
  const record = applications.get(name)
  if (record === undefined) return null
  const under = [...microservices.values()].filter(({ application }) => application === name)
  return applicationRev(record, under)
}
