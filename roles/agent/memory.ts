/**
 * What the Agent remembers of each slot that neither the view nor the engine knows, and how news
 * change it. Pure; nothing is changed in place. Times are boot ms.
 */
import type { ContainerPhase, StatusBody } from '../../core/gossip-records.ts'
import type { OpId } from '../../core/state/records.ts'
import { slotKey, type State } from '../../core/state/state.ts'
import type { BackoffPolicy } from '../../core/backoff.ts'
import { failedOnce, FRESH, RESTART, type Backoff } from './backoff.ts'
import {
  copyOf,
  dutyOf,
  startsAgain,
  stopsAloneIn,
  type EngineFacts,
  type SlotRef
} from './duty.ts'
import type { EngineContainer } from './engine.ts'
import type { Health } from './health.ts'
import type { Lasting } from './lasting.ts'
import type { Step, StepKind } from './steps.ts'

/** All that the Agent decides from. */
export interface World {
  /** Node id. */
  self: string
  view: State
  /** Nodes that are alive for this one. */
  alive: ReadonlySet<string>
  /** What nodes said last of their containers, this one's own word aside; heeded of those alive. */
  status: ReadonlyMap<string, StatusBody>
  engine: EngineFacts
  containers: readonly EngineContainer[]
  /** When the list of them was begun: what happened since may not be in it. */
  listedAt: number
  memory: Memory
  /** For how long no other member has been alive for this node; null while one is, or there is none. */
  aloneMs: number | null
  now: number
}

export interface Memory {
  /** By slot key. */
  slots: ReadonlyMap<string, SlotMemory>
  /** By `application/microservice@revision`. */
  revisions: ReadonlyMap<string, RevisionMemory>
}

export interface SlotMemory extends SlotRef {
  /** The placed revision that `run` and `trouble` speak of. */
  revision: string | null
  step: StepInFlight | null
  /** The run that goes on, and since when it was seen; null once its end was noted. */
  ran: { id: string; revision: string; at: number } | null
  /** A copy of it ran here since it was placed here, as far as this daemon saw. */
  cameUp: boolean
  /** Gates what makes it run. */
  run: Backoff
  /** Gates what ends it. */
  end: Backoff
  /** What kept it from running last; null while it runs. */
  trouble: { kind: 'ended' | 'failed'; sentence: string } | null
  restarts: number
  /** Since when it is placed elsewhere or nowhere. */
  lostAt: number | null
  /** What the node placed now said last. */
  answer: { placement: OpId; yes: boolean; at: number } | null
  askAt: number | null
  health: (Health & { id: string }) | null
}

export interface StepInFlight {
  kind: StepKind
  /** Of `create`, `start` and `restart`. */
  revision: string | null
  /** Of `ask`. */
  placement: OpId | null
  phase: ContainerPhase
  cancelled: boolean
  /**
   * null while it works; then the number of the first list begun after its end. Until that list
   * is in, the containers known are older than the step, and nothing is decided from them.
   */
  listAwaited: number | null
}

export interface RevisionMemory {
  /** When it failed, in the last five minutes. */
  failures: readonly number[]
  failingSince: number | null
}

/** What outlives the daemon. Ages, not times: the boot clock starts again with the machine. */
export interface SavedMemory {
  slots: Record<string, { restarts: number; state: ContainerPhase | null; since: number | null }>
  revisions: Record<string, { failureAgesMs: number[]; failingAgeMs: number | null }>
  /** While it counts for something: how long this node has been alone, and drained by which op. */
  alone?: Lasting
  drained?: Lasting & { op: OpId }
}

export const EMPTY_MEMORY: Memory = { slots: new Map(), revisions: new Map() }

export const revisionKey = (ref: { application: string; microservice: string }, revision: string) =>
  `${ref.application}/${ref.microservice}@${revision}`

/** Every slot that has a placement here, a container here or a memory, by key, in key order. */
export function slotsOf(world: World): [string, SlotRef][] {
  const refs = new Map<string, SlotRef>()
  const see = ({ application, microservice, slot }: SlotRef) =>
    refs.set(slotKey({ application, microservice, slot }), { application, microservice, slot })
  for (const memory of world.memory.slots.values()) see(memory)
  for (const container of world.containers) see(container)
  for (const placement of world.view.placements.values())
    if (placement.node === world.self) see(placement)
  return [...refs].sort(([a], [b]) => (a < b ? -1 : 1))
}

