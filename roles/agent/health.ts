/** What a row of health checks says about one running container. Pure: `machine.ts` has the timers. */
import type { Healthcheck } from '../../core/state/microservices.ts'

export interface Health {
  /** null until the first success, or until `retries` failures that count. */
  healthy: boolean | null
  /** Failures in a row that count. */
  failures: number
  /** Boot ms when this run was first seen. */
  since: number
}

export type CheckResult = 'passed' | 'failed'

export const unknownHealth = (now: number): Health => ({ healthy: null, failures: 0, since: now })

/** The health after one more check. Failures in the start period do not count, a success ends it. */
export function afterCheck(
  health: Health,
  check: Healthcheck,
  result: CheckResult,
  now: number
): Health {
  if (result === 'passed') return { ...health, healthy: true, failures: 0 }
  if (isStarting(health, check, now)) return health
  const failures = health.failures + 1
  return { ...health, failures, healthy: failures >= check.retries ? false : health.healthy }
}

/**
 * Ms until the next check. Before the first success it looks again after a quarter of the time it has
 * waited: ready is seen early, and what takes long to start is not asked all the time.
 */
export function nextCheckMs(health: Health, check: Healthcheck, now: number): number {
  if (!isStarting(health, check, now)) return check.intervalMs
  return Math.min(check.intervalMs, Math.max(FIRST_CHECK_MS, Math.round((now - health.since) / 4)))
}

/** The argument vector to run inside the container. */
export function checkCommand(check: Healthcheck): string[] {
  return check.shell ? ['/bin/sh', '-c', ...check.command] : check.command
}

const FIRST_CHECK_MS = 150

function isStarting(health: Health, check: Healthcheck, now: number): boolean {
  return health.healthy === null && now - health.since < check.startPeriodMs
}
