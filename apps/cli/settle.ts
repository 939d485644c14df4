/** Waits until what was asked for has come true, and shows how it goes. */
import { setTimeout as delay } from 'node:timers/promises'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type {
  DeployResult,
  DescribeJson,
  EventJson,
  LogJson,
  RolloutJson,
  WatchedReplica
} from '../api.ts'
import { commandFor, withQuery } from '../client.ts'
import { createJudge, isUp, type Goal, type Verdict } from './judge.ts'
import { oneLine, replicaName } from './print.ts'
import { createProgress } from './progress.ts'
import { DetailedError, type Context } from './verb.ts'

export interface Patience {
  /** Gives up when nothing has changed for so long, ms. */
  timeoutMs: number
  /** `deploying`: what goes on when the person leaves. */
  doing: string
}

const TICK_MS = 250
const LOG_LINES = 10

/**
 * @throws BrumeError REPLICA_FAILED (exit code 1) with the last lines of its log; TIMEOUT (3);
 * INTERRUPTED (130): it goes on without us.
 */
export async function settle(goal: Goal, patience: Patience, context: Context): Promise<void> {
  const judge = createJudge(goal)
  const startMs = performance.now()
  const progress = createProgress(context.err, startMs)
  const interrupt = context.interrupt()
  const stop = new AbortController()
  const path = withQuery('/watch', { application: goal.application })
  const watch = context.client.events(path, { signal: stop.signal })
  const pull = (): Promise<Next> => {
    const next = watch.next()
    // The one that is still open when we leave is rejected by `stop`, with nobody waiting for it.
    next.catch(() => {})
    return next
  }
  let rows: WatchedReplica[] | null = null
  let rollouts: RolloutJson[] = []
  let changedMs = startMs
  try {
    let next = pull()
    for (;;) {
      const event = await firstOf(next, interrupt)
      if (interrupt.aborted) throw left(goal, patience, context)
      const nowMs = performance.now()
      if (event !== null) {
        if (event.done === true) throw ended(goal, context)
        next = pull()
        if (event.value.event === 'events') {
          for (const { text } of event.value.data as EventJson[]) progress.tell(text, nowMs)
        }
        if (event.value.event === 'rollouts') {
          rollouts = (event.value.data as RolloutJson[]).filter((r) => isOf(r, goal))
          for (const rollout of rollouts) mustGoOn(rollout, context)
          changedMs = nowMs
        }
        if (event.value.event === 'replicas') {
          const seen = event.value.data as WatchedReplica[]
          if (rows === null || !sameStates(rows, seen)) changedMs = nowMs
          rows = seen
        }
      }
      if (rows === null) continue
      const shown = rows.filter((row) => goal.microservices.has(row.microservice))
      progress.show(shown, nowMs)
      const verdict = judge.see(rows, nowMs)
      const canaries = rollouts.filter(({ awaitsPromotion }) => awaitsPromotion)
      // While one is under way the leader judges: it waits longer, and says what comes of it.
      const isRolling = rollouts.some((r) => r.state === 'running' && !r.awaitsPromotion)
      if (!isRolling && (verdict.kind === 'done' || canaries.length > 0)) {
        for (const rollout of canaries) tellCanaries(rollout, context)
        // The result follows on the same screen; elsewhere the picture is all there is to see.
        if (context.out.isTTY && !context.json) progress.clear()
        return
      }
      if (!isRolling && verdict.kind === 'failed') throw await failed(verdict, context)
      if (nowMs - changedMs > patience.timeoutMs) throw timedOut(goal, shown, patience, context)
    }
  } finally {
    progress.end()
    stop.abort(new Error('no longer watched'))
    await watch.return()
  }
}

/** What a request asked for, by what the mesh has of it now. */
export async function goalOf(
  { application, changes, offline }: DeployResult,
  { client }: Context
): Promise<Goal> {
  const { microservices: known } = await client.get<DescribeJson>(
    withQuery('/describe', { ref: application })
  )
  const touched = known.filter(({ name }) => changes.some((c) => c.microservice === name))
  return {
    application,
    microservices: new Map(
      touched.map(({ name, spec }) => [name, spec.stopped === true ? 0 : spec.replicas])
    ),
    revisions: revisionsOf(changes),
    exact: true,
    offline
  }
}

export const revisionsOf = (changes: DeployResult['changes']): Map<string, string> =>
  new Map(
    changes.flatMap(({ microservice, change, revision }) =>
      change === 'updated' && revision !== null ? [[microservice, revision] as const] : []
    )
  )

