/** What the quickstart shows, in order. Every command it prints is one that it runs. */
import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { BrumeError } from '../../core/errors.ts'
import type { ReplicaJson } from '../api.ts'
import { replicaName } from '../cli/print.ts'
import { quoted } from '../paths.ts'
import { ask, CLI, follow, show, type CliOptions } from './cli.ts'
import type { EngineKind } from './engine.ts'
import { addressesOf, look, watchFleet, type Fleet } from './fleet.ts'
import { missing, watchResults, type Results, type Summary } from './results.ts'
import type { Screen } from './screen.ts'
import { HOUSES, NAMES, UTILITY, type NodeName, type Trio } from './trio.ts'
import { whileWaiting } from './wait-line.ts'

export interface StoryOptions {
  engine: EngineKind
  signal: AbortSignal
  /** Ends after the last chapter instead of staying. */
  once: boolean
  /** Told when all is shown and only the person ends it. */
  onStay(): void
}

const [FIRST, SECOND] = HOUSES
const AGGREGATOR = 'street/aggregator'

/** Longest times that things may take here. */
const RESULTS_MS = 60_000
const MOVES_MS = 60_000
const RETURNS_MS = 60_000
/** So many summaries have to wait for the utility before its line is mended. */
const KEPT = 4

/** @throws BrumeError of whatever failed; the signal's reason where the person left in the middle */
export async function tellStory(trio: Trio, screen: Screen, options: StoryOptions): Promise<void> {
  await makeMesh(trio, screen, options)
  const results = await deployGrid(trio, screen, options)
  await showShedding(results, screen, options)
  const cut = await cutUtility(trio, screen, options)
  await reconnectUtility(cut, results, trio, screen, options)
  const away = await takeAway(results, trio, screen, options)
  await bringBack(away, results, trio, screen, options)
  suggest(trio, screen, options)
  if (options.once) return
  options.onStay()
  screen.say('\nThis is live, until you press Ctrl-C:\n')
  const forever = { signal: options.signal, startMs: performance.now() }
  await watchFleet(trio.clientOf(FIRST), screen.output, () => false, forever)
}

async function makeMesh(trio: Trio, screen: Screen, options: StoryOptions): Promise<void> {
  screen.heading('1  Two houses of a street and the utility make a mesh')
  const enter = async (name: NodeName, verb: string[]): Promise<void> => {
    const role = name === UTILITY ? 'utility' : 'house'
    const args = [...verb, '--name', name, '--label', `role=${role}`]
    const engine = ['--engine', options.engine]
    const here = [...engine, '--bootstrap', trio.bootstrap, ...dataOf(trio, name)]
    screen.command(args, here)
    const startMs = performance.now()
    const { mesh } = await whileWaiting(screen.output, trio.enter(name, [...args, ...here]))
    const done = verb[0] === 'init' ? `made mesh ${mesh.slice(0, 8)}` : 'joined'
    screen.good(`${name} ${done} in ${seconds(startMs)}\n`)
  }
  await enter(FIRST, ['init'])
  screen.command(['key'], [...dataOf(trio, FIRST), '>', trio.keyFile])
  screen.say('')
  const { key } = await ask<{ key: string }>(['key', ...dataOf(trio, FIRST)], options)
  await trio.saveKey(key)
  for (const name of NAMES.slice(1)) await enter(name, ['join', `@${trio.keyFile}`])
  await run(['nodes'], FIRST, trio, screen, options)
}

async function deployGrid(trio: Trio, screen: Screen, options: StoryOptions): Promise<Results> {
  screen.heading('2  Meters, their aggregator and the utility, from two files')
  await run(['deploy', '-f', example()], FIRST, trio, screen, options)
  const [page] = addressesOf(await look(trio.clientOf(FIRST))).filter(({ replica }) =>
    replica.startsWith('office/utility/')
  )
  if (page === undefined) throw new BrumeError('QUICKSTART_FAILED', 'the utility shows no page')
  screen.say('')
  screen.good(`the utility shows what it knows of the street on ${page.url}`)
  return watchResults(page.url, screen.output)
}