export const containersOf = (world: World, key: string): EngineContainer[] =>
  world.containers.filter((c) => slotKey(c) === key)

/** Brings the memory up to the view and the containers of `world`. */
export function observe(world: World, random: () => number): Memory {
  const slots = new Map<string, SlotMemory>()
  let revisions = world.memory.revisions
  for (const [key, ref] of slotsOf(world)) {
    const containers = containersOf(world, key)
    const duty = dutyOf(ref, world.view, world.self)
    const known = world.memory.slots.get(key) ?? newSlot(ref)
    if (duty.kind !== 'ours' && containers.length === 0 && known.step === null) continue

    let slot = { ...known }
    if (duty.kind === 'ours') {
      if (slot.revision !== duty.placement.revision)
        slot = { ...slot, revision: duty.placement.revision, run: FRESH, trouble: null }
    }
    const isOurs = duty.kind === 'ours' && stopsAloneIn(duty, world.aloneMs) !== 0
    slot.cameUp = isOurs && (slot.cameUp || containers.some((c) => c.state === 'running'))
    if (duty.kind === 'lost') slot.lostAt ??= world.now
    else slot = { ...slot, lostAt: null, answer: null, askAt: null }
    if (slot.step === null) {
      if (slot.health && !runs(containers, slot.health.id)) slot.health = null
      const copy = duty.kind === 'ours' ? copyOf(duty, containers) : null
      if (copy?.state === 'running') {
        if (slot.ran?.id !== copy.id)
          slot.ran = { id: copy.id, revision: copy.revision, at: world.now }
        slot.trouble = null
      } else if (duty.kind === 'ours' && slot.ran !== null) {
        const spec = duty.record.spec
        if (copy?.id === slot.ran.id) {
          if (startsAgain(spec, copy.exitCode)) slot = againAfterEnd(slot, world.now, random())
          slot.trouble = { kind: 'ended', sentence: `ended with exit code ${copy.exitCode}` }
          slot.ran = null
          if (copy.exitCode !== 0 || spec.restart === 'always')
            revisions = failed(revisions, revisionKey(ref, copy.revision), world.now)
        } else if (copy === null && slot.ran.revision === duty.placement.revision) {
          slot = againAfterEnd(slot, world.now, random())
          slot.trouble = { kind: 'ended', sentence: 'its container was removed by somebody else' }
          slot.ran = null
        }
      }
    }
    slots.set(key, slot)
  }
  return { slots, revisions: current(revisions, world) }
}

export function stepBegun(memory: Memory, step: Step): Memory {
  return patch(memory, step.slot, step.ref, () => ({
    step: {
      kind: step.kind,
      revision: 'revision' in step ? step.revision : null,
      placement: step.kind === 'ask' ? step.placement : null,
      phase: PHASES[step.kind],
      cancelled: false,
      listAwaited: null
    }
  }))
}

export function stepTold(memory: Memory, key: string, phase: ContainerPhase): Memory {
  return patchStep(memory, key, { phase })
}

export const stepCancelled = (memory: Memory, key: string): Memory =>
  patchStep(memory, key, { cancelled: true })

/** `listsBegun`: how many lists were begun so far. */
export function stepDone(
  memory: Memory,
  step: Step,
  result: StepResult,
  now: number,
  listsBegun: number,
  random: number
): Memory {
  const next = patch(memory, step.slot, step.ref, (slot) => {
    const waits = { step: slot.step && { ...slot.step, listAwaited: listsBegun + 1 } }
    switch (step.kind) {
      case 'ask':
        return {
          step: null,
          answer: { placement: step.placement, yes: result.yes ?? false, at: now },
          askAt: now + askDelayMs(random)
        }
      case 'create':
      case 'start':
        return { ...waits, trouble: null, ran: ranBy(step, result, now) ?? slot.ran }
      case 'restart':
        return {
          ...againAfterEnd(slot, now, random),
          ...waits,
          health: null,
          ran: ranBy(step, result, now)
        }
      case 'stop':
      case 'remove':
        return {
          ...waits,
          end: FRESH,
          ran: slot.ran && step.ids.includes(slot.ran.id) ? null : slot.ran
        }
      case 'cancel':
        return {}
    }
  })
  if (step.kind !== 'restart') return next
  return {
    ...next,
    revisions: failed(next.revisions, revisionKey(step.ref, step.revision), now)
  }
}

