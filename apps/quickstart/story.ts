/** What the quickstart shows, in order. Every command it prints is one that it runs. */
import http from 'node:http'
import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import { BrumeError } from '../../core/errors.ts'
import { replicaName } from '../cli/print.ts'
import { quoted } from '../paths.ts'
import { ask, CLI, show, type CliOptions } from './cli.ts'
import type { EngineKind } from './engine.ts'
import { addressesOf, look, watchFleet, type Fleet } from './fleet.ts'
import type { Screen } from './screen.ts'
import { FIRST, NAMES, type NodeName, type Trio } from './trio.ts'

export interface StoryOptions {
  engine: EngineKind
  signal: AbortSignal
  /** Ends after the last chapter instead of staying. */
  once: boolean
  /** Told when all is shown and only the person ends it. */
  onStay(): void
}

const MOVES_MS = 60_000
const RETURNS_MS = 60_000
const ANSWERS_MS = 5_000

/** @throws BrumeError of whatever failed; the signal's reason where the person left in the middle */
export async function tellStory(trio: Trio, screen: Screen, options: StoryOptions): Promise<void> {
  await makeMesh(trio, screen, options)
  await deployHello(trio, screen, options)
  const away = await takeAway(trio, screen, options)
  await bringBack(away, trio, screen, options)
  suggest(trio, screen, options)
  if (options.once) return
  options.onStay()
  screen.say('\nThis is live, until you press Ctrl-C:\n')
  const forever = { signal: options.signal, startMs: performance.now() }
  await watchFleet(trio.clientOf(FIRST), screen.output, () => false, forever)
}

async function makeMesh(trio: Trio, screen: Screen, options: StoryOptions): Promise<void> {
  screen.heading('1  Three nodes make a mesh')
  const enter = async (name: NodeName, verb: string[]): Promise<void> => {
    const args = [...verb, '--name', name]
    const engine = ['--engine', options.engine, '--no-names']
    const here = [...engine, '--bootstrap', trio.bootstrap, ...dataOf(trio, name)]
    screen.command(args, here)
    const startMs = performance.now()
    const { mesh } = await trio.enter(name, [...args, ...here])
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

async function deployHello(trio: Trio, screen: Screen, options: StoryOptions): Promise<void> {
  screen.heading('2  An application, from a file')
  await run(['deploy', '-f', example()], FIRST, trio, screen, options)
  screen.say('')
  const { signal } = options
  for (const { replica, url } of addressesOf(await look(trio.clientOf(FIRST)))) {
    screen.good(`${replica} answers on ${url}: ${await answerOf(url, signal)}`)
  }
}

async function takeAway(trio: Trio, screen: Screen, options: StoryOptions): Promise<NodeName> {
  const client = trio.clientOf(FIRST)
  const { replicas } = await look(client)
  const away = NAMES.findLast(
    (name) => name !== FIRST && replicas.some((replica) => replica.node === name)
  )
  const slot = replicas.find((replica) => replica.node === away)
  if (away === undefined || slot === undefined) {
    throw new BrumeError('QUICKSTART_FAILED', `nothing was placed on any node but ${FIRST}`)
  }
  const what = replicaName(slot)
  screen.heading(`3  The plug of ${away} is pulled`)
  screen.say(`Its daemon and all it ran are killed. Nobody is told; ${what} has to move.\n`)
  const startMs = performance.now()
  const over = within(MOVES_MS, options.signal, `${what} has not moved`)
  const unplugged = trio.powerOff(away)
  try {
    const isMoved = ({ replicas: now }: Fleet): boolean =>
      now.some(
        (replica) =>
          replicaName(replica) === what && replica.node !== away && replica.state === 'running'
      )
    const fleet = await watchFleet(client, screen.output, isMoved, { signal: over, startMs })
    const place = fleet.replicas.find((r) => replicaName(r) === what && r.node !== away)?.node
    screen.say('')
    screen.good(`${what} runs on ${place} now, ${seconds(startMs)} after the plug was pulled`)
  } finally {
    await unplugged
  }
  return away
}

async function bringBack(
  away: NodeName,
  trio: Trio,
  screen: Screen,
  options: StoryOptions
): Promise<void> {
  screen.heading(`4  ${away} comes back`)
  screen.command(['up'], dataOf(trio, away))
  const startMs = performance.now()
  await ask(['up', ...dataOf(trio, away)], { signal: options.signal, finishes: true })
  const over = within(RETURNS_MS, options.signal, `${away} has not come back`)
  // From its disk it may have started what it ran before: that is handed over, then ends.
  const isBack = ({ nodes, replicas }: Fleet): boolean =>
    nodes.some(({ name, state }) => name === away && state === 'alive') &&
    new Set(replicas.map(replicaName)).size === replicas.length
  await watchFleet(trio.clientOf(FIRST), screen.output, isBack, { signal: over, startMs })
  screen.say('')
  screen.good(`${away} is alive again. What moved stays where it is, and runs once`)
}

function suggest(trio: Trio, screen: Screen, { once }: StoryOptions): void {
  const [first, second, third] = NAMES
  screen.heading(once ? '5  What to try, without --once' : '5  What to try, in another terminal')
  screen.say(`alias brume="${quoted(process.execPath)} ${quoted(CLI)}"`)
  const tries: [string, NodeName, string][] = [
    ['ps', first, 'where every replica runs'],
    ['scale hello/web 6', second, 'any node takes orders'],
    ['logs -f hello', third, 'the logs of all nodes, from any'],
    ['down', second, 'the daemon stops; what it runs goes on'],
    ['up', second, 'and it takes over what runs'],
    ['rm hello', first, 'the application is gone, everywhere']
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
  const path = join(root, 'apps', 'examples', 'hello')
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

async function answerOf(url: string, signal: AbortSignal): Promise<string> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(ANSWERS_MS)])
  for (;;) {
    try {
      return (await get(url, until)).trim()
    } catch (error) {
      signal.throwIfAborted()
      // It runs, but may not listen yet.
      if (until.aborted) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

function get(url: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent: false, signal }, (response) => text(response).then(resolve, reject))
      .once('error', reject)
  })
}

const seconds = (startMs: number): string =>
  `${((performance.now() - startMs) / 1000).toFixed(1)} s`
