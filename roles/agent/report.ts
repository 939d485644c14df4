/** What this node tells the others of its containers. Pure. */
import { imageFor } from '../../core/state/microservices.ts'
import type { ContainerPhase, ContainerStatus, StatusBody } from '../../core/gossip-records.ts'
import type { OpId } from '../../core/state/records.ts'
import { slotKey } from '../../core/state/state.ts'
import { MAX_VOLUMES_TOLD } from '../../core/state/volumes.ts'
import {
  ALONE,
  canCreate,
  copyOf,
  dutyOf,
  refusalOf,
  startsAgain,
  stopsAloneIn,
  type Duty,
  type SlotRef
} from './duty.ts'
import type { EngineContainer, EngineVolume } from './engine.ts'
import {
  containersOf,
  failingRevisions,
  newSlot,
  slotsOf,
  type SavedMemory,
  type SlotMemory,
  type World
} from './memory.ts'
import { heldBack } from './order.ts'

/** The state each slot was last reported in, by slot key. */
export type Reported = ReadonlyMap<string, { state: ContainerPhase; since: number }>

/** One status a slot, in key order; `since` is `wallNow` where the state is another than reported. */
export function report(world: World, reported: Reported, wallNow: number): StatusBody {
  const containers: ContainerStatus[] = []
  for (const [key, ref] of slotsOf(world)) {
    const status = statusOf(key, ref, world)
    if (status === null) continue
    const before = reported.get(key)
    const since = before?.state === status.state ? before.since : wallNow
    containers.push({ ...status, since })
  }
  return { containers, failing: failingRevisions(world.memory) }
}

/** As an earlier daemon left it. */
export const reportedIn = (saved: SavedMemory | null): Reported =>
  new Map(
    Object.entries(saved?.slots ?? {}).flatMap(([key, { state, since }]) =>
      state === null || since === null ? [] : [[key, { state, since }]]
    )
  )

/** The volumes of this node, for where their slots may run. */
export function volumesTold(volumes: readonly EngineVolume[]): Pick<StatusBody, 'volumes'> {
  if (volumes.length === 0) return {}
  const told = volumes.map((volume) => `${slotKey(volume)}/${volume.name}`).sort()
  return { volumes: told.slice(0, MAX_VOLUMES_TOLD) }
}

/** Whether this node runs the slot, healthily, for that very placement. Peers rely on a yes. */
export function runsHealthily(world: World, key: string, placement: OpId): boolean {
  const placed = world.view.placements.get(key)
  if (placed?.op !== placement) return false
  const duty = dutyOf(placed, world.view, world.self)
  const memory = world.memory.slots.get(key)
  if (duty.kind !== 'ours' || (memory && memory.step !== null)) return false
  const copy = copyOf(duty, containersOf(world, key))
  if (copy?.state !== 'running' || copy.revision !== placed.revision) return false
  return duty.record.spec.healthcheck === null || healthOf(memory, copy) === true
}

/** An image that names more is none that is called by name. */
const MAX_EXPOSES = 32

type Status = Omit<ContainerStatus, 'since'>

function statusOf(key: string, ref: SlotRef, world: World): Status | null {
  const duty = dutyOf(ref, world.view, world.self)
  const containers = containersOf(world, key)
  const memory = world.memory.slots.get(key) ?? newSlot(ref)
  if (duty.kind === 'ours' && stopsAloneIn(duty, world.aloneMs) === 0) {
    const ending = endingStatus(ref, containers, memory, ALONE)
    const placed = placedStatus(ref, duty, containers, memory, world)
    return ending ?? { ...placed, state: 'stopped', reason: ALONE }
  }
  switch (duty.kind) {
    case 'ours':
      return placedStatus(ref, duty, containers, memory, world)
    case 'lost': {
      const copy = containers.find((c) => c.state === 'running')
      if (!copy) return endingStatus(ref, containers, memory, 'it is not placed here any more')
      const to = duty.placement && world.view.nodes.get(duty.placement.node)?.displayName
      return {
        ...withCopy(ref, copy, memory),
        state: memory.step?.kind === 'stop' ? 'stopping' : 'retiring',
        reason: to
          ? `placed on ${to}; runs here until it runs there`
          : 'placed nowhere now; runs here until it runs elsewhere'
      }
    }
    case 'unasked':
      return endingStatus(ref, containers, memory, duty.why)
  }
}

