/**
 * What a slot waits for before it comes up: microservices it depends on, of which no copy in reach runs,
 * or none is healthy. Pure. Order is about coming up and nothing else: a slot of which a copy runs here,
 * or ran here until it ended by itself, is held by nobody, so what goes away takes nothing with it, and a
 * restart or another revision can be had without it.
 */
import { circleOver, dependenciesOf, type Condition } from '../../core/state/dependencies.ts'
import type { MicroserviceRecord } from '../../core/state/state.ts'
import { isStopped } from '../../core/state/policies.ts'
import { slotKey } from '../../core/state/state.ts'
import { ALONE, canCreate, refusalOf, startsAgain, type Duty } from './duty.ts'
import type { EngineContainer } from './engine.ts'
import type { SlotMemory, World } from './memory.ts'

interface Held {
  duty: Extract<Duty, { kind: 'ours' }>
  /** The slot's copy, and whatever else there is of it. */
  copy: EngineContainer | null
  containers: readonly EngineContainer[]
  memory: SlotMemory
}

/** Why a slot that has something to start does not start it yet, in one sentence; or null. */
export function heldBack({ duty, copy, containers, memory }: Held, world: World): string | null {
  const { record } = duty
  const conditions = Object.entries(dependenciesOf(record.spec))
  if (conditions.length === 0 || memory.cameUp || containers.some(isRunning)) return null
  if (copy === null && (!canCreate(duty) || refusalOf(record, world.engine) !== null)) return null
  if (copy?.state === 'exited' && !startsAgain(record.spec, copy.exitCode)) return null
  for (const [name, condition] of conditions) {
    const on = dependencyOf(record, name, world)
    if (on !== null && !isMet(on, condition, world)) return sentence(on, condition, world)
  }
  return null
}

/** Of what is asked for; what is not, or waits itself for this one, cannot be waited for. */
function dependencyOf(
  { application, name }: MicroserviceRecord,
  on: string,
  { view }: World
): MicroserviceRecord | null {
  const recordOf = (of: string): MicroserviceRecord | undefined =>
    view.microservices.get(`${application}/${of}`)
  const circle = circleOver(name, on, (of) => Object.keys(dependenciesOf(recordOf(of)?.spec ?? {})))
  return circle === null ? (recordOf(on) ?? null) : null
}

function isMet(on: MicroserviceRecord, condition: Condition, world: World): boolean {
  if (isStopped(on.spec)) return false
  const copies = copiesOf(on, world)
  if (condition === 'started') return copies.some(({ isUp, isDone }) => isUp || isDone)
  return copies.some(({ isUp, healthy }) => isUp && (healthy ?? on.spec.healthcheck === null))
}

interface Copy {
  isUp: boolean
  /** It did its work, and ended. */
  isDone: boolean
  healthy: boolean | null
}

/** Here, by what the engine shows; on other nodes in reach by what they say. */
function copiesOf({ application, name }: MicroserviceRecord, world: World): Copy[] {
  const isOf = (c: { application: string; microservice: string }): boolean =>
    c.application === application && c.microservice === name
  const here = world.containers.filter(isOf).map((c): Copy => {
    const health = world.memory.slots.get(slotKey(c))?.health
    return {
      isUp: isRunning(c),
      isDone: c.state === 'exited' && c.exitCode === 0,
      healthy: health?.id === c.id ? health.healthy : null
    }
  })
  const there = [...world.alive]
    .filter((id) => id !== world.self)
    .flatMap((id) => world.status.get(id)?.containers.filter(isOf) ?? [])
    .map(({ state, healthy, reason }): Copy => ({
      isUp: state === 'running' || state === 'retiring',
      isDone: state === 'stopped' && reason !== ALONE,
      healthy
    }))
  return [...here, ...there]
}

function sentence(on: MicroserviceRecord, condition: Condition, world: World): string {
  const what = condition === 'healthy' ? 'be healthy' : 'run'
  const wait = `waits for ${on.application}/${on.name} to ${what}`
  if (isStopped(on.spec)) return `${wait}, which is stopped`
  if (on.spec.replicas === 0) return `${wait}, which has 0 replicas`
  return copiesOf(on, world).length === 0 ? `${wait}; no node in reach has one` : wait
}

const isRunning = ({ state }: EngineContainer): boolean => state === 'running'
