/** Starts a daemon in the background and stops it again. */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { extname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { BrumeError } from '../../core/errors.ts'
import type { ErrorJson, StopResult } from '../api.ts'
import { commandFor, toError, type Client } from '../client.ts'
import { makeDataDir } from '../paths.ts'
import type { World } from './verb.ts'

export interface Background {
  pid: number
  /** False where one ran already. */
  started: boolean
  /**
   * Stops it and removes what it made, if this started it; an `INTERNAL` error's log is left. Does
   * nothing to a daemon that was there before.
   */
  undo(because: unknown): Promise<void>
}

/** What the daemon writes before it has a log of its own, and when it crashes. */
const EARLY_LOG = 'daemon.early.log'
const ANSWER_MS = 30_000
const STOP_MS = 30_000

/**
 * Keeps a daemon at the memory it needs instead of the memory there is; and what V8 optimizes is what
 * runs eight times as long as it asks for by default: most of a daemon's life is no hot loop, and a
 * fifth of its CPU in its first minutes went into compiling.
 */
const NODE_FLAGS = ['--max-semi-space-size=2', '--interrupt-budget=540672', '--expose-gc']
/** Where thresholds are given, glibc does not raise them, and gives back what is free. */
const NODE_ENV = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_TRIM_THRESHOLD_: '131072',
  MALLOC_MMAP_THRESHOLD_: '131072',
  UV_THREADPOOL_SIZE: '2'
}

/** This very program, as `brume daemon`; `--data DIR` is to be added. */
export function daemonCommand(): World['daemon'] {
  const main = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url))
  return {
    command: [process.execPath, ...process.execArgv, ...NODE_FLAGS, main, 'daemon'],
    env: NODE_ENV
  }
}

/**
 * @throws BrumeError what the daemon said when it ended at once; DAEMON_FAILED; DATA_DIR,
 * DATA_DIR_UNSAFE.
 */
export async function startDaemon(
  client: Client,
  world: Pick<World, 'daemon' | 'env'>
): Promise<Background> {
  const dir = client.dataDir
  const there = await client.hello()
  if (there) return { ...there, started: false, undo: nothing }
  const madeDir = makeDataDir(dir)
  const before = new Set(readdirSync(dir))
  const child = launch(dir, world)
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const undo = async (because: unknown): Promise<void> => {
    child.ref()
    await end(client, child, exited)
    const keepLogs = !(because instanceof BrumeError) || UNEXPLAINED.has(because.code)
    clear(dir, madeDir, before, keepLogs)
  }
  try {
    const answering = await ready(client, child, exited)
    if (answering === null) throw earlyError(dir, child)
    // Another `up` was faster: what matters is that one runs.
    if (answering.pid !== child.pid) {
      await exited
      return { ...answering, started: false, undo: nothing }
    }
    child.unref()
    return { ...answering, started: true, undo }
  } catch (error) {
    await undo(error)
    throw error
  }
}

/** Asks the daemon to stop and waits until its process is gone. @throws BrumeError STOP_TIMEOUT */
export async function stopDaemon(client: Client): Promise<StopResult> {
  const result = await client.post<StopResult>('/stop', undefined, { anyVersion: true })
  await untilEnded(result.pid)
  return result
}

/** Waits for a daemon that was asked to end. @throws BrumeError STOP_TIMEOUT */
export async function untilEnded(pid: number): Promise<void> {
  const until = performance.now() + STOP_MS
  while (isAlive(pid)) {
    if (performance.now() > until) {
      throw new BrumeError(
        'STOP_TIMEOUT',
        `the daemon (process ${pid}) still runs ${STOP_MS / 1000} s after it was asked to stop`,
        { next: `kill ${pid}`, exitCode: 3 }
      )
    }
    await delay(20)
  }
}

/** Errors that tell nobody what went wrong: there the log is worth more than a clean directory. */
const UNEXPLAINED = new Set(['INTERNAL', 'DAEMON_LOST', 'DAEMON_GARBLED', 'DAEMON_FAILED'])

const nothing = (): Promise<void> => Promise.resolve()

function launch(dir: string, { daemon, env }: Pick<World, 'daemon' | 'env'>): ChildProcess {
  const log = openSync(join(dir, EARLY_LOG), 'w', 0o600)
  try {
    const [program = process.execPath, ...args] = daemon.command
    return spawn(program, [...args, '--data', dir, '--json'], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...daemon.env, ...env }
    })
  } finally {
    closeSync(log)
  }
}

/** Who answers on the socket; null if nobody did before the child ended. */
async function ready(
  client: Client,
  child: ChildProcess,
  exited: Promise<void>
): Promise<{ pid: number } | null> {
  let ended = false
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const over = exited.then(() => {
    ended = true
  })
  const until = performance.now() + ANSWER_MS
  for (;;) {
    // Looked at before asking: what ended may have ended because another one answers.
    const last = ended
    const answering = await client.hello()
    if (answering || last) return answering
    if (performance.now() > until) {
      throw new BrumeError(
        'DAEMON_FAILED',
        `the daemon was started but has not answered for ${ANSWER_MS / 1000} s`,
        { next: commandFor(client.dataDir, 'daemon'), exitCode: 3 }
      )
    }
    await Promise.race([delay(20), over, failed])
  }
}

/** The daemon prints its error as any command does with --json: the last line that is one. */
function earlyError(dir: string, child: ChildProcess): BrumeError {
  const lines = readFileSync(join(dir, EARLY_LOG), 'utf8')
    .split('\n')
    .filter((l) => l.trim() !== '')
  for (const line of lines.toReversed()) {
    if (!line.startsWith('{"error":{')) continue
    return toError(JSON.parse(line) as ErrorJson)
  }
  const how = child.signalCode ?? `exit code ${child.exitCode}`
  const last = lines.at(-1) ?? `without a word; ${join(dir, 'daemon.log')} may say why`
  return new BrumeError('DAEMON_FAILED', `the daemon ended at once (${how}): ${last}`, {
    next: `${commandFor(dir, 'daemon')} shows why`
  })
}

async function end(client: Client, child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.pid === undefined) return
  if (child.exitCode !== null || child.signalCode !== null) return
  try {
    await client.post('/stop', undefined, { anyVersion: true, silentMs: 5_000 })
  } catch (error) {
    if (!(error instanceof BrumeError)) throw error
    child.kill('SIGTERM')
  }
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await exited
  clearTimeout(force)
}

/** Removes only what was not there before. */
function clear(dir: string, madeDir: string | null, before: Set<string>, keepLogs: boolean): void {
  if (madeDir !== null && !keepLogs) {
    rmSync(madeDir, { recursive: true, force: true })
    return
  }
  for (const name of readdirSync(dir)) {
    if (before.has(name)) continue
    if (keepLogs && name.endsWith('.log')) continue
    rmSync(join(dir, name), { recursive: true, force: true })
  }
}

/** A process that ended but was not waited for by its parent is gone too. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const state = stat.slice(stat.lastIndexOf(')') + 2)[0]
    return state !== 'Z' && state !== 'X'
  } catch (error) {
    // Gone in between, or a system without /proc, where the signal has to do.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux'
  }
}
