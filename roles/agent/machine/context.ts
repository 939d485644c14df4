/** What the Agent's machine hears, what it knows in between, and the world it decides from. */
import type { ContainerPhase, FactsBody, StatusBody } from '../../../core/gossip-records.ts'
import type { OpId } from '../../../core/state/records.ts'
import type { State } from '../../../core/state/state.ts'
import { aloneMs, type Alone } from '../alone.ts'
import type { Clocks } from '../clocks.ts'
import type { AgentComponents } from '../components.ts'
import type { Drain } from '../drain.ts'
import type { Engine, EngineContainer, EngineInfo, EngineVolume } from '../engine.ts'
import type { Health } from '../health.ts'
import {
  EMPTY_MEMORY,
  type Memory,
  type StepFailure,
  type StepResult,
  type World
} from '../memory.ts'
import { runsHealthily, type Reported } from '../report.ts'
import type { Step } from '../steps.ts'

export type AgentEvent =
  | { type: 'view.changed'; state: State }
  | { type: 'gossip.changed' }
  | { type: 'peers.changed'; alive: ReadonlySet<string> }
  | { type: 'container.changed' }
  | { type: 'engine.watched' }
  | { type: 'engine.lost'; error: unknown }
  | { type: 'step.told'; step: Step; phase: ContainerPhase }
  | { type: 'step.done'; step: Step; result: StepResult }
  | { type: 'step.failed'; step: Step; failure: StepFailure }
  | { type: 'health.checked'; slot: string; id: string; health: Health }
  | { type: 'alarm' }

export interface AgentContext {
  components: AgentComponents
  engine: Engine | null
  info: EngineInfo | null
  /** Failures to open the engine in a row. */
  attempts: number
  /** What was told of the engine last. */
  engineReport: FactsBody['engine'] | null
  view: State | null
  alive: ReadonlySet<string>
  /** While no other member is alive, and there is one. */
  alone: Alone | null
  drain: Drain | null
  /** What an earlier daemon saw of both, until the view is there to say whether it is so still. */
  recalled: Clocks | null
  /** As they are saved. */
  clocks: Clocks
  /** null until the engine was listed since it was opened. */
  containers: readonly EngineContainer[] | null
  /** Of the same list. */
  volumes: readonly EngineVolume[]
  listedAt: number
  memory: Memory
  listsBegun: number
  reported: Reported
  published: StatusBody | null
  /** What of the memory outlives the daemon, as it is now and as it was saved. */
  durable: string
  saved: string
  /** Containers whose health is checked, by id: the slot each is of. */
  checked: ReadonlyMap<string, string>
}

export const newContext = (components: AgentComponents): AgentContext => ({
  components,
  engine: null,
  info: null,
  attempts: 0,
  engineReport: null,
  view: null,
  alive: new Set(),
  alone: null,
  drain: null,
  recalled: null,
  clocks: {},
  containers: null,
  volumes: [],
  listedAt: 0,
  memory: EMPTY_MEMORY,
  listsBegun: 0,
  reported: new Map(),
  published: null,
  durable: '',
  saved: '',
  checked: new Map()
})

/** Whether this node runs the slot healthily under that placement: the answer to a peer that asks. */
export function agentRuns(context: AgentContext, key: string, placement: OpId): boolean {
  const world = worldOf(context)
  return world !== null && runsHealthily(world, key, placement)
}

/** null while nothing can be decided: the view is not loaded, or the engine was not listed. */
export function worldOf(context: AgentContext): World | null {
  const { components, view, alive, info, containers, listedAt, memory, alone } = context
  if (!isLoaded(view) || info === null || containers === null) return null
  const { self } = components
  const now = components.now()
  const status = components.readStatus()
  return {
    ...{ self, view, alive, status, engine: info, containers, listedAt, memory, now },
    aloneMs: alone === null ? null : aloneMs(alone, now)
  }
}

/** A view without a mesh record is not loaded yet: nothing may be removed for not being in it. */
export const isLoaded = (view: State | null): view is State => view !== null && view.mesh !== null

export function opened({ engine }: AgentContext): Engine {
  if (engine === null) throw new Error('used before it was opened')
  return engine
}
