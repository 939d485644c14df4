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

/** Ms until the next check. Before the first success it looks more often, so that ready is seen early. */
export function nextCheckMs(health: Health, check: Healthcheck, now: number): number {
  return isStarting(health, check, now)
    ? Math.min(check.intervalMs, STARTING_INTERVAL_MS)
    : check.intervalMs
}

/** The argument vector to run inside the container. */
export function checkCommand(check: Healthcheck): string[] {
  return check.shell ? ['/bin/sh', '-c', ...check.command] : check.command
}

const STARTING_INTERVAL_MS = 500

function isStarting(health: Health, check: Healthcheck, now: number): boolean {
  return health.healthy === null && now - health.since < check.startPeriodMs
}
