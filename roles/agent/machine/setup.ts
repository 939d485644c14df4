/** What the page of the Agent's machine names: its actors, guards, delays, and what it does. */
import { assign, enqueueActions, setup } from 'xstate'
import { delayMs } from '../../../core/backoff.ts'
import { sentenceOf } from '../../../core/errors.ts'
import { slotKey } from '../../../core/state/state.ts'
import { CONNECT } from '../backoff.ts'
import { spansNow } from '../clocks.ts'
import type { AgentComponents } from '../components.ts'
import {
  EMPTY_MEMORY,
  engineLost,
  fromSaved,
  listed,
  stepDone,
  stepFailed,
  type SavedMemory
} from '../memory.ts'
import { pass } from '../pass.ts'
import { reportedIn } from '../report.ts'
import {
  listContainers,
  loadMemory,
  openEngine,
  saveMemory,
  takeStep,
  watchEngine,
  type List
} from './actors.ts'
import { isLoaded, worldOf, type AgentContext, type AgentEvent } from './context.ts'
import { checkHealth } from './health-check.ts'

/** How long news of containers are gathered before the engine is listed. */
const GATHER_MS = 10
/** An event may have been missed: list anyway. */
const RELIST_MS = 60_000
const SAVE_AFTER_MS = 250
const SAVE_AGAIN_MS = 10_000

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
      reported: (_, saved: SavedMemory | null) => reportedIn(saved),
      recalled: (_, saved: SavedMemory | null) => saved
    }),
    noteClocks: assign(({ context }) => {
      const { view, alive, recalled, components } = context
      if (!isLoaded(view)) return {}
      const { self, boot } = components
      const clock = { boot, now: components.now() }
      return { ...spansNow(context, recalled, { self, view, alive }, clock), recalled: null }
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
    changesContainers: ({ event }) => 'step' in event && event.step.kind !== 'ask',
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

/** What a pass says is done, and told if it is new. */
const act = base.enqueueActions(({ context, enqueue }) => {
  const world = worldOf(context)
  const { components, engine, checked, published } = context
  if (world === null || engine === null) return
  const { boot, random, log } = components
  const { steps, memory, checks, status, clocks, durable, needsList, againInMs } = pass(
    world,
    context,
    { boot, wallNow: components.wallNow(), random }
  )
  for (const step of steps) {
    log.info({ slot: step.slot, reason: step.reason }, `step ${step.kind}`)
    const id = stepId(step.slot)
    if (step.kind === 'cancel') enqueue.sendTo(id, { type: 'cancel' })
    else enqueue.spawnChild('takeStep', { id, input: { step, engine, components } })
  }

  for (const id of checked.keys()) if (!checks.has(id)) enqueue.stopChild(checkId(id))
  for (const [id, { slot, check }] of checks)
    if (!checked.has(id) && check !== null)
      enqueue.spawnChild('checkHealth', {
        id: checkId(id),
        input: { slot, id, check, engine, now: components.now }
      })

  const isNews = JSON.stringify(status) !== JSON.stringify(published)
  enqueue.assign({
    memory,
    checked: new Map([...checks].map(([id, { slot }]) => [id, slot])),
    reported: new Map(status.containers.map((s) => [slotKey(s), s])),
    durable,
    clocks,
    published: isNews ? status : published
  })
  if (isNews) enqueue(() => components.publishStatus(status))

  if (needsList) enqueue.raise({ type: 'container.changed' })
  enqueue.cancel('alarm')
  if (againInMs !== null) enqueue.raise({ type: 'alarm' }, { id: 'alarm', delay: againInMs })
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

export const agentSetup = base.extend({ actions: { act, noteStepDone, noteStepFailed } })

const stepId = (slot: string): string => `step ${slot}`
const checkId = (container: string): string => `health ${container}`
