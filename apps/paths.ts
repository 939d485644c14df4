/** Where a node keeps its data and its socket, and who may touch them. */
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { BrumeError } from '../core/errors.ts'

export type Env = Record<string, string | undefined>

/** Root's data, and the one place whose socket others than its owner may be let in to. */
export const SYSTEM_DIR = '/var/lib/brume'
const SYSTEM_SOCKET = '/run/brume/brume.sock'

/** Node silently cuts longer paths of unix sockets (108 bytes on Linux, 104 on macOS). */
const MAX_SOCKET_PATH_BYTES = 100

/** Absolute. What is asked for, else `BRUME_DATA`, else root's or the user's own. */
export function dataDir(asked?: string, env: Env = process.env, uid: number = userId()): string {
  const chosen = asked || env.BRUME_DATA
  if (chosen) return resolve(chosen)
  if (uid === 0) return SYSTEM_DIR
  // The XDG specification says to ignore relative paths.
  const state = env.XDG_STATE_HOME?.startsWith('/') ? env.XDG_STATE_HOME : undefined
  return join(state ?? join(env.HOME || homedir(), '.local/state'), 'brume')
}

/**
 * The socket of the daemon on `dir`. Root's own is in /run, because the group it is open to cannot
 * look into a data directory of 0700; one whose path is too long gets a short one by its hash. Not
 * under XDG_RUNTIME_DIR: a daemon and a CLI started from different sessions must agree.
 */
export function socketPath(dir: string, uid: number = userId()): string {
  if (dir === SYSTEM_DIR) return SYSTEM_SOCKET
  const path = join(dir, 'brume.sock')
  if (fits(path)) return path
  const file = `${createHash('sha256').update(dir).digest('hex').slice(0, 16)}.sock`
  return `/tmp/brume-${uid}/${file}`
}

/** Rights of a socket made by this user. `group` is a gid, where root shares with `brume`. */
export function socketAccess(uid: number = userId(), groups = '/etc/group'): SocketAccess {
  if (uid !== 0) return { mode: 0o600 }
  const group = groupId('brume', groups)
  return group === null ? { mode: 0o660 } : { mode: 0o660, group }
}

export interface SocketAccess {
  mode: number
  group?: number
}

/**
 * Makes the data directory, private from the start, and gives the topmost directory that had to be
 * made (null if it was there).
 *
 * @throws BrumeError DATA_DIR_UNSAFE: others may look into it, or it is another's; DATA_DIR: it
 * cannot be made or is no directory.
 */
export function makeDataDir(dir: string, uid: number = userId()): string | null {
  const made = makeDir(dir)
  checkOwned(dir, uid)
  return made
}

/**
 * Makes the directory a socket outside the data directory lives in.
 *
 * @throws BrumeError SOCKET_DIR_UNSAFE where another user owns it or may write into it.
 */
export function makeSocketDir(path: string, access: SocketAccess): void {
  const dir = dirname(path)
  if (dir === '/run/brume') return makeSharedDir(dir, access)
  makeDir(dir)
  checkSocketDir(path)
}

/**
 * A client asks before it speaks: a short socket path is in a directory anybody could have made
 * first. A directory that is not there is fine: nobody answers in it.
 *
 * @throws BrumeError SOCKET_DIR_UNSAFE
 */
export function checkSocketDir(path: string, uid: number = userId()): void {
  const dir = dirname(path)
  if (dir !== `/tmp/brume-${uid}`) return
  const stat = lstatSync(dir, { throwIfNoEntry: false })
  if (!stat) return
  if (stat.isDirectory() && stat.uid === uid && (stat.mode & 0o077) === 0) return
  throw new BrumeError(
    'SOCKET_DIR_UNSAFE',
    `${dir} is not a private directory of yours, so the socket in it cannot be trusted`,
    { next: `rm -r ${dir}, or choose a shorter --data directory` }
  )
}

const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES

/** -1 where the system knows no users. */
export function userId(): number {
  return process.getuid?.() ?? -1
}

function makeDir(dir: string): string | null {
  try {
    const made = mkdirSync(dir, { recursive: true, mode: 0o700 })
    if (!statSync(dir).isDirectory()) throw new Error('not a directory')
    return made ?? null
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const why =
      code === 'EACCES' || code === 'EPERM'
        ? 'no permission'
        : code === 'EROFS'
          ? 'the file system is read-only'
          : code === 'ENOSPC'
            ? 'the disk is full'
            : 'something else of that name is in the way'
    throw new BrumeError('DATA_DIR', `cannot make the directory ${dir}: ${why}`, {
      next: 'choose another one with --data DIR',
      cause: error
    })
  }
}

function checkOwned(dir: string, uid: number): void {
  const stat = statSync(dir)
  if (stat.uid !== uid && uid >= 0) {
    throw new BrumeError(
      'DATA_DIR_UNSAFE',
      `the data directory ${dir} belongs to user ${stat.uid}, and you are user ${uid}`,
      { next: `sudo chown -R ${uid} ${quoted(dir)}, or choose another one with --data DIR` }
    )
  }
  const mode = stat.mode & 0o777
  if ((mode & 0o077) !== 0) {
    throw new BrumeError(
      'DATA_DIR_UNSAFE',
      `the data directory ${dir} is open to other users (mode ${mode.toString(8).padStart(4, '0')}); it holds this node's keys`,
      { next: `chmod 700 ${quoted(dir)}` }
    )
  }
}

/** Open to the group that may use the socket, closed to the rest. */
function makeSharedDir(dir: string, access: SocketAccess): void {
  makeDir(dir)
  chownSync(dir, 0, access.group ?? 0)
  chmodSync(dir, access.group === undefined ? 0o700 : 0o750)
}

function groupId(name: string, file: string): number | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  const id = new RegExp(`^${name}:[^:]*:(\\d+):`, 'm').exec(text)?.[1]
  return id === undefined ? null : Number(id)
}

export const quoted = (path: string): string =>
  /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