async function showShedding(
  results: Results,
  screen: Screen,
  options: StoryOptions
): Promise<void> {
  screen.heading('3  Only results leave the street')
  screen.say(
    'Every meter tells the aggregator each second what its house draws, by name. Every 2 s the\n' +
      'utility hears the sum. Above 7 kW all meters are told to shed load together:\n'
  )
  const isSeen = (summaries: Summary[]): boolean =>
    summaries.some((one, i) => one.shed && summaries[i - 1]?.shed === true)
  const over = within(RESULTS_MS, options.signal, 'the utility has not seen the street shed load')
  await results.watch(isSeen, { signal: over, startMs: performance.now() })
}

/** What the aggregator has to say to the utility when its line is mended. */
interface Cut {
  from: string
  /** The last that was made while the line was cut, so far. */
  seq: number
}

const LOG_LINE =
  /([0-9a-f]+) #(\d+): .*?(, shedding)?(?:; the utility is away, (\d+) kept for it)?$/

async function cutUtility(trio: Trio, screen: Screen, options: StoryOptions): Promise<Cut> {
  screen.heading('4  The line to the utility is cut')
  screen.say(
    '(Its daemon is stopped: to the others that is the same.) The street goes on without it:\n'
  )
  const args = ['logs', '-f', '--tail', '0', AGGREGATOR]
  await trio.cutOff(UTILITY)
  screen.command(args, dataOf(trio, FIRST))
  const over = within(RESULTS_MS, options.signal, 'the aggregator has kept nothing for the utility')
  const cut: Cut = { from: '', seq: 0 }
  let hasShed = false
  const isLast = (line: string): boolean => {
    screen.say(line)
    const [, from = '', seq, shedding, kept = '0'] = LOG_LINE.exec(line) ?? []
    hasShed ||= shedding !== undefined && kept !== '0'
    Object.assign(cut, { from, seq: Number(seq) })
    return Number(kept) >= KEPT && hasShed
  }
  await follow([...args, ...dataOf(trio, FIRST)], isLast, { signal: over })
  screen.say('')
  screen.good('the houses shed load when they have to, and nobody at the utility knows yet')
  return cut
}

async function reconnectUtility(
  { from, seq }: Cut,
  results: Results,
  trio: Trio,
  screen: Screen,
  options: StoryOptions
): Promise<void> {
  screen.heading('5  The line is mended')
  const startMs = performance.now()
  trio.reconnect(UTILITY)
  const over = within(RESULTS_MS, options.signal, 'the utility has not caught up')
  const hasAll = (summaries: Summary[]): boolean => {
    const last = summaries.findLast((one) => one.from === from)
    return last !== undefined && last.seq > seq && last.late < CAUGHT_UP_MS
  }
  const summaries = await results.watch(hasAll, { signal: over, startMs })
  const gaps = missing(summaries, from)
  if (gaps.length > 0) {
    throw new BrumeError('QUICKSTART_FAILED', `the utility misses summaries ${gaps.join(', ')}`)
  }
  const last = summaries.findLast((one) => one.from === from)?.seq
  screen.say('')
  screen.good(
    `the utility has caught up after ${seconds(startMs)}: #1 to #${last}, none is missing`
  )
}

const CAUGHT_UP_MS = 1_000

/** @returns the house that was taken away */
async function takeAway(
  results: Results,
  trio: Trio,
  screen: Screen,
  options: StoryOptions
): Promise<NodeName> {
  const isAggregator = (replica: ReplicaJson): boolean => replicaName(replica) === `${AGGREGATOR}/0`
  const { replicas } = await look(trio.clientOf(FIRST))
  const away = HOUSES.find((name) => replicas.some((r) => isAggregator(r) && r.node === name))
  if (away === undefined) {
    throw new BrumeError('QUICKSTART_FAILED', 'the aggregator runs in no house')
  }
  screen.heading(`6  The plug of ${away} is pulled`)
  screen.say(`Its daemon and all it ran are killed, the aggregator too. Nobody is told.\n`)
  const other = otherThan(away)
  const client = trio.clientOf(other)
  const startMs = performance.now()
  const over = within(MOVES_MS, options.signal, 'no other aggregator has taken over')
  const unplugged = trio.powerOff(away)
  try {
    const isMoved = ({ replicas: now }: Fleet): boolean =>
      now.some((r) => isAggregator(r) && r.node === other && r.state === 'running')
    await watchFleet(client, screen.output, isMoved, { signal: over, startMs })
    screen.say('')
    screen.good(
      `the aggregator runs on ${other} now, ${seconds(startMs)} after the plug was pulled\n`
    )
    const before = new Set<string>()
    const isHeard = (summaries: Summary[]): boolean => {
      if (before.size === 0) for (const { from } of summaries) before.add(from)
      return summaries.some(({ from }) => !before.has(from))
    }
    await results.watch(isHeard, { signal: over, startMs })
    screen.say('')
    screen.good(`and the utility hears of the street again, ${seconds(startMs)} after`)
  } finally {
    await unplugged
  }
  return away
}

