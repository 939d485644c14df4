/** One simulation: what its seed says, and whether all held. */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sentenceOf } from '../../../core/errors.ts'
import type { Logger } from '../../../core/logger.ts'
import { random, type Random } from '../../soak/random.ts'
import type { SimDisk } from './disk.ts'
import { FAULTS, mend, wake } from './faults.ts'
import { SimNetwork } from './network.ts'
import { CALM_MS, settle } from './settle.ts'
import { TALES, THEMES, type Tale, type Theme, type ThemeName } from './themes.ts'
import { World } from './world.ts'
import { realNow, realTimeout, type Life, type VirtualTime } from './virtual-time.ts'

export interface SimResult {
  seed: number
  /** What did not hold; empty where all did. */
  broken: string[]
  steps: string[]
  nodes: number
  /** Appends of leaders, where the theme counts them. */
  decisions: number
  acknowledged: number
  virtualMs: number
  realMs: number
  /** Virtual ms from each heal until all held. */
  healMs: number[]
}

export interface SimOptions {
  time: VirtualTime
  disk: SimDisk
  theme: ThemeName
  /** Everything the nodes log goes here. */
  say?: (line: string) => void
}

/** In half of the worlds nobody comes to confirm beside the first node, as in the first minute. */
const STABLE_MS = [60_000, 60_000, 4_000, 1_500]
/** Now and then calm is longer than a handover waits. */
const LONG_CALM_MS = 12_000
/** Of this process's own time: a busy machine makes nothing hang. */
const CPU_LIMIT_MS = 60_000
const LOOK_REAL_MS = 5_000

export async function simulate(named: number, options: SimOptions): Promise<SimResult> {
  const { time, disk, theme } = options
  const tale: Tale | null = theme in TALES ? TALES[theme as keyof typeof TALES] : null
  const seed = tale?.drawnFrom(named) ?? named
  const began = realNow()
  const root = await mkdtemp(join(await scratch(), 'brume-sim-'))
  time.reset()
  disk.reset()
  const choices = random(seed)
  const chance = random(seed ^ 0x5eed)
  Math.random = () => chance.integer(2 ** 30) / 2 ** 30
  const network = new SimNetwork(time, random(seed ^ 0x2e7))
  const world: World = new World({
    time,
    network,
    disk,
    root,
    seed,
    stableMs: random(seed ^ 0x57ab).pick(STABLE_MS),
    log: (life) => logger(life, world, options),
    onFailed: (host, error) => world.broken.push(`${host.name} failed: ${sentenceOf(error)}`)
  })
  const healMs: number[] = []
  const uncaught = (error: unknown): void => {
    world.broken.push(`uncaught: ${error instanceof Error ? error.stack : String(error)}`)
  }
  process.on('uncaughtException', uncaught)
  process.on('unhandledRejection', uncaught)
  const watch = watchCpu()
  try {
    const lived =
      tale?.live(world, named, healMs) ??
      live(world, THEMES[theme as keyof typeof THEMES], choices, healMs)
    await Promise.race([watch.exceeded, lived])
  } catch (error) {
    world.broken.push(sentenceOf(error))
  }
  watch.stop()
  const virtualMs = time.now
  try {
    await Promise.race([
      world.whole(() => Promise.all(world.hosts.map((host) => host.stop()))),
      new Promise((resolve) => realTimeout(5_000, () => resolve(null)))
    ])
  } catch (error) {
    world.broken.push(`closing: ${sentenceOf(error)}`)
  }
  process.off('uncaughtException', uncaught)
  process.off('unhandledRejection', uncaught)
  await rm(root, { recursive: true, force: true })
  return {
    seed: named,
    broken: [...new Set(world.broken)],
    steps: world.steps,
    nodes: world.hosts.length,
    decisions: world.decisions,
    acknowledged: world.acknowledged.length,
    virtualMs: Math.round(virtualMs),
    realMs: Math.round(realNow() - began),
    healMs
  }
}

