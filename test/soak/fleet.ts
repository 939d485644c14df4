/**
 * Random walks over what can happen to five daemons with five engines: links that are cut, parted or
 * flap, daemons that are stopped or killed, power cuts, drains, and revisions that run or do not. After
 * every step all is healed, and then must hold: exactly the copies that are asked for run, each once; none
 * that ran was started again or, as the only one, told to stop; a rollout is done, or rolled back and says
 * why; all nodes show the same, and one leader.
 *
 * A seed brings back the steps, not how the machine schedules them.
 */
import { copyFile, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sentenceOf } from '../../core/errors.ts'
import { disturbances, untilAtRest, type Rest } from './fleet-claims.ts'
import { drawStep, type Done, type Step } from './fleet-faults.ts'
import { startWorld, type World } from './fleet-world.ts'
import { random } from './random.ts'
import { withTeardown } from './teardown.ts'

export interface FleetResult {
  soak: 'fleet'
  seed: number
  walks: number
  steps: number
  /** ms from the end of a step, all healed, until all was at rest. */
  restMs: { p50: number; p95: number; max: number }
  broken: string[]
}

export interface FleetOptions {
  /** Walks, each with a seed of its own, one higher than that before. */
  times: number
  seed: number
  say: (line: string) => void
}

const STEPS = 3

export async function fleet({ times, seed, say }: FleetOptions): Promise<FleetResult> {
  const restMs: number[] = []
  const broken: string[] = []
  let steps = 0
  for (let i = 0; i < times;) {
    await withTeardown(async ({ teardown }) => {
      const world = await startWorld(teardown)
      let rest = await untilAtRest(world, nothingDone())
      // One fleet for all, until a walk fails.
      for (let isSound = true; isSound && i < times; i++) {
        const walk = stepsOf(seed + i)
        const said: string[] = []
        for (const step of walk) {
          const result = await take(world, step, rest)
          steps++
          said.push(step.words, ...result.broken.map((what) => `  does not hold: ${what}`))
          say(`${seed + i}  ${step.words}: ${Math.round(result.restMs)} ms`)
          restMs.push(result.restMs)
          isSound = result.broken.length === 0
          if (result.rest === null || !isSound) break
          rest = result.rest
        }
        if (isSound) continue
        const again = `npm run soak -- fleet --times 1 --seed ${seed + i}`
        for (const line of [`seed ${seed + i}:`, ...said, `again: ${again}`]) say(line)
        say(`logs: ${await keepLogs(world, seed + i)}`)
        broken.push(`seed ${seed + i}: ${said.join('; ')} (${again})`)
      }
    })
  }
  const sorted = restMs.toSorted((a, b) => a - b)
  const at = (share: number): number => Math.round(sorted[Math.floor((steps - 1) * share)] ?? 0)
  const spread = { p50: at(0.5), p95: at(0.95), max: at(1) }
  return { soak: 'fleet', seed, walks: times, steps, restMs: spread, broken }
}

function stepsOf(seed: number): Step[] {
  const drawn = random(seed)
  return Array.from({ length: STEPS }, () => drawStep(drawn))
}

const nothingDone = (): Done => ({
  ...{ powerCuts: [], drained: new Map<string, number | null>(), disturbed: false, deployed: null }
})

async function take(
  world: World,
  step: Step,
  before: Rest
): Promise<{ rest: Rest | null; restMs: number; broken: string[] }> {
  const done = nothingDone()
  let healedAt = performance.now()
  try {
    await step.run(world, done)
    healedAt = performance.now()
    const rest = await untilAtRest(world, done)
    const events = world.events.seen.slice(before.seen, rest.seen)
    const broken = disturbances(world, before.copies, events, done, rest)
    return { rest, restMs: performance.now() - healedAt, broken }
  } catch (error) {
    return { rest: null, restMs: performance.now() - healedAt, broken: [sentenceOf(error)] }
  }
}

/** Daemons' logs, kept for who looks into it. @returns where */
async function keepLogs({ members }: World, seed: number): Promise<string> {
  const dir = join(tmpdir(), `brume-soak-fleet-${seed}`)
  await mkdir(dir, { recursive: true })
  for (const { node } of members) {
    await copyFile(join(node.dataDir, 'daemon.log'), join(dir, `${node.name}.log`))
  }
  return dir
}
