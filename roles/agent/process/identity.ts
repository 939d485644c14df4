/**
 * Which process is which. A pid comes back after its process ended; a pid with its start time, and
 * on Linux the boot it was started in (start times count from there), does not.
 */
import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const HAS_PROC = process.platform === 'linux'

/** The stamp of the process that has `pid` now; null if none has, or only its zombie. */
export async function stampOf(pid: number): Promise<string | null> {
  if (!HAS_PROC) return stampByPs(pid)
  const fields = await statFields(pid)
  if (fields === null || fields.state === 'Z' || fields.state === 'X') return null
  return `${await bootId()}:${fields.startTime}`
}

export async function isAlive(pid: number | null, stamp: string | null): Promise<boolean> {
  if (pid === null || stamp === null) return false
  return (await stampOf(pid)) === stamp
}

/** Whether a group that `pid` led may still have members of this boot, its leader being gone. */
export async function leftMembers(pid: number, stamp: string): Promise<boolean> {
  // Without a boot id a group of this number may be anybody's.
  if (!HAS_PROC || !stamp.startsWith(`${await bootId()}:`)) return false
  const fields = await statFields(pid)
  return fields === null || fields.state === 'Z'
}

/** Signals a whole process group; false if there is none. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch (error) {
    // EPERM: macOS says so of a group of zombies.
    if (['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** The group leader that has `marker` among its arguments. */
export async function findMarked(marker: string): Promise<number | null> {
  if (!HAS_PROC) return findByPs(marker)
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const commandLine = await readOrNull(`/proc/${pid}/cmdline`)
    if (!commandLine?.split('\0').includes(marker)) continue
    // A fork of the leader has the same arguments until it execs.
    if ((await statFields(pid))?.group === pid) return pid
  }
  return null
}

interface StatFields {
  state: string
  group: number
  startTime: string
}

async function statFields(pid: number): Promise<StatFields | null> {
  const stat = await readOrNull(`/proc/${pid}/stat`)
  if (stat === null) return null
  // The second field is the command's name: it may hold spaces and parentheses.
  const [state, , group, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { state: state ?? '', group: Number(group), startTime: rest[16] ?? '' }
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

async function readOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    // ESRCH: it ended between open and read. EACCES: not ours to see.
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (['ENOENT', 'ESRCH', 'EACCES'].includes(code)) return null
    throw error
  }
}

async function stampByPs(pid: number): Promise<string | null> {
  const line = await ps(['-o', 'stat=,lstart=', '-p', String(pid)])
  const [state, ...started] = line.trim().split(/\s+/)
  return !state || state.startsWith('Z') ? null : started.join(' ')
}

async function findByPs(marker: string): Promise<number | null> {
  for (const line of (await ps(['-axo', 'pid=,pgid=,args='])).split('\n')) {
    const [, pid, group, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    if (pid === group && args?.includes(marker)) return Number(pid)
  }
  return null
}

/** Empty when nothing matches, which ps calls a failure. */
async function ps(args: string[]): Promise<string> {
  try {
    return (await run('ps', args, { maxBuffer: 64 * 1024 * 1024 })).stdout
  } catch (error) {
    if ((error as { code?: unknown }).code === 1) return ''
    throw error
  }
}