function tellCanaries(
  { application, microservice, up }: RolloutJson,
  { err, dataDir }: Context
): void {
  const next = commandFor(dataDir, `rollout promote ${application}/${microservice}`)
  err.write(`${application}/${microservice}: ${up} run the new revision and wait: ${next}\n`)
}

const isOf = ({ microservice, revision }: RolloutJson, { revisions }: Goal): boolean =>
  revisions.get(microservice) === revision

/** @throws BrumeError ROLLED_BACK, ROLLOUT_PAUSED (exit code 1) with the last lines of what failed. */
function mustGoOn(
  { application, microservice, revision, state, reason, log }: RolloutJson,
  { dataDir }: Context
): void {
  const name = `${application}/${microservice}`
  const why = oneLine(reason ?? 'somebody said so')
  const next = commandFor(dataDir, `rollout status ${name}`)
  if (state === 'rolledBack') {
    const what = `${name}: revision ${revision.slice(0, 8)} failed and was rolled back: ${why}`
    throw new DetailedError('ROLLED_BACK', what, log, { next })
  }
  if (state === 'paused') {
    const what = `${name}: the rollout of ${revision.slice(0, 8)} is paused: ${why}`
    throw new DetailedError('ROLLOUT_PAUSED', what, log, { next })
  }
}

type Next = Awaited<ReturnType<ReturnType<Context['client']['events']>['next']>>

/** The next event, or null after a tick: time alone can decide too. */
async function firstOf(next: Promise<Next>, interrupt: AbortSignal): Promise<Next | null> {
  const over = new AbortController()
  const tick = delay(TICK_MS, null, { signal: AbortSignal.any([over.signal, interrupt]) })
  try {
    return await Promise.race([next, tick.catch(() => null)])
  } finally {
    over.abort()
  }
}

function sameStates(a: WatchedReplica[], b: WatchedReplica[]): boolean {
  const facts = (rows: WatchedReplica[]): string =>
    JSON.stringify(
      rows.map((r) => [replicaName(r), r.node, r.state, r.healthy, r.revision, r.reason])
    )
  return facts(a) === facts(b)
}

async function failed(
  { replica, cause }: Extract<Verdict, { kind: 'failed' }>,
  context: Context
): Promise<BrumeError> {
  const name = replicaName(replica)
  const where = replica.node === null ? '' : ` on ${replica.node}`
  const log = await lastLines(name, context)
  const verb =
    log.length > 0 ? `logs ${name}` : `describe ${replica.application}/${replica.microservice}`
  return new DetailedError('REPLICA_FAILED', `${name} failed${where}: ${oneLine(cause)}`, log, {
    next: commandFor(context.dataDir, verb)
  })
}

/** What failed may have no log, or its node may be gone: the cause is said either way. */
async function lastLines(name: string, { client }: Context): Promise<string[]> {
  const lines: string[] = []
  const path = withQuery('/logs', { ref: name, tail: String(LOG_LINES) })
  try {
    for await (const { line } of client.lines<LogJson>(path, { silentMs: 5_000 })) lines.push(line)
  } catch (error) {
    if (!(error instanceof BrumeError)) throw error
    if (lines.length === 0) lines.push(`(no log: ${sentenceOf(error)})`)
  }
  return lines.slice(-LOG_LINES)
}

function timedOut(
  goal: Goal,
  rows: WatchedReplica[],
  { timeoutMs }: Patience,
  { dataDir }: Context
): BrumeError {
  const open = rows.filter((row) => row.wanted === null || !isUp(row))
  const named = open.slice(0, 3).map((r) => {
    const why = r.reason === null ? '' : ` (${oneLine(r.reason)})`
    return `${replicaName(r)} is ${r.state}${why}`
  })
  const more = open.length > 3 ? [`and ${open.length - 3} more`] : []
  const what = open.length === 0 ? ['not every replica has a place yet'] : [...named, ...more]
  return new BrumeError(
    'TIMEOUT',
    `${goal.application}: nothing has changed for ${timeoutMs / 1000} s: ${what.join(', ')}`,
    { next: commandFor(dataDir, `ps ${goal.application}`), exitCode: 3 }
  )
}

function left(goal: Goal, { doing }: Patience, { dataDir }: Context): BrumeError {
  const look = commandFor(dataDir, `ps ${goal.application}`)
  return new BrumeError('INTERRUPTED', `still ${doing}; ${look}`, { exitCode: 130 })
}

function ended(goal: Goal, { dataDir }: Context): BrumeError {
  return new BrumeError(
    'DAEMON_LOST',
    `the daemon stopped; ${goal.application} goes on as it was asked for`,
    { next: commandFor(dataDir, 'up') }
  )
}
