/**
 * The Agent: makes the containers of this machine match the placements that name this node.
 *
 *   loading → connecting ⇄ waiting          the engine is opened, with backoff
 *                 ↓  ↑ engine.lost
 *              working                      every piece of news: observe, diff, take the steps, report
 *
 * Leaving `working` ends what the daemon does, never what the engine runs.
 */
import {
  assign,
  enqueueActions,
  fromCallback,
  fromPromise,
  raise,
  sendParent,
  setup,
  stateIn,
  type ActorRefFrom,
  type EventObject
} from 'xstate'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { ContainerPhase, FactsBody, StatusBody } from '../../core/gossip-records.ts'
import type { Healthcheck } from '../../core/state/microservices.ts'
import type { OpId } from '../../core/state/records.ts'
import { recordAt } from '../../core/state/rollouts.ts'
import { slotKey, type State } from '../../core/state/state.ts'
import { delayMs } from '../../core/backoff.ts'
import { aloneFrom, aloneMs, aloneStill, longestAlone, searchEndsIn, type Alone } from './alone.ts'
import { CONNECT } from './backoff.ts'
import type { AgentComponents } from './components.ts'
import { diff } from './diff.ts'
import { drainOf, overdueIn, type Drain } from './drain.ts'
import type { Engine, EngineContainer, EngineInfo, EngineVolume } from './engine.ts'
import {
  afterCheck,
  checkCommand,
  nextCheckMs,
  unknownHealth,
  type CheckResult,
  type Health
} from './health.ts'
import { sinceOf, toLasting } from './lasting.ts'
import {
  EMPTY_MEMORY,
  engineLost,
  fromSaved,
  healthNoted,
  listed,
  observe,
  slotsOf,
  stepBegun,
  stepCancelled,
  stepDone,
  stepFailed,
  stepTold,
  toSaved,
  type Memory,
  type SavedMemory,
  type StepFailure,
  type StepResult,
  type World
} from './memory.ts'
import { report, runsHealthily, volumesTold, type Reported } from './report.ts'
import { failureOf, runStep, type Step } from './steps.ts'

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

type Clocks = Pick<SavedMemory, 'alone' | 'drained'>

export type AgentActor = ActorRefFrom<typeof agentMachine>

/** Whether this node runs the slot healthily under that placement: the answer to a peer that asks. */
export function agentRuns(context: AgentContext, key: string, placement: OpId): boolean {
  const world = worldOf(context)
  return world !== null && runsHealthily(world, key, placement)
}

/** How long news of containers are gathered before the engine is listed. */
const GATHER_MS = 10
/** An event may have been missed: list anyway. */
const RELIST_MS = 60_000
const SAVE_AFTER_MS = 250
const SAVE_AGAIN_MS = 10_000

type Opened = { engine: Engine; info: EngineInfo } | null

const openEngine = fromPromise<Opened, AgentComponents>(async ({ input }) => {
  const engine = await input.openEngine()
  if (engine === null) return null
  try {
    return { engine, info: await engine.info() }
  } catch (error) {
    await engine.close()
    throw error
  }
})

/** Tells of every change in the engine; closes the engine when it ends. */
const watchEngine = fromCallback<EventObject, AgentContext>(({ input, sendBack }) => {
  const { components } = input
  const engine = opened(input)
  const ending = new AbortController()
  const lost = (error: unknown) => {
    if (!ending.signal.aborted) sendBack({ type: 'engine.lost', error })
  }
  engine
    .watch(
      ({ kind }) =>
        kind === 'images' ? components.reportImages() : sendBack({ type: 'container.changed' }),
      ending.signal,
      () => sendBack({ type: 'engine.watched' })
    )
    .then(() => lost(new BrumeError('ENGINE_UNREACHABLE', 'The engine ended its events.')), lost)
  return () => {
    ending.abort()
    engine.close().catch((error: unknown) => {
      components.log.warn({ error: sentenceOf(error) }, 'the engine did not close')
    })
  }
})

interface List {
  containers: readonly EngineContainer[]
  volumes: readonly EngineVolume[]
  /** How many were begun till then. */
  number: number
  /** When it was begun, boot ms. */
  at: number
}

const listContainers = fromPromise<List, { engine: Engine; number: number; at: number }>(
  async ({ input: { engine, number, at } }) => {
    const [containers, volumes] = await Promise.all([engine.list(), engine.volumes()])
    return { containers, volumes, number, at }
  }
)

