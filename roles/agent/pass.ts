/**
 * One pass of the Agent: from all it knows to the steps it takes, the health checks that run, and what
 * it tells and saves. Pure; the machine does what it says.
 */
import type { StatusBody } from '../../core/gossip-records.ts'
import { searchEndsIn } from './alone.ts'
import { clocksOf, type Clocks, type Spans } from './clocks.ts'
import { diff } from './diff.ts'
import { overdueIn } from './drain.ts'
import type { EngineVolume } from './engine.ts'
import { checksDue, type CheckDue } from './health.ts'
import { observe, stepBegun, stepCancelled, toSaved, type Memory, type World } from './memory.ts'
import { report, volumesTold, type Reported } from './report.ts'
import type { Step } from './steps.ts'

/** What is known beside the world. */
export interface PassInput extends Spans {
  volumes: readonly EngineVolume[]
  reported: Reported
  /** Containers whose health is checked, by id: the slot each is of. */
  checked: ReadonlyMap<string, string>
}

export interface Pass {
  /** In their order. */
  steps: readonly Step[]
  /** With these steps begun, or called off. */
  memory: Memory
  /** The health checks that are to run, by container id. */
  checks: ReadonlyMap<string, CheckDue>
  status: StatusBody
  clocks: Clocks
  /** What of memory and clocks outlives the daemon: another string where that is another. */
  durable: string
  /** As `diff` says. */
  needsList: boolean
  /** When time alone makes another pass worth it; null: never. */
  againInMs: number | null
}

export function pass(
  world: World,
  input: PassInput,
  { boot, wallNow, random }: { boot: string; wallNow: number; random: () => number }
): Pass {
  const observed = observe(world, random)
  const plan = diff({ ...world, memory: observed })
  const memory = plan.steps.reduce(begun, observed)
  const after = { ...world, memory }

  const { alone, drain } = input
  const overdueMs = drain && overdueIn(drain, world.now)
  const status: StatusBody = {
    ...report(after, input.reported, wallNow),
    ...volumesTold(input.volumes),
    ...(drain && overdueMs === 0 && { overdue: drain.op })
  }
  const clocks = clocksOf(input, world, boot)
  const { slots } = toSaved(memory, status.containers, 0)
  const searchMs = alone && searchEndsIn(alone, world.now)
  const times = [plan.againInMs, overdueMs, searchMs].filter((ms) => ms !== null && ms > 0)
  return {
    steps: plan.steps,
    memory,
    checks: checksDue(after, input.checked),
    status,
    clocks,
    durable: JSON.stringify([slots, [...memory.revisions], clocks]),
    needsList: plan.needsList,
    againInMs: times.length === 0 ? null : Math.ceil(Math.min(...(times as number[])))
  }
}

const begun = (memory: Memory, step: Step): Memory =>
  step.kind === 'cancel' ? stepCancelled(memory, step.slot) : stepBegun(memory, step)
