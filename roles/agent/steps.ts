/**
 * What the Agent can do, and how each is done. A step is data, with the reason it is taken for;
 * `diff` plans steps, `runStep` takes them. Each may be cut short between any two of its calls
 * (the node loses power) and is then planned again from what the engine shows.
 */
import type { Bundle } from '../../core/state/microservices.ts'
import type { OpId } from '../../core/state/records.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { FETCH, RESTART } from './backoff.ts'
import type { AgentComponents } from './components.ts'
import type { SlotRef } from './duty.ts'
import type { ContainerSpec, Engine } from './engine.ts'
import type { StepFailure, StepResult } from './memory.ts'
import { imageAbsent } from './missing.ts'

interface StepFields {
  /** Files, image, container; and its start, unless another copy has to end first. */
  create: {
    revision: string
    spec: Omit<ContainerSpec, 'filesDir' | 'resolver'>
    files: Bundle | null
    /** Whether an image that is not there may be fetched. */
    pulls: boolean
    start: boolean
  }
  start: { revision: string; id: string }
  /** Ends a run that is no use and begins another of the same container. */
  restart: { revision: string; id: string }
  /** Ends and removes. */
  stop: { ids: string[] }
  /** Removes what does not run. */
  remove: { ids: string[] }
  /** Asks `node` whether it runs the slot healthily under `placement`. */
  ask: { node: string; placement: OpId }
  /** Calls off the slot's step in flight. */
  cancel: object
}

export type StepKind = keyof StepFields
export type StepOf<K extends StepKind> = {
  kind: K
  /** Slot key. */
  slot: string
  ref: SlotRef
  /** Why, in one sentence. */
  reason: string
} & StepFields[K]
export type Step = { [K in StepKind]: StepOf<K> }[StepKind]

export interface StepContext extends Pick<
  AgentComponents,
  'filesDir' | 'resolver' | 'serviceEnv' | 'drained' | 'asksRuns'
> {
  engine: Engine
  /** Aborts when the step is called off. */
  signal: AbortSignal
  tell: (phase: 'pulling' | 'starting') => void
}

/** Rejects as the engine does, or with the signal's reason. */
export function runStep(step: Step, context: StepContext): Promise<StepResult> {
  const execute = executors[step.kind] as (step: Step, context: StepContext) => Promise<StepResult>
  return execute(step, context)
}

/** What a rejection of `runStep` means for the next try. */
export function failureOf(error: unknown, signal: AbortSignal): StepFailure {
  const code = error instanceof BrumeError ? error.code : null
  const fetching = code === 'IMAGE_MISSING' || error instanceof FetchFailed
  return {
    sentence: sentenceOf(error),
    policy: fetching ? FETCH : RESTART,
    excused: code === 'ENGINE_UNREACHABLE' || code === 'ENGINE_FORBIDDEN',
    cancelled: signal.aborted
  }
}

/** How long a container may take to end before it is ended. */
const STOP_GRACE_MS = 10_000
/** Files that are here already take less: nobody need hear that they are being fetched. */
const FETCH_QUIET_MS = 250

const executors: {
  [K in StepKind]: (step: StepOf<K>, context: StepContext) => Promise<StepResult>
} = {
  async create(step, context) {
    const { engine, signal, tell } = context
    const filesDir = step.files ? await fetchFiles(step.files, context) : null
    signal.throwIfAborted()
    const spec = { ...step.spec, filesDir, ...(await waysOut(step, context)) }
    const id = await engine.create(spec).catch(async (error: unknown) => {
      if (!isImageMissing(error) || spec.image === null) throw error
      if (!step.pulls) throw imageAbsent(spec.image, error)
      tell('pulling')
      await fetching(engine.pull(spec.image, signal), signal)
      tell('starting')
      return engine.create(spec)
    })
    return step.start ? startUnlessCalledOff(id, context) : {}
  },

  start: (step, context) => startUnlessCalledOff(step.id, context),

  async restart(step, { engine }) {
    await engine.stop(step.id, STOP_GRACE_MS)
    await engine.start(step.id)
    return { started: step.id }
  },

  async stop(step, { engine, drained }) {
    await drained(step.ids)
    await Promise.all(
      step.ids.map(async (id) => {
        await engine.stop(id, STOP_GRACE_MS)
        await engine.remove(id)
      })
    )
    return {}
  },

  async remove(step, { engine }) {
    await Promise.all(step.ids.map((id) => engine.remove(id)))
    return {}
  },

  async ask(step, { asksRuns, signal }) {
    return { yes: await unlessAborted(asksRuns(step.node, step.slot, step.placement), signal) }
  },

  async cancel() {
    throw new Error('cancel is the machine’s to do: it has the steps in flight')
  }
}

/** How it reaches other microservices: a container asks for names, a process asks its machine. */
async function waysOut(
  { ref, spec: { env } }: StepOf<'create'>,
  { engine, signal, resolver, serviceEnv }: StepContext
): Promise<Pick<ContainerSpec, 'resolver' | 'env'>> {
  if (engine.kind === 'docker') return { resolver: await unlessAborted(resolver(), signal), env }
  const services = await unlessAborted(serviceEnv(ref), signal)
  return { resolver: null, env: { ...services, ...env } }
}

/** What comes up though nobody waits for it any more is ended at once: it was never relied on. */
async function startUnlessCalledOff(
  id: string,
  { engine, signal }: StepContext
): Promise<StepResult> {
  signal.throwIfAborted()
  await engine.start(id)
  if (signal.aborted) {
    await engine.stop(id, STOP_GRACE_MS)
    await engine.remove(id)
  }
  signal.throwIfAborted()
  return { started: id }
}

async function fetchFiles(files: Bundle, context: StepContext): Promise<string> {
  const { filesDir, signal, tell } = context
  let told = false
  const timer = setTimeout(() => {
    told = true
    tell('pulling')
  }, FETCH_QUIET_MS)
  try {
    return await fetching(filesDir(files, signal), signal)
  } finally {
    clearTimeout(timer)
    if (told) tell('starting')
  }
}

/** What failed comes from elsewhere: the next try may wait longer. */
class FetchFailed extends Error {}

async function fetching<T>(fetched: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await unlessAborted(fetched, signal)
  } catch (cause) {
    throw new FetchFailed(sentenceOf(cause), { cause })
  }
}

/** Does not wait for a promise that heeds no signal. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let abort: () => void = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

const isImageMissing = (error: unknown): boolean =>
  error instanceof BrumeError && error.code === 'IMAGE_MISSING'