/** Rejects once the process has worked for so long: it goes round in a circle. */
function watchCpu(): { exceeded: Promise<never>; stop(): void } {
  const began = process.cpuUsage()
  let stop = (): void => {}
  const exceeded = new Promise<never>((_, reject) => {
    const look = (): void => {
      const { user } = process.cpuUsage(began)
      if (user / 1000 > CPU_LIMIT_MS) reject(new Error('the simulation goes round in a circle'))
      else stop = realTimeout(LOOK_REAL_MS, look)
    }
    stop = realTimeout(LOOK_REAL_MS, look)
  })
  return { exceeded, stop: () => stop() }
}

async function live(world: World, theme: Theme, choices: Random, healMs: number[]): Promise<void> {
  const { time } = world
  const nodes = choices.pick([3, 3, 3, 3, 4, 4, 4, 5, 6])
  const first = world.add()
  world.say('n0 makes the mesh')
  await world.whole(() => first.make())
  const key = await world.whole(() => first.mesh.keyRing.show())
  for (let i = 1; i < nodes; i++) {
    const host = world.add()
    world.begin(`${host.name} joins`, () => host.join(key))
    if (choices.chance(0.5)) await time.pass(choices.integer(3_000))
  }
  await world.finish()
  await settle(world, theme)
  if (theme.begin !== null) {
    theme.begin(world, first, choices)
    await settle(world, theme)
  }
  world.founders = new Set(world.hosts.map(({ id }) => id))

  const rounds = choices.chance(0.3) ? 2 : 1
  for (let round = 0; round < rounds && world.broken.length === 0; round++) {
    await disturb(world, theme, choices)
    if (choices.chance(0.5)) {
      await wake(world)
      await settle(world, theme)
      if (world.broken.length > 0) return
      if (choices.chance(0.3)) await disturb(world, theme, choices)
    }
    await mend(world)
    const long = choices.chance(0.2)
    healMs.push(Math.round(await settle(world, theme, long ? LONG_CALM_MS : CALM_MS)))
  }
}

/** Ops on every side, faults, and time between them. */
async function disturb(world: World, theme: Theme, choices: Random): Promise<void> {
  const steps = 4 + choices.integer(7)
  for (let i = 0; i < steps; i++) {
    // One number a step: a step that turns out otherwise does not change the ones after it.
    const own = random(choices.integer(2 ** 31))
    if (i === 0 || own.chance(theme.faults)) choose(FAULTS, own).act(world, own)
    else {
      const host = world.awake.length > 0 ? own.pick(world.awake) : null
      if (host !== null) choose(theme.operations, own).act(world, host, own)
    }
    await world.time.pass(own.pick([0, 0, 5, 50, 500, 2_000, 6_000]))
  }
}

function choose<T extends { weight: number }>(table: readonly T[], own: Random): T {
  let left = own.integer(table.reduce((sum, { weight }) => sum + weight, 0))
  for (const entry of table) if ((left -= entry.weight) < 0) return entry
  throw new Error('the table is empty')
}

function logger(life: Life, world: World, { say }: SimOptions): Logger {
  const write = (level: string, fields: object, message?: string): void => {
    const line = `${(world.time.now / 1000).toFixed(3)} ${life.name} ${level} ${message} ${JSON.stringify(fields, inWords)}`
    if (life.dead) return
    say?.(line)
    // An error in the log is one thing that an operator must see to: in a simulation none may be.
    if (level === 'error') world.broken.push(line)
  }
  return {
    debug: (fields, message) => write('debug', fields, message),
    info: (fields, message) => write('info', fields, message),
    warn: (fields, message) => write('warn', fields, message),
    error: (fields, message) => write('error', fields, message)
  }
}

const inWords = (_: string, value: unknown): unknown =>
  value instanceof Error ? value.stack : value

/** In memory where that is offered: what is on trial is not the disk. */
async function scratch(): Promise<string> {
  const memory = '/dev/shm'
  return (await stat(memory).catch(() => null))?.isDirectory() === true ? memory : tmpdir()
}