async function bringBack(
  away: NodeName,
  results: Results,
  trio: Trio,
  screen: Screen,
  options: StoryOptions
): Promise<void> {
  screen.heading(`7  ${away} comes back`)
  screen.command(['up'], dataOf(trio, away))
  const startMs = performance.now()
  await whileWaiting(
    screen.output,
    ask(['up', ...dataOf(trio, away)], { signal: options.signal, finishes: true })
  )
  const over = within(RETURNS_MS, options.signal, `${away} has not come back`)
  const timing = { signal: over, startMs }
  screen.say('')
  await results.watch((summaries) => summaries.at(-1)?.houses === HOUSES.length, timing)
  screen.say('')
  screen.good(`${away} is alive again, and its house is counted`)
  // From its disk it started what it ran before: that is handed over, then ends.
  const isCalm = ({ replicas }: Fleet): boolean =>
    replicas.every(({ state }) => state === 'running') &&
    new Set(replicas.map(replicaName)).size === replicas.length
  const client = trio.clientOf(otherThan(away))
  if (!isCalm(await look(client))) {
    screen.say('')
    await watchFleet(client, screen.output, isCalm, timing)
    screen.say('')
  }
  screen.good(`the aggregator stays on ${otherThan(away)}, and runs once`)
}

const otherThan = (house: NodeName): NodeName => (house === FIRST ? SECOND : FIRST)

function suggest(trio: Trio, screen: Screen, { once }: StoryOptions): void {
  screen.heading(once ? '8  What to try, without --once' : '8  What to try, in another terminal')
  screen.say(`alias brume="${quoted(process.execPath)} ${quoted(CLI)}"`)
  const tries: [string, NodeName, string][] = [
    ['ps', FIRST, 'where every replica runs'],
    ['logs -f street', UTILITY, 'the logs of all houses, from any node'],
    ['net office/utility', SECOND, 'where calls of it go from here, and why'],
    ['node drain house-1', UTILITY, 'what can go goes to the other house'],
    ['node undrain house-1', UTILITY, 'and may come again'],
    ['down', SECOND, 'the daemon stops; what it runs goes on'],
    ['up', SECOND, 'and it takes over what runs'],
    ['rm street', FIRST, 'the application is gone, everywhere']
  ]
  const commands = tries.map(
    ([command, name]) => `brume ${command} --data ${quoted(trio.dirOf(name))}`
  )
  const width = Math.max(...commands.map((command) => command.length))
  for (const [i, [, , why]] of tries.entries()) {
    screen.say(`${commands[i]?.padEnd(width)}   # ${why}`)
  }
}

/** Runs a command on this terminal, as it was printed. */
async function run(
  args: string[],
  name: NodeName,
  trio: Trio,
  screen: Screen,
  { signal }: CliOptions
): Promise<void> {
  screen.command(args, dataOf(trio, name))
  await show([...args, ...dataOf(trio, name)], { signal })
}

const dataOf = (trio: Trio, name: NodeName): string[] => ['--data', trio.dirOf(name)]

/** The example of this package, as short as it can be said from here. */
function example(): string {
  let root = import.meta.dirname
  while (!existsSync(join(root, 'package.json'))) root = dirname(root)
  const path = join(root, 'apps', 'examples', 'smart-grid')
  const short = relative(process.cwd(), path)
  return short.startsWith('..') ? path : short
}

/** The caller's signal, which also ends after `ms` with an error that says so. */
function within(ms: number, signal: AbortSignal, sentence: string): AbortSignal {
  const over = new AbortController()
  const late = new BrumeError('QUICKSTART_FAILED', `${sentence} within ${ms / 1000} s`, {
    exitCode: 3
  })
  setTimeout(() => over.abort(late), ms).unref()
  return AbortSignal.any([signal, over.signal])
}

const seconds = (startMs: number): string =>
  `${((performance.now() - startMs) / 1000).toFixed(1)} s`