const takeStep = fromCallback<
  { type: 'cancel' },
  { step: Step; engine: Engine; components: AgentComponents }
>(({ input: { step, engine, components }, sendBack, receive }) => {
  const ending = new AbortController()
  const callOff = () => ending.abort(new BrumeError('CALLED_OFF', 'The step was called off.'))
  receive(callOff)
  runStep(step, {
    engine,
    filesDir: (bundle, signal) => components.filesDir(bundle, signal),
    resolver: () => components.resolver(),
    serviceEnv: (ref) => components.serviceEnv(ref),
    drained: (ids) => components.drained(ids),
    asksRuns: (node, key, placement) => components.asksRuns(node, key, placement),
    signal: ending.signal,
    tell: (phase) => sendBack({ type: 'step.told', step, phase })
  }).then(
    (result) => sendBack({ type: 'step.done', step, result }),
    (error: unknown) =>
      sendBack({ type: 'step.failed', step, failure: failureOf(error, ending.signal) })
  )
  return callOff
})

const loadMemory = fromPromise<SavedMemory | null, AgentComponents>(({ input }) =>
  input.store.load()
)
const saveMemory = fromPromise<
  string,
  { components: AgentComponents; memory: SavedMemory; durable: string }
>(async ({ input }) => {
  await input.components.store.save(input.memory)
  return input.durable
})

interface CheckInput {
  slot: string
  id: string
  check: Healthcheck
  engine: Engine
  now: () => number
}

/** Checks one running container for as long as it runs. */
const checkHealth = setup({
  types: {
    context: {} as CheckInput & { health: Health },
    input: {} as CheckInput
  },
  actors: {
    check: fromPromise<CheckResult | null, CheckInput>(async ({ input }) => {
      const { engine, id, check } = input
      try {
        const { exitCode } = await engine.exec(id, checkCommand(check), {
          timeoutMs: check.timeoutMs
        })
        return exitCode === 0 ? 'passed' : 'failed'
      } catch (error) {
        const engineGone = error instanceof BrumeError && error.code === 'ENGINE_UNREACHABLE'
        return engineGone ? null : 'failed'
      }
    })
  },
  delays: {
    next: ({ context }) => nextCheckMs(context.health, context.check, context.now())
  }
}).createMachine({
  id: 'health',
  context: ({ input }) => ({ ...input, health: unknownHealth(input.now()) }),
  initial: 'waiting',
  states: {
    waiting: { after: { next: 'checking' } },
    checking: {
      invoke: {
        src: 'check',
        input: ({ context }) => context,
        onDone: {
          target: 'waiting',
          actions: [
            assign({
              health: ({ context, event }) =>
                event.output === null
                  ? context.health
                  : afterCheck(context.health, context.check, event.output, context.now())
            }),
            sendParent(({ context }) => ({
              type: 'health.checked',
              slot: context.slot,
              id: context.id,
              health: context.health
            }))
          ]
        }
      }
    }
  }
})

