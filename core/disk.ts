/** Whether the disk of a data directory can be written to. Asked when something is to be written. */
import { constants } from 'node:fs'
import { open, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { BrumeError } from './errors.ts'

const PROBE = '.probe'
/** What is left to the store for its own housekeeping, to what peers send, and to the log. */
const RESERVE_BYTES = 32 * 1024 * 1024
/** Of a small disk, the share that is left. */
const RESERVE_SHARE = 0.1

/** Null while there is room. DISK_FULL, READ_ONLY; an unreadable directory is the caller's affair. */
export async function diskProblem(dir: string): Promise<BrumeError | null> {
  try {
    await touch(join(dir, PROBE))
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EROFS' || code === 'EIO') return readOnly(dir, cause)
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause
  }
  const { bavail, blocks, bsize } = await statfs(dir)
  const reserve = Math.min(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE)
  return bavail * bsize < reserve ? full(dir, bavail * bsize, reserve) : null
}

/** Only a write tells: a disk that failed may still say of itself that it is writable. */
async function touch(path: string): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT, 0o600)
  try {
    await file.write('.', 0)
  } finally {
    await file.close()
  }
}

/** @throws BrumeError DISK_FULL, READ_ONLY */
export async function mustHaveRoom(dir: string): Promise<void> {
  const problem = await diskProblem(dir)
  if (problem !== null) throw problem
}

const full = (dir: string, left: number, reserve: number): BrumeError =>
  new BrumeError(
    'DISK_FULL',
    `the disk of ${dir} is full (${mib(left)} MiB left, ${mib(reserve)} are kept): what runs goes on, nothing can be changed from here`,
    { next: 'make room; this node goes on by itself then' }
  )

const readOnly = (dir: string, cause: unknown): BrumeError =>
  new BrumeError(
    'READ_ONLY',
    `the disk of ${dir} is read-only: what runs goes on, nothing can be changed from here`,
    {
      next: 'see `dmesg` for why, and mount it writable; this node goes on by itself then',
      cause
    }
  )

const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(bytes < 10_485_760 ? 1 : 0)
