/**
 * A node leaves its mesh: it says so, ends what it runs, and forgets. What it wrote must be with
 * another member first; a removed node has nothing to say any more.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { BrumeError } from '../../core/errors.ts'
import type { Mesh } from '../../core/mesh.ts'
import { slotKey } from '../../core/state/state.ts'
import type { LeaveRequest, LeaveResult } from '../api.ts'
import type { Member } from './daemon.ts'

const SPREAD_MS = 10_000
const LOOK_MS = 100

/** @throws BrumeError ALONE, LAST_ADMIN, NOT_SPREAD; then nothing has changed but the op, if told so. */
export async function leave(
  { mesh, node }: Pick<Member, 'mesh' | 'node'>,
  { force }: LeaveRequest,
  report: (message: string) => void
): Promise<Omit<LeaveResult, 'pid'>> {
  if (mesh.membership.removal === null) await sayGoodbye(mesh, force, report)
  report('stopping and removing what runs here')
  const { containers, volumes } = await node.clear()
  await mesh.close()
  const kept = volumes.map((volume) => ({
    volume: `${slotKey(volume)}/${volume.name}`,
    place: volume.place
  }))
  return { mesh: mesh.membership.paper.mesh, containers, volumes: kept }
}

/** All that is of the mesh; the logs of the daemon stay, volumes of processes, and what is not brume's. */
export async function forget(dir: string): Promise<void> {
  const known = new Set(await readdir(dir))
  for (const name of OF_THE_MESH) {
    if (known.has(name)) await rm(join(dir, name), { recursive: true, force: true })
  }
}

const OF_THE_MESH = [
  'identity',
  'mesh.json',
  'run.json',
  'machine',
  '.probe',
  'config.json',
  'store',
  'gossip',
  'bundles',
  'dht-nodes.json',
  'agent.json',
  'names.json',
  'loopback.json',
  'process'
]

async function sayGoodbye(
  mesh: Mesh,
  force: boolean,
  report: (message: string) => void
): Promise<void> {
  const { nodes } = mesh.state
  const others = [...nodes.values()].filter((n) => n.state === 'member' && n.id !== mesh.self)
  if (others.length === 0) {
    if (force) return
    throw new BrumeError('ALONE', 'this is the last node: the mesh ends with it', {
      next: 'brume leave --force'
    })
  }
  if (mesh.me?.role === 'admin' && !others.some(({ role }) => role === 'admin')) {
    throw new BrumeError('LAST_ADMIN', 'this node is the last admin, the others could not go on', {
      next: `brume node role ${others[0]?.displayName} admin`
    })
  }
  if (mesh.links.ids.length === 0) {
    if (force) return
    throw new BrumeError(
      'ALONE',
      'no other member is in reach: they would go on counting this node, and what it decided alone would be lost',
      { next: 'wait until `brume nodes` shows one alive, or brume leave --force' }
    )
  }
  if (mesh.me?.state === 'member') await mesh.append([{ type: 'node.leave', at: Date.now() }])
  report('telling the others')
  const deadline = performance.now() + SPREAD_MS
  while (!mesh.oplog.spread && mesh.refusal?.code !== 'NODE_REMOVED') {
    if (performance.now() > deadline) {
      if (force) return
      throw new BrumeError('NOT_SPREAD', `no member has taken it in ${SPREAD_MS / 1000} s`, {
        next: 'brume leave again, or with --force',
        exitCode: 3
      })
    }
    await delay(LOOK_MS)
  }
}
