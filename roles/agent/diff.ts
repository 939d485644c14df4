/**
 * From what is placed here, what the engine has and what the Agent remembers: the next step of
 * each slot. Pure. Slots do not depend on each other, but for the number of creations at a time.
 */
import { devicesOf } from '../../core/state/devices.ts'
import { imageFor } from '../../core/state/microservices.ts'
import { startsFirst } from '../../core/state/policies.ts'
import { volumesOf } from '../../core/state/volumes.ts'
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
import type { EngineContainer } from './engine.ts'
import { containersOf, newSlot, slotsOf, type SlotMemory, type World } from './memory.ts'
import { heldBack } from './order.ts'
import type { Step, StepKind, StepOf } from './steps.ts'

export interface Plan {
  steps: Step[]
  /** Ms until something is due though nothing else changes; null: never. */
  againInMs: number | null
  /** Something is decided only by a newer list of the containers. */
  needsList: boolean
}

/** How long a copy that lost its placement runs on before anybody is asked. */
export const ADOPTION_GRACE_MS = 10_000
/** A yes is good for so long: who said it may be gone later. */
export const ANSWER_GOOD_MS = 1000
/**
 * What nobody checks the health of counts as up when a list begun so long after its start shows it running:
 * a daemon that stood still may not have heard yet that it ended.
 */
export const STEADY_MS = 1000
/** How many containers are made or started at a time. */
export const CREATIONS_AT_ONCE = 8

/**
 * INVARIANT: a running copy of a slot that is asked for is only ended (1) by its placement: here,
 * for another revision whose container is made, or is up where that is to start first; or (2) when the node placed now has said, under
 * the placement this view has, that it runs the slot.
 */
export function diff(world: World): Plan {
  let creations = [...world.memory.slots.values()].filter(
    ({ step }) => step !== null && CREATIONS.has(step.kind)
  ).length
  const steps: Step[] = []
  let needsList = false
  let wakeAt: number | null = null
  for (const [key, ref] of slotsOf(world)) {
    const verdict = verdictOn(situationOf(key, ref, world), world)
    if (verdict.needsList === true) needsList = true
    if (verdict.wakeAt !== null) wakeAt = Math.min(wakeAt ?? Infinity, verdict.wakeAt)
    if (verdict.step === null) continue
    if (CREATIONS.has(verdict.step.kind)) {
      if (creations >= CREATIONS_AT_ONCE) continue
      creations++
    }
    steps.push(verdict.step)
  }
  const againInMs = wakeAt === null ? null : Math.max(1, wakeAt - world.now)
  return { steps, againInMs, needsList }
}

interface Situation {
  key: string
  ref: SlotRef
  duty: Duty
  containers: EngineContainer[]
  memory: SlotMemory
}
type Placed = Situation & { duty: Extract<Duty, { kind: 'ours' }> }
type Lost = Situation & { duty: Extract<Duty, { kind: 'lost' }> }
interface Verdict {
  step: Step | null
  wakeAt: number | null
  needsList?: boolean
}

const CREATIONS: ReadonlySet<StepKind> = new Set(['create', 'start', 'restart'])
const NOTHING: Verdict = { step: null, wakeAt: null }

function situationOf(key: string, ref: SlotRef, world: World): Situation {
  return {
    key,
    ref,
    duty: dutyOf(ref, world.view, world.self),
    containers: containersOf(world, key).sort((a, b) => (a.id < b.id ? -1 : 1)),
    memory: world.memory.slots.get(key) ?? newSlot(ref)
  }
}

function verdictOn(s: Situation, world: World): Verdict {
  if (s.memory.step !== null) return inFlight(s)
  const stopsInMs = stopsAloneIn(s.duty, world.aloneMs)
  if (stopsInMs === 0) return clear(s, s.containers, ALONE, world.now)
  const verdict = dutyVerdictOn(s, world)
  if (stopsInMs === null || verdict.step !== null) return verdict
  return { ...verdict, wakeAt: Math.min(world.now + stopsInMs, verdict.wakeAt ?? Infinity) }
}

function dutyVerdictOn(s: Situation, world: World): Verdict {
  switch (s.duty.kind) {
    case 'ours':
      return run({ ...s, duty: s.duty }, world)
    case 'lost':
      return handOver({ ...s, duty: s.duty }, world)
    case 'unasked':
      return clear(s, s.containers, s.duty.why, world.now)
  }
}

/** Calls off what the world has overtaken; else waits for the step's end. */
function inFlight(s: Situation): Verdict {
  const step = s.memory.step
  if (!step || step.cancelled || step.listAwaited !== null) return NOTHING
  const overtaken = overtakenBecause(s, step)
  return overtaken === null ? NOTHING : take(s, 'cancel', overtaken, {})
}

function overtakenBecause(
  { duty }: Situation,
  step: NonNullable<SlotMemory['step']>
): string | null {
  switch (step.kind) {
    case 'create':
    case 'start':
    case 'restart':
      if (duty.kind === 'unasked') return duty.why
      if (duty.kind === 'lost') return 'the slot is not placed here any more'
      return step.kind === 'create' && step.revision !== duty.placement.revision
        ? `revision ${duty.placement.revision} is placed here now`
        : null
    case 'ask':
      return duty.kind === 'lost' && duty.placement?.op === step.placement
        ? null
        : 'the placement it asks for is not the newest any more'
    case 'stop':
    case 'remove':
    case 'cancel':
      return null
  }
}