const base = setup({
  types: {
    context: {} as AgentContext,
    events: {} as AgentEvent,
    input: {} as AgentComponents
  },
  actors: {
    loadMemory,
    saveMemory,
    openEngine,
    watchEngine,
    listContainers,
    takeStep,
    checkHealth
  },
  actions: {
    recall: assign({
      memory: ({ context }, saved: SavedMemory | null) =>
        saved === null ? EMPTY_MEMORY : fromSaved(saved, context.components.now()),
      reported: (_, saved: SavedMemory | null) => statesIn(saved),
      recalled: (_, saved: SavedMemory | null) => saved
    }),
    /** What an earlier daemon saw last. */
    noteClocks: assign(({ context }) => {
      const { view, alone, drain, recalled, components } = context
      if (!isLoaded(view)) return {}
      const { self, boot } = components
      const clock = { boot, now: components.now() }
      const { alone: was, drained } = recalled ?? {}
      const begun = was ? aloneStill(was, clock) : aloneFrom(clock.now)
      const known = drained ? { op: drained.op, since: sinceOf(drained, clock) } : drain
      return {
        alone: isAlone(context) ? ((was ? null : alone) ?? begun) : null,
        drain: drainOf(view, self, known, clock.now),
        recalled: null
      }
    }),
    /** Tells of the engine where that is news. */
    reportEngine: enqueueActions(({ context, enqueue }, { error }: { error: unknown }) => {
      const { info, engineReport, components } = context
      const problem = error === null ? null : sentenceOf(error)
      const known = info ?? engineReport
      const news = { kind: known?.kind ?? 'none', version: known?.version ?? null, problem }
      if (JSON.stringify(news) === JSON.stringify(engineReport)) return
      if (problem !== null) components.log.warn({ problem }, 'the engine cannot be used')
      enqueue.assign({ engineReport: news })
      enqueue(() => components.reportEngine(news, problem === null ? info : null))
    }),
    logError: ({ context }, params: { message: string; error: unknown }) =>
      context.components.log.error({ error: sentenceOf(params.error) }, params.message),
    /** Nothing of what was known of the engine holds any more; what was told of its containers stays. */
    forgetEngine: enqueueActions(({ context, enqueue }) => {
      const { memory, checked } = context
      for (const [key, { step }] of memory.slots) if (step !== null) enqueue.stopChild(stepId(key))
      for (const id of checked.keys()) enqueue.stopChild(checkId(id))
      enqueue.cancel('alarm')
      enqueue.assign({
        engine: null,
        info: null,
        containers: null,
        memory: engineLost(memory),
        checked: new Map<string, string>()
      })
    }),
    noteList: assign(({ context }, { containers, volumes, number, at }: List) => ({
      containers,
      volumes,
      listedAt: at,
      memory: listed(context.memory, number),
      attempts: 0
    })),
    publishNothing: ({ context }) =>
      context.components.publishStatus({ containers: [], failing: [] })
  },
  guards: {
    isUnsaved: ({ context }) => context.durable !== context.saved,
    /** What others say is looked at only while something here waits for it. */
    waits: ({ context }) => context.published?.containers.some(({ waits }) => waits) ?? false
  },
  delays: {
    saveAgain: SAVE_AGAIN_MS,
    gather: GATHER_MS,
    relist: RELIST_MS,
    saveAfter: SAVE_AFTER_MS,
    reconnect: ({ context }) => delayMs(context.attempts - 1, CONNECT, context.components.random())
  }
})

/** What the news say goes into the memory, what follows from it is done, and told if it is new. */
const act = base.enqueueActions(({ context, enqueue }) => {
  const world = worldOf(context)
  if (world === null || context.engine === null) return
  const { components, engine } = context
  let memory = observe(world, components.random)
  const plan = diff({ ...world, memory })
  for (const step of plan.steps) {
    components.log.info({ slot: step.slot, reason: step.reason }, `step ${step.kind}`)
    if (step.kind === 'cancel') {
      memory = stepCancelled(memory, step.slot)
      enqueue.sendTo(stepId(step.slot), { type: 'cancel' })
    } else {
      memory = stepBegun(memory, step)
      enqueue.spawnChild('takeStep', {
        id: stepId(step.slot),
        input: { step, engine, components }
      })
    }
  }

  const due = checksDue({ ...world, memory }, context.checked)
  for (const id of context.checked.keys()) if (!due.has(id)) enqueue.stopChild(checkId(id))
  for (const [id, { slot, check }] of due)
    if (!context.checked.has(id) && check !== null)
      enqueue.spawnChild('checkHealth', {
        id: checkId(id),
        input: { slot, id, check, engine, now: components.now }
      })
  const checked = new Map([...due].map(([id, { slot }]) => [id, slot]))

  const { alone, drain } = context
  const overdueMs = drain && overdueIn(drain, world.now)
  const body: StatusBody = {
    ...report({ ...world, memory }, context.reported, components.wallNow()),
    ...volumesTold(context.volumes),
    ...(drain && overdueMs === 0 && { overdue: drain.op })
  }
  const isNews = JSON.stringify(body) !== JSON.stringify(context.published)
  const reported = new Map(body.containers.map((s) => [slotKey(s), s]))
  const clocks = clocksOf(context, world)
  const { slots } = toSaved(memory, body.containers, 0)
  const durable = JSON.stringify([slots, [...memory.revisions], clocks])
  enqueue.assign({
    memory,
    checked,
    reported,
    durable,
    clocks,
    published: isNews ? body : context.published
  })
  if (isNews) enqueue(() => components.publishStatus(body))

  if (plan.needsList) enqueue.raise({ type: 'container.changed' })
  enqueue.cancel('alarm')
  const searchMs = alone && searchEndsIn(alone, world.now)
  const times = [plan.againInMs, overdueMs, searchMs].filter((ms) => ms !== null && ms > 0)
  if (times.length > 0)
    enqueue.raise(
      { type: 'alarm' },
      { id: 'alarm', delay: Math.ceil(Math.min(...(times as number[]))) }
    )
})

