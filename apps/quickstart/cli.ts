/** The CLI as a person runs it: a process of its own for each command. */
import { spawn, type ChildProcess } from 'node:child_process'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { BrumeError } from '../../core/errors.ts'
import type { ErrorJson } from '../api.ts'
import { toError } from '../client.ts'

/** The program behind `brume`, compiled or not as this file is. */
export const CLI = fileURLToPath(new URL(`../cli/main${extname(import.meta.url)}`, import.meta.url))

/** A command that starts a daemon is given this long to finish before it is told to give up. */
const FINISH_MS = 10_000

export interface CliOptions {
  signal: AbortSignal
  /** Starts a daemon: ended halfway, it could leave one that nobody knows of. */
  finishes?: boolean
}

/** Runs a command with --json and gives what it printed. @throws BrumeError the command's own */
export async function ask<T>(args: string[], options: CliOptions): Promise<T> {
  const child = launch([...args, '--json'], ['ignore', 'pipe', 'pipe'])
  const [stdout, stderr, exitCode] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    ended(child, options)
  ])
  const answer = stdout === '' ? null : (JSON.parse(stdout) as T | ErrorJson)
  if (answer !== null && exitCode === 0) return answer as T
  if (answer !== null && typeof answer === 'object' && 'error' in answer) throw toError(answer)
  throw new BrumeError('QUICKSTART_FAILED', `brume ${args[0]} failed: ${stderr.trim()}`)
}

/** Runs a command on this very terminal. @throws BrumeError: it has said why already */
export async function show(args: string[], options: CliOptions): Promise<void> {
  const exitCode = await ended(launch(args, ['ignore', 'inherit', 'inherit']), options)
  if (exitCode === 0) return
  throw new BrumeError('QUICKSTART_FAILED', `brume ${args[0]} ended with exit code ${exitCode}`)
}

/**
 * Runs a command that goes on and on, until a line it prints is the last one wanted.
 *
 * @throws BrumeError where it ends before; it has said why already
 */
export async function follow(
  args: string[],
  isLast: (line: string) => boolean,
  { signal }: CliOptions
): Promise<void> {
  const child = launch(args, ['ignore', 'pipe', 'inherit'])
  const enough = new AbortController()
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    if (!enough.signal.aborted && isLast(line)) enough.abort()
  })
  let exitCode: number
  try {
    exitCode = await ended(child, { signal: AbortSignal.any([signal, enough.signal]) })
  } catch (error) {
    signal.throwIfAborted()
    if (enough.signal.aborted) return
    throw error
  }
  throw new BrumeError('QUICKSTART_FAILED', `brume ${args[0]} ended with exit code ${exitCode}`)
}

function launch(args: string[], stdio: ('ignore' | 'pipe' | 'inherit')[]): ChildProcess {
  // A session of its own: Ctrl-C is ours to handle, in order.
  return spawn(process.execPath, [...process.execArgv, CLI, ...args], { stdio, detached: true })
}

/** The exit code, once it ended. @throws the signal's reason where it ended because of that */
async function ended(child: ChildProcess, { signal, finishes }: CliOptions): Promise<number> {
  let late: NodeJS.Timeout | undefined
  const leave = (): void => {
    if (finishes === true) late = setTimeout(() => child.kill('SIGTERM'), FINISH_MS)
    else child.kill('SIGKILL')
  }
  const exit = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  if (signal.aborted) leave()
  else signal.addEventListener('abort', leave, { once: true })
  try {
    const exitCode = await exit
    signal.throwIfAborted()
    return exitCode
  } finally {
    clearTimeout(late)
    signal.removeEventListener('abort', leave)
  }
}