export interface StepResult {
  /** Id of the container that runs now because of the step. */
  started?: string
  yes?: boolean
}

export interface StepFailure {
  sentence: string
  policy: BackoffPolicy
  /** The engine's or the mesh's fault, not the revision's. */
  excused: boolean
  cancelled: boolean
}

export function stepFailed(
  memory: Memory,
  step: Step,
  failure: StepFailure,
  now: number,
  listsBegun: number,
  random: number
): Memory {
  const makesRun = 'revision' in step
  const next = patch(memory, step.slot, step.ref, (slot) => {
    const waits = { step: slot.step && { ...slot.step, listAwaited: listsBegun + 1 } }
    if (failure.cancelled) return { ...waits, ...(step.kind === 'ask' ? { step: null } : {}) }
    if (step.kind === 'ask') return { step: null, askAt: now + askDelayMs(random) }
    if (!makesRun) return { ...waits, end: failedOnce(slot.end, failure.policy, now, random) }
    return {
      ...waits,
      run: failedOnce(slot.run, failure.policy, now, random),
      trouble: { kind: 'failed', sentence: failure.sentence },
      ran: null
    }
  })
  if (!makesRun || failure.cancelled || failure.excused) return next
  const key = revisionKey(step.ref, step.revision)
  return { ...next, revisions: failed(next.revisions, key, now) }
}

/** A list is in: steps that ended before it began are over. */
export function listed(memory: Memory, number: number): Memory {
  const slots = new Map(memory.slots)
  for (const [key, slot] of slots)
    if (slot.step !== null && (slot.step.listAwaited ?? Infinity) <= number)
      slots.set(key, { ...slot, step: null })
  return { ...memory, slots }
}

/** The engine went away: no step goes on, and what runs is seen afresh when it is back. */
export function engineLost(memory: Memory): Memory {
  const slots = new Map<string, SlotMemory>()
  for (const [key, slot] of memory.slots)
    slots.set(key, { ...slot, step: null, ran: null, health: null, run: FRESH, end: FRESH })
  return { ...memory, slots }
}

/** One more result of a health check, if the container is still the slot's. */
export function healthNoted(memory: Memory, key: string, id: string, health: Health): Memory {
  const slot = memory.slots.get(key)
  if (!slot || (slot.step !== null && slot.step.kind !== 'ask')) return memory
  return patch(memory, key, slot, () => ({ health: { ...health, id } }))
}

export function failingRevisions(memory: Memory): string[] {
  return [...memory.revisions]
    .filter(([, r]) => r.failingSince !== null)
    .map(([key]) => key)
    .sort()
}

/** Ages at `now`; `statuses` gives the state each slot was last reported in. */
export function toSaved(
  memory: Memory,
  statuses: readonly (SlotRef & { state: ContainerPhase; since: number })[],
  now: number
): SavedMemory {
  const saved: SavedMemory = { slots: {}, revisions: {} }
  for (const [key, slot] of memory.slots)
    saved.slots[key] = { restarts: slot.restarts, state: null, since: null }
  for (const status of statuses) {
    const key = slotKey(status)
    const restarts = memory.slots.get(key)?.restarts ?? 0
    saved.slots[key] = { restarts, state: status.state, since: status.since }
  }
  for (const [key, r] of memory.revisions)
    saved.revisions[key] = {
      failureAgesMs: r.failures.map((at) => now - at),
      failingAgeMs: r.failingSince === null ? null : now - r.failingSince
    }
  return saved
}