const noteStepDone = base.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'step.done') return
  const { components, listsBegun } = context
  const { now, random } = components
  enqueue.stopChild(stepId(event.step.slot))
  enqueue.assign({
    memory: stepDone(context.memory, event.step, event.result, now(), listsBegun, random())
  })
})

const noteStepFailed = base.enqueueActions(({ context, event, enqueue }) => {
  if (event.type !== 'step.failed') return
  const { step, failure } = event
  const { components, listsBegun, memory } = context
  const { now, random, log } = components
  if (!failure.cancelled)
    log.warn({ slot: step.slot, error: failure.sentence }, `step ${step.kind} failed`)
  enqueue.stopChild(stepId(step.slot))
  enqueue.assign({ memory: stepFailed(memory, step, failure, now(), listsBegun, random()) })
})

/** Where to go when what the engine shows may have changed since it was listed. */
const outdates = <const T extends string>(target: T) => ({
  'container.changed': target,
  'step.done': { guard: changesContainers, target },
  'step.failed': { guard: changesContainers, target }
})

export const agentMachine = base.createMachine({
  id: 'agent',
  context: ({ input }) => ({
    components: input,
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
  }),
  type: 'parallel',
  on: {
    'view.changed': { actions: [assign({ view: ({ event }) => event.state }), 'noteClocks', act] },
    'gossip.changed': { guard: 'waits', actions: act },
    'peers.changed': { actions: [assign({ alive: ({ event }) => event.alive }), 'noteClocks', act] }
  },
  states: {
    engine: {
      initial: 'loading',
      states: {
        loading: {
          invoke: {
            src: 'loadMemory',
            input: ({ context }) => context.components,
            onDone: {
              target: 'connecting',
              actions: [{ type: 'recall', params: ({ event }) => event.output }, 'noteClocks']
            },
            onError: {
              target: 'connecting',
              actions: {
                type: 'logError',
                params: ({ event }) => ({
                  message: 'the restart counts could not be read; they start again',
                  error: event.error
                })
              }
            }
          }
        },
        connecting: {
          invoke: {
            src: 'openEngine',
            input: ({ context }) => context.components,
            onDone: [
              { guard: ({ event }) => event.output === null, target: 'none' },
              {
                target: 'working',
                actions: assign({
                  engine: ({ event }) => event.output?.engine ?? null,
                  info: ({ event }) => event.output?.info ?? null
                })
              }
            ],
            onError: {
              target: 'waiting',
              actions: { type: 'reportEngine', params: ({ event }) => ({ error: event.error }) }
            }
          }
        },
        waiting: {
          entry: assign({ attempts: ({ context }) => context.attempts + 1 }),
          after: { reconnect: 'connecting' }
        },
        /** This node runs no containers, by choice. */
        none: { entry: [{ type: 'reportEngine', params: { error: null } }, 'publishNothing'] },
        working: {
          entry: { type: 'reportEngine', params: { error: null } },
          exit: 'forgetEngine',
          invoke: { src: 'watchEngine', input: ({ context }) => context },
          on: {
            'engine.lost': {
              target: 'waiting',
              actions: { type: 'reportEngine', params: ({ event }) => ({ error: event.error }) }
            }
          },
          type: 'parallel',
          states: {
            inventory: {
              initial: 'opening',
              states: {
                /** Watched before it is listed: what changes in between would be missed. */
                opening: { on: { 'engine.watched': 'listing' } },
                listing: {
                  entry: assign({ listsBegun: ({ context }) => context.listsBegun + 1 }),
                  invoke: {
                    src: 'listContainers',
                    input: ({ context }) => ({
                      engine: opened(context),
                      number: context.listsBegun,
                      at: context.components.now()
                    }),
                    onDone: [
                      {
                        guard: stateIn('#outdated'),
                        target: 'gathering',
                        actions: [{ type: 'noteList', params: ({ event }) => event.output }, act]
                      },
                      {
                        target: 'current',
                        actions: [{ type: 'noteList', params: ({ event }) => event.output }, act]
                      }
                    ],
                    onError: {
                      actions: raise(({ event }) => ({ type: 'engine.lost', error: event.error }))
                    }
                  },
                  initial: 'fresh',
                  states: {
                    fresh: { on: outdates('outdated') },
                    outdated: { id: 'outdated' }
                  }
                },
                current: { on: outdates('gathering'), after: { relist: 'listing' } },
                gathering: { after: { gather: 'listing' } }
              }
            },
            duty: {
              on: {
                'step.told': {
                  actions: [
                    assign({
                      memory: ({ context, event }) =>
                        stepTold(context.memory, event.step.slot, event.phase)
                    }),
                    act
                  ]
                },
                'step.done': { actions: [noteStepDone, act] },
                'step.failed': { actions: [noteStepFailed, act] },
                'health.checked': {
                  actions: [
                    assign({
                      memory: ({ context, event }) =>
                        healthNoted(context.memory, event.slot, event.id, event.health)
                    }),
                    act
                  ]
                },
                alarm: { actions: act }
              }
            }
          }
        }
      }
    },
    memory: {
      initial: 'saved',
      states: {
        saved: { always: { guard: 'isUnsaved', target: 'settling' } },
        settling: { after: { saveAfter: 'saving' } },
        saving: {
          invoke: {
            src: 'saveMemory',
            input: ({ context: { components, memory, published, durable, clocks } }) => ({
              components,
              memory: {
                ...toSaved(memory, published?.containers ?? [], components.now()),
                ...clocks
              },
              durable
            }),
            onDone: { target: 'saved', actions: assign({ saved: ({ event }) => event.output }) },
            onError: {
              target: 'failed',
              actions: {
                type: 'logError',
                params: ({ event }) => ({
                  message: 'the restart counts could not be saved',
                  error: event.error
                })
              }
            }
          }
        },
        failed: { after: { saveAgain: 'saving' } }
      }
    }
  }
})

