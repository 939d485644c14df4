/** Decides, from what a watch shows, whether what was asked for has come true. Pure: time comes in. */
import type { WatchedReplica } from '../api.ts'
import { replicaName } from './print.ts'

export interface Goal {
  application: string
  /** How many slots each microservice must show; `all`: at least one. Others are not looked at. */
  microservices: Map<string, number | 'all'>
  /** The revision each was given, where it was given one: a rollout of it is waited for. */
  revisions: Map<string, string>
  /** Nothing else of these microservices may be left. */
  exact: boolean
  /** Names of nodes that cannot be reached: what they have is not waited for. */
  offline: string[]
}

export type Verdict =
  { kind: 'going' } | { kind: 'done' } | { kind: 'failed'; replica: WatchedReplica; cause: string }

export interface Judge {
  /** @param nowMs monotonic. */
  see(rows: WatchedReplica[], nowMs: number): Verdict
}

/** A failure that stays this long is one; shorter ones are retried by the Agent or moved. */
const FAILED_FOR_MS = 2_000
const UNHEALTHY_FOR_MS = 10_000
/** A replica that failed or died this often will not come up by waiting. */
const MAX_FAILURES = 3

interface History {
  failing: boolean
  failures: number
  /** Since when it fails, or is unhealthy, without a break; null while it does not. */
  failingSince: number | null
  unhealthySince: number | null
  /** The last reason it gave: the next state may have none. */
  reason: string | null
}

export function createJudge(goal: Goal): Judge {
  const histories = new Map<string, History>()
  return {
    see(rows, nowMs) {
      const mine = rows.filter((row) => goal.microservices.has(row.microservice))
      const offline = (row: WatchedReplica): boolean =>
        row.node !== null && goal.offline.includes(row.node)
      for (const replica of mine.filter((row) => row.wanted !== null && !offline(row))) {
        const cause = failureOf(replica, recall(histories, replica, nowMs), nowMs)
        if (cause !== null) return { kind: 'failed', replica, cause }
      }
      const waited = mine.filter((row) => !offline(row) && !isAtRest(row))
      const rest = waited.filter((row) => row.wanted === null && row.state !== 'unknown')
      const here = waited.every((row) => row.wanted === null || isUp(row))
      const complete = [...goal.microservices].every(([name, count]) => hasSlots(mine, name, count))
      const clean = !goal.exact || rest.length === 0
      return { kind: here && complete && clean ? 'done' : 'going' }
    }
  }
}

/** It runs what it should, and its health, where anybody looks, is good. */
export function isUp(row: WatchedReplica): boolean {
  if (row.state !== 'running' || row.revision !== row.wanted) return false
  return row.checked ? row.healthy === true : row.healthy !== false
}

/** It runs nowhere, because somebody stopped it. */
const isAtRest = (row: WatchedReplica): boolean => row.state === 'stopped' && row.node === null

function hasSlots(rows: WatchedReplica[], microservice: string, count: number | 'all'): boolean {
  const slots = new Set(
    rows.filter((r) => r.microservice === microservice && r.wanted !== null).map((r) => r.slot)
  )
  return count === 'all' ? slots.size > 0 : slots.size >= count
}

/** INVARIANT: called once for every row of every look. */
function recall(histories: Map<string, History>, row: WatchedReplica, nowMs: number): History {
  // A slot that moves starts anew: the next node may do better.
  const key = `${replicaName(row)} ${row.node} ${row.wanted}`
  const past = histories.get(key)
  const failing = row.state === 'failed' || row.state === 'restarting'
  const unhealthy = row.state === 'running' && row.healthy === false
  const history: History = {
    failing,
    failures: (past?.failures ?? 0) + (failing && past?.failing !== true ? 1 : 0),
    failingSince: row.state === 'failed' ? (past?.failingSince ?? nowMs) : null,
    unhealthySince: unhealthy ? (past?.unhealthySince ?? nowMs) : null,
    reason: row.reason ?? past?.reason ?? null
  }
  histories.set(key, history)
  return history
}

function failureOf(row: WatchedReplica, history: History, nowMs: number): string | null {
  const { failures, failingSince, unhealthySince } = history
  const reason = history.reason ?? 'it gave no reason'
  if (failures >= MAX_FAILURES) return `failed ${failures} times: ${reason}`
  if (failingSince !== null && nowMs - failingSince >= FAILED_FOR_MS) return reason
  if (unhealthySince !== null && nowMs - unhealthySince >= UNHEALTHY_FOR_MS) {
    return `runs but is unhealthy: ${row.reason ?? 'its healthcheck fails'}`
  }
  return null
}