function placedStatus(
  ref: SlotRef,
  duty: Extract<Duty, { kind: 'ours' }>,
  containers: EngineContainer[],
  memory: SlotMemory,
  world: World
): Status {
  const { placement, record } = duty
  const copy = copyOf(duty, containers)
  const base: Status = {
    ...identity(ref),
    revision: placement.revision,
    placement: placement.op,
    state: 'starting',
    healthy: null,
    image: imageFor(record.spec, world.engine.arch),
    ports: [],
    reason: memory.trouble?.sentence ?? null,
    restarts: memory.restarts,
    ...(copy && withCopy(ref, copy, memory))
  }
  const status: Status = { ...base, placement: placement.op, reason: base.reason }
  const { step, trouble } = memory
  const held = heldBack({ duty, copy, containers, memory }, world)
  const isOnItsWay = trouble?.kind !== 'failed' && step?.phase !== 'pulling'
  if (held !== null && isOnItsWay)
    return { ...status, state: 'starting', reason: held, waits: true }
  if (step !== null && step.kind !== 'ask') {
    const again = step.kind === 'start' && trouble?.kind === 'ended'
    const clearing = step.kind === 'stop' || step.kind === 'remove'
    const reason = step.kind === 'restart' ? unhealthy(memory) : status.reason
    if (!clearing) return { ...status, reason, state: again ? 'restarting' : step.phase }
  }
  if (copy?.state === 'running') return { ...status, state: 'running', reason: null }
  if (copy?.state === 'exited' && trouble?.kind !== 'failed') {
    if (startsAgain(record.spec, copy.exitCode)) return { ...status, state: 'restarting' }
    const reason = trouble?.sentence ?? `ended with exit code ${copy.exitCode}`
    return { ...status, reason, state: copy.exitCode === 0 ? 'stopped' : 'failed' }
  }
  if (copy === null) {
    const refusal = canCreate(duty) ? refusalOf(record, world.engine) : null
    if (refusal !== null) return { ...status, state: 'failed', reason: refusal }
    if (!canCreate(duty))
      return {
        ...status,
        reason: `revision ${placement.revision} is placed here, ${record.revision} is asked for: waits for the Controller`
      }
    if (trouble?.kind === 'ended') return { ...status, state: 'restarting' }
  }
  return { ...status, state: trouble?.kind === 'failed' ? 'failed' : 'starting' }
}

function endingStatus(
  ref: SlotRef,
  containers: EngineContainer[],
  memory: SlotMemory,
  reason: string
): Status | null {
  const copy = containers.find((c) => c.state === 'running') ?? containers[0]
  if (!copy) return null
  return { ...withCopy(ref, copy, memory), state: 'stopping', reason }
}

/** What the container says of itself. */
function withCopy(
  ref: SlotRef,
  copy: EngineContainer,
  memory: SlotMemory
): Omit<Status, 'state' | 'reason'> {
  return {
    ...identity(ref),
    revision: copy.revision,
    placement: null,
    healthy: healthOf(memory, copy),
    image: copy.image,
    ports: copy.state === 'running' ? copy.ports : [],
    ...exposedBy(copy),
    restarts: memory.restarts
  }
}

/** What others reach there beyond what it publishes. */
function exposedBy({ state, ports, exposes }: EngineContainer): Pick<Status, 'exposes'> {
  const isPublished = (port: EngineContainer['exposes'][number]): boolean =>
    ports.some((each) => each.container === port.container && each.protocol === port.protocol)
  const more = exposes.filter((port) => !isPublished(port)).slice(0, MAX_EXPOSES)
  return state === 'running' && more.length > 0 ? { exposes: more } : {}
}

const unhealthy = ({ health }: SlotMemory): string =>
  `${health?.failures ?? 0} health checks failed in a row`

const identity = ({ application, microservice, slot }: SlotRef): SlotRef => ({
  application,
  microservice,
  slot
})

const healthOf = (memory: SlotMemory | undefined, copy: EngineContainer): boolean | null =>
  copy.state === 'running' && memory?.health?.id === copy.id ? memory.health.healthy : null
