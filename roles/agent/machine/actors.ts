/** What the Agent's machine invokes and spawns: each thing it waits for, as an actor. */
import { fromCallback, fromPromise, type EventObject } from 'xstate'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import type { AgentComponents } from '../components.ts'
import type { Engine, EngineContainer, EngineInfo, EngineVolume } from '../engine.ts'
import type { SavedMemory } from '../memory.ts'
import { failureOf, runStep, type Step } from '../steps.ts'
import { opened, type AgentContext } from './context.ts'

export type Opened = { engine: Engine; info: EngineInfo } | null

export const openEngine = fromPromise<Opened, AgentComponents>(async ({ input }) => {
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
export const watchEngine = fromCallback<EventObject, AgentContext>(({ input, sendBack }) => {
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

export interface List {
  containers: readonly EngineContainer[]
  volumes: readonly EngineVolume[]
  /** How many were begun till then. */
  number: number
  /** When it was begun, boot ms. */
  at: number
}

export const listContainers = fromPromise<List, { engine: Engine; number: number; at: number }>(
  async ({ input: { engine, number, at } }) => {
    const [containers, volumes] = await Promise.all([engine.list(), engine.volumes()])
    return { containers, volumes, number, at }
  }
)

export const takeStep = fromCallback<
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

export const loadMemory = fromPromise<SavedMemory | null, AgentComponents>(({ input }) =>
  input.store.load()
)
export const saveMemory = fromPromise<
  string,
  { components: AgentComponents; memory: SavedMemory; durable: string }
>(async ({ input }) => {
  await input.components.store.save(input.memory)
  return input.durable
})
