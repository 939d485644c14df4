/** What must hold of revisions that come and go: at every stop of a container, and once all is calm. */
import { isStopped, startsFirst } from '../../../../core/state/policies.ts'
import { recordAt, rolloutOf } from '../../../../core/state/rollouts.ts'
import { slotKey, type MicroserviceRecord, type State } from '../../../../core/state/state.ts'
import type { EngineContainer } from '../../../../roles/agent/engine.ts'
import type { Host } from '../host.ts'
import { isBad } from '../moody-engine.ts'
import type { World } from '../world.ts'

/** Called before a running container of `host` ends; says what is wrong with that, or null. */
export function wrongStop(world: World, host: Host, container: EngineContainer): string | null {
  // Called off while it started, it ends as soon as it runs.
  if (!host.up || host.engine.ranMs(container.id) === 0) return null
  const wrong = host.views.map((state) => wrongBy(state, { world, host, container }))
  return wrong.includes(null) ? null : (wrong.at(-1) ?? null)
}

function wrongBy(
  state: State,
  { world, host, container }: { world: World; host: Host; container: EngineContainer }
): string | null {
  const key = slotKey(container)
  const record = recordOf(state, container)
  const placed = state.placements.get(key)
  // One on every node: its slots are asked for where they are placed, and nowhere else.
  const isAsked =
    record !== null &&
    !isStopped(record.spec) &&
    (record.spec.replicas === 'all' ? placed !== undefined : container.slot < record.spec.replicas)
  if (!isAsked || host.leaving || host.mesh.me?.state === 'removed') return null
  const what = `${host.name} ends ${key}@${container.revision}`
  if (placed === undefined) return `${what}, which is placed nowhere`
  if (placed.node === host.id) {
    if (placed.revision === container.revision) {
      return host.engine.isSick(container.id) ? null : `${what}, which belongs there and is healthy`
    }
    const next = recordAt(state, record, placed.revision) ?? record
    const isReady = copies(host, key).some(
      (c) => c.revision === placed.revision && (c.state === 'running' || !startsFirst(next.spec))
    )
    return isReady ? null : `${what}, before revision ${placed.revision} is ready`
  }
  const other = world.hosts.find(({ id }) => id === placed.node)
  const runs = other !== undefined && copies(other, key).some(({ state: is }) => is === 'running')
  // It said yes and died since: a bad revision may.
  return runs || isBadAt(state, record, placed.revision)
    ? null
    : `${what}, which ${other?.name ?? placed.node} does not run: the last copy`
}

/** Once nothing changes any more. */
export function settledRollouts(part: Host[]): string[] {
  const [first] = part
  if (first === undefined) return []
  const { state } = first.mesh
  const ids = new Set(part.map(({ id }) => id))
  const found: string[] = []
  for (const [key, record] of state.microservices) {
    const rollout = rolloutOf(state, record)
    const slots = [...state.placements.values()].filter(
      (p) => `${p.application}/${p.microservice}` === key
    )
    const reached = slots.filter(({ node }) => ids.has(node))
    // Slots out of reach are waited for; a bad revision that nobody goes back from never proves itself.
    if (rollout?.state === 'running' && reached.length === slots.length && slots.length > 0) {
      found.push(`the rollout of ${key} does not come to its end`)
    }
    if (rollout !== null) continue
    const behind = reached.filter(({ revision }) => revision !== record.revision)
    for (const p of behind) found.push(`${slotKey(p)} has ${p.revision}, not ${record.revision}`)
  }
  return found
}

/** Whether a placement of this revision need not run: it cannot. */
export function isBadAt(state: State, record: MicroserviceRecord, revision: string): boolean {
  return isBad((recordAt(state, record, revision) ?? record).spec.env)
}

export const recordOf = (
  state: State,
  { application, microservice }: { application: string; microservice: string }
): MicroserviceRecord | null => state.microservices.get(`${application}/${microservice}`) ?? null

const copies = (host: Host, key: string): EngineContainer[] =>
  [...host.engine.containers.values()].filter((c) => slotKey(c) === key)