export function fromSaved(saved: SavedMemory, now: number): Memory {
  const slots = new Map<string, SlotMemory>()
  for (const [key, { restarts }] of Object.entries(saved.slots)) {
    const [application, microservice, slot] = key.split('/')
    if (application && microservice && slot)
      slots.set(key, { ...newSlot({ application, microservice, slot: Number(slot) }), restarts })
  }
  const revisions = new Map<string, RevisionMemory>()
  for (const [key, r] of Object.entries(saved.revisions))
    revisions.set(key, {
      failures: r.failureAgesMs.map((age) => now - age),
      failingSince: r.failingAgeMs === null ? null : now - r.failingAgeMs
    })
  return { slots, revisions }
}

const ASK_EVERY_MS = 1500
/** A run this long clears the failures before it. */
const STEADY_MS = 30_000
const FAILURES = 5
const FAILURES_WITHIN_MS = 300_000
const FAILING_FOR_MS = 3_600_000

const PHASES: Record<StepKind, ContainerPhase> = {
  create: 'starting',
  start: 'starting',
  restart: 'restarting',
  stop: 'stopping',
  remove: 'stopping',
  ask: 'retiring',
  cancel: 'stopping'
}

export function newSlot({ application, microservice, slot }: SlotRef): SlotMemory {
  return {
    application,
    microservice,
    slot,
    revision: null,
    step: null,
    ran: null,
    cameUp: false,
    run: FRESH,
    end: FRESH,
    trouble: null,
    restarts: 0,
    lostAt: null,
    answer: null,
    askAt: null,
    health: null
  }
}

const askDelayMs = (random: number): number => Math.round(ASK_EVERY_MS * (0.75 + 0.5 * random))

const ranBy = (step: { revision: string }, { started }: StepResult, now: number) =>
  started === undefined ? null : { id: started, revision: step.revision, at: now }

/** A run ended that should go on: when to start the next. */
function againAfterEnd(slot: SlotMemory, now: number, random: number): SlotMemory {
  const steady = slot.ran !== null && now - slot.ran.at >= STEADY_MS
  return {
    ...slot,
    run: failedOnce(steady ? FRESH : slot.run, RESTART, now, random),
    restarts: slot.restarts + 1
  }
}

const runs = (containers: readonly EngineContainer[], id: string): boolean =>
  containers.some((c) => c.id === id && c.state === 'running')

function failed(
  revisions: ReadonlyMap<string, RevisionMemory>,
  key: string,
  now: number
): ReadonlyMap<string, RevisionMemory> {
  const before = revisions.get(key) ?? { failures: [], failingSince: null }
  const failures = [...recent(before.failures, now), now]
  const failingSince =
    failures.length >= FAILURES ? (before.failingSince ?? now) : before.failingSince
  return new Map(revisions).set(key, { failures, failingSince })
}

const recent = (failures: readonly number[], now: number): number[] =>
  failures.filter((at) => now - at < FAILURES_WITHIN_MS)

/** Without what is over: another revision asked for, an hour gone by, failures long ago. */
function current(
  revisions: ReadonlyMap<string, RevisionMemory>,
  world: World
): ReadonlyMap<string, RevisionMemory> {
  const kept = new Map<string, RevisionMemory>()
  for (const [key, r] of revisions) {
    const [name = '', revision] = key.split('@')
    if (world.view.microservices.get(name)?.revision !== revision) continue
    const over = r.failingSince !== null && world.now - r.failingSince >= FAILING_FOR_MS
    const failingSince = over ? null : r.failingSince
    const failures = recent(r.failures, world.now)
    if (failures.length > 0 || failingSince !== null) kept.set(key, { failures, failingSince })
  }
  return kept
}

function patch(
  memory: Memory,
  key: string,
  ref: SlotRef,
  change: (slot: SlotMemory) => Partial<SlotMemory>
): Memory {
  const slot = memory.slots.get(key) ?? newSlot(ref)
  return { ...memory, slots: new Map(memory.slots).set(key, { ...slot, ...change(slot) }) }
}

function patchStep(memory: Memory, key: string, change: Partial<StepInFlight>): Memory {
  const slot = memory.slots.get(key)
  if (!slot?.step) return memory
  const step = { ...slot.step, ...change }
  return patch(memory, key, slot, () => ({ step }))
}
