/**
 * Which running containers are checked, and what a row of checks says about one. Pure:
 * `machine/health-check.ts` has the timers.
 */
import type { Healthcheck } from '../../core/state/microservices.ts'
import { recordAt } from '../../core/state/rollouts.ts'
import { slotKey } from '../../core/state/state.ts'
import type { World } from './memory.ts'

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
 * Ms until the next check. Before the first success it looks again after an eighth of the time it has
 * waited: ready is seen early, and what takes long to start is not asked all the time.
 */
export function nextCheckMs(health: Health, check: Healthcheck, now: number): number {
  if (!isStarting(health, check, now)) return check.intervalMs
  return Math.min(check.intervalMs, Math.max(FIRST_CHECK_MS, Math.round((now - health.since) / 8)))
}

export interface CheckDue {
  /** Slot key. */
  slot: string
  /** null: it goes on as it was begun. */
  check: Healthcheck | null
}

/** The running containers whose health is to be checked, by id. */
export function checksDue(
  world: World,
  checked: ReadonlyMap<string, string>
): Map<string, CheckDue> {
  const due = new Map<string, CheckDue>()
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

/** The argument vector to run inside the container. */
export function checkCommand(check: Healthcheck): string[] {
  return check.shell ? ['/bin/sh', '-c', ...check.command] : check.command
}

const FIRST_CHECK_MS = 150

function isStarting(health: Health, check: Healthcheck, now: number): boolean {
  return health.healthy === null && now - health.since < check.startPeriodMs
}

const runsAt = (world: World, slot: string, revision: string | undefined): boolean =>
  world.containers.some(
    (c) => c.state === 'running' && c.revision === revision && slotKey(c) === slot
  )