function run(s: Placed, world: World): Verdict {
  const { duty, memory } = s
  const copy = copyOf(duty, s.containers)
  const others = s.containers.filter((c) => c !== copy)
  const busy = others.some((c) => c.state === 'running')
  if (copy === null) {
    if (!canCreate(duty) || refusalOf(duty.record, world.engine) !== null) return NOTHING
    const held = heldBack({ ...s, copy }, world)
    const start = held === null && (!busy || startsFirst(duty.record.spec))
    return gated(memory.run.at, world.now, () => create(s, world, { start, held }))
  }
  // A revision that is not asked for any more (it failed, or another came) takes nobody's place.
  const isAsked = canCreate(duty) && copy.revision === duty.placement.revision
  const waits = isAsked ? whenToReplace(s, copy, others) : null
  const isDue = others.length > 0 && waits !== null && waits <= world.now
  if (isDue && waits <= world.listedAt)
    return clear(s, others, `revision ${copy.revision} takes its place`, world.now)
  const verdict = keepRunning(s, copy, world)
  if (isDue) return { ...verdict, needsList: true }
  if (verdict.step !== null || others.length === 0 || waits === null || waits === Infinity)
    return verdict
  return { ...verdict, wakeAt: Math.min(waits, verdict.wakeAt ?? Infinity) }
}

/**
 * When the others may end for the copy of the placed revision, boot ms: once it is made, or, where it
 * starts first, once it is up. Infinity: not before something happens.
 */
function whenToReplace(
  { duty, memory }: Placed,
  copy: EngineContainer,
  others: EngineContainer[]
): number {
  const { spec } = duty.record
  if (!startsFirst(spec) || others.every((c) => c.state !== 'running')) return 0
  if (copy.state === 'exited') return copy.exitCode === 0 && !startsAgain(spec, 0) ? 0 : Infinity
  if (copy.state !== 'running') return Infinity
  if (spec.healthcheck !== null) {
    return memory.health?.id === copy.id && memory.health.healthy === true ? 0 : Infinity
  }
  return memory.ran?.id === copy.id ? memory.ran.at + STEADY_MS : Infinity
}

function keepRunning(s: Placed, copy: EngineContainer, world: World): Verdict {
  const { duty, memory } = s
  const { id, revision } = copy
  switch (copy.state) {
    case 'running': {
      const unhealthy = memory.health?.id === id && memory.health.healthy === false
      if (!unhealthy || duty.record.spec.restart === 'no') return NOTHING
      const reason = `${memory.health?.failures} health checks failed in a row`
      return gated(memory.run.at, world.now, () => take(s, 'restart', reason, { id, revision }))
    }
    case 'created':
      if (heldBack({ ...s, copy }, world) !== null) return NOTHING
      return gated(memory.run.at, world.now, () =>
        take(s, 'start', 'it is placed here and was never started', { id, revision })
      )
    case 'exited':
      if (!startsAgain(duty.record.spec, copy.exitCode)) return NOTHING
      if (heldBack({ ...s, copy }, world) !== null) return NOTHING
      return gated(memory.run.at, world.now, () =>
        take(s, 'start', `it ended with exit code ${copy.exitCode} and should run`, {
          id,
          revision
        })
      )
  }
}

function create(
  s: Placed,
  world: World,
  { start, held }: { start: boolean; held: string | null }
): Verdict {
  const { spec, revision } = s.duty.record
  const before =
    held === null
      ? `revision ${revision} is placed here; made ready before the one that runs stops`
      : `it is placed here; made ready while it ${held}`
  return take(s, 'create', start ? 'it is placed here and not there' : before, {
    revision,
    files: spec.files,
    pulls: spec.pull !== 'never',
    start,
    spec: {
      ...s.ref,
      revision,
      image: imageFor(spec, world.engine.arch),
      command: spec.command,
      env: spec.env,
      labels: spec.labels,
      ports: spec.ports,
      devices: devicesOf(spec),
      volumes: volumesOf(spec),
      cpus: spec.resources.cpus ?? null,
      memoryBytes: spec.resources.memoryBytes ?? null
    }
  })
}

function handOver(s: Lost, world: World): Verdict {
  const { now } = world
  const { placement } = s.duty
  const idle = s.containers.filter((c) => c.state !== 'running')
  if (idle.length > 0) return clear(s, idle, 'it does not run and is not placed here any more', now)
  if (s.containers.length === 0 || placement === null) return NOTHING
  const graceEnd = (s.memory.lostAt ?? now) + ADOPTION_GRACE_MS
  if (now < graceEnd) return { step: null, wakeAt: graceEnd }
  const { answer } = s.memory
  if (answer?.yes && answer.placement === placement.op && now - answer.at <= ANSWER_GOOD_MS)
    return clear(s, s.containers, `${nameOf(placement.node, world)} runs it now`, now)
  if (!world.alive.has(placement.node)) return NOTHING
  return gated(s.memory.askAt, now, () =>
    take(s, 'ask', `${nameOf(placement.node, world)} should run it now: does it?`, {
      node: placement.node,
      placement: placement.op
    })
  )
}

/** Ends and removes `containers`. */
function clear(s: Situation, containers: EngineContainer[], why: string, now: number): Verdict {
  if (containers.length === 0) return NOTHING
  const ids = containers.map((c) => c.id)
  const kind = containers.some((c) => c.state === 'running') ? 'stop' : 'remove'
  return gated(s.memory.end.at, now, () => take(s, kind, why, { ids }))
}

function gated(at: number | null, now: number, verdict: () => Verdict): Verdict {
  return at !== null && now < at ? { step: null, wakeAt: at } : verdict()
}

function take<K extends StepKind>(
  s: Situation,
  kind: K,
  reason: string,
  fields: Omit<StepOf<K>, 'kind' | 'slot' | 'ref' | 'reason'>
): Verdict {
  return { step: { kind, slot: s.key, ref: s.ref, reason, ...fields } as Step, wakeAt: null }
}

const nameOf = (node: string, world: World): string =>
  world.view.nodes.get(node)?.displayName ?? node