function changesContainers({ event }: { event: { step: Step } }): boolean {
  return event.step.kind !== 'ask'
}

function opened({ engine }: AgentContext): Engine {
  if (engine === null) throw new Error('used before it was opened')
  return engine
}

const stepId = (slot: string): string => `step ${slot}`
const checkId = (container: string): string => `health ${container}`

function isAlone({ components: { self }, view, alive }: AgentContext): boolean {
  const others = [...(view?.nodes.values() ?? [])].filter(
    (n) => n.id !== self && n.state === 'member' && !n.lost
  )
  return others.length > 0 && !others.some(({ id }) => alive.has(id))
}

/** A view without a mesh record is not loaded yet: nothing may be removed for not being in it. */
const isLoaded = (view: State | null): view is State => view !== null && view.mesh !== null

function worldOf(context: AgentContext): World | null {
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

/** What of the clocks outlives the daemon: of how long it is alone only what something here waits for. */
function clocksOf(
  { alone, drain, components: { self, boot } }: AgentContext,
  world: World
): Clocks {
  const { now, view } = world
  const refs = slotsOf(world).map(([, ref]) => ref)
  const longest = alone === null ? null : longestAlone(refs, view, self)
  return {
    ...(alone !== null &&
      longest !== null && { alone: toLasting(alone.since, aloneMs(alone, now), longest, boot) }),
    ...(drain && {
      drained: {
        op: drain.op,
        ...toLasting(drain.since, now - drain.since, drain.deadlineMs, boot)
      }
    })
  }
}

/** The running containers whose health is to be checked, by id; `check` is null for one that is known. */
function checksDue(
  world: World,
  checked: ReadonlyMap<string, string>
): Map<string, { slot: string; check: Healthcheck | null }> {
  const due = new Map<string, { slot: string; check: Healthcheck | null }>()
  for (const container of world.containers) {
    const slot = slotKey(container)
    const known = world.view.microservices.get(`${container.application}/${container.microservice}`)
    // Of two containers of a slot the one that is to stay.
    const placed = world.view.placements.get(slot)?.revision
    if (container.revision !== placed && runsAt(world, slot, placed)) continue
    const record = known && (recordAt(world.view, known, container.revision) ?? known)
    const step = world.memory.slots.get(slot)?.step
    if (container.state !== 'running' || !record) continue
    if (step && step.kind !== 'ask') continue
    if (record.revision !== container.revision) {
      if (checked.has(container.id)) due.set(container.id, { slot, check: null })
    } else if (record.spec.healthcheck)
      due.set(container.id, { slot, check: record.spec.healthcheck })
  }
  return due
}

const runsAt = (world: World, slot: string, revision: string | undefined): boolean =>
  world.containers.some(
    (c) => c.state === 'running' && c.revision === revision && slotKey(c) === slot
  )

const statesIn = (saved: SavedMemory | null): Reported =>
  new Map(
    Object.entries(saved?.slots ?? {}).flatMap(([key, { state, since }]) =>
      state === null || since === null ? [] : [[key, { state, since }]]
    )
  )
