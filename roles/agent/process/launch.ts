import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, constants, open, stat } from 'node:fs/promises'
import { constants as osConstants } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { BrumeError } from '../../../core/errors.ts'

export interface Launch {
  /** `command[0]` resolved: `resolveCommand`. */
  command: string[]
  cwd: string
  env: Record<string, string>
  /** Where stdout and stderr go, appended. */
  log: string
  /** Where the exit code goes. Its path also marks the process: `findMarked`. */
  exit: string
}

/**
 * Between daemon and command stands a shell, for what only a parent can do when the daemon is gone:
 * keep the exit code, and end what the command left behind in its group. It outlives SIGTERM, which
 * goes to the whole group. Caught signals are back to their defaults in the command.
 */
const LAUNCHER = `exec 3>&2 2>/dev/null
trap : TERM INT HUP QUIT
"$@" 2>&3 3>&-
echo $? >"$0"
kill -9 0`

export interface Launched {
  pid: number
  /** How it ends: heard also where it has ended before anybody asks. */
  exited: Promise<[number | null, NodeJS.Signals | null]>
}

/** Makes the process, in a session of its own: it stays when the daemon goes. */
export async function launch({ command, cwd, env, log, exit }: Launch): Promise<Launched> {
  const output = await open(log, 'a', 0o600)
  try {
    const child = spawn('/bin/sh', ['-c', LAUNCHER, exit, ...command], {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', output.fd, output.fd]
    })
    const exited = once(child, 'exit') as Launched['exited']
    // One that cannot be started is said by the other.
    exited.catch(() => {})
    await once(child, 'spawn')
    child.unref()
    return { pid: child.pid as number, exited }
  } catch (error) {
    throw new BrumeError(
      'ENGINE_FAILED',
      `could not start ${command.join(' ')}: ${(error as Error).message}`,
      { cause: error }
    )
  } finally {
    await output.close()
  }
}

/**
 * The absolute path of `name`, searched as a shell does. `node` is this daemon's own where PATH
 * has none.
 *
 * @throws BrumeError COMMAND_NOT_FOUND
 */
export async function resolveCommand(
  name: string,
  cwd: string,
  env: Record<string, string>
): Promise<string> {
  const candidates = name.includes('/')
    ? [resolve(cwd, name)]
    : (env['PATH'] ?? '').split(delimiter).map((each) => join(resolve(cwd, each || '.'), name))
  for (const candidate of candidates) if (await isExecutable(candidate)) return candidate
  if (name === 'node') return process.execPath
  throw new BrumeError('COMMAND_NOT_FOUND', `command ${name} is not on this node`, {
    next: 'correct `command` in the application file, or install it on the node'
  })
}

/** As a shell gives it: 128 + the signal's number for an end by signal. */
export function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : osConstants.signals[signal])
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (['ENOENT', 'EACCES', 'ENOTDIR', 'ELOOP'].includes(code)) return false
    throw error
  }
}
