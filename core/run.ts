/**
 * How the last run on a data directory ended, as `run.json` says: written at its start, marked at its
 * orderly end. After a power cut the end of what this node wrote may be missing.
 */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from './crypto.ts'
import { readIfThere, writeWhole } from './files.ts'

export interface Run {
  /** `killed`: the process alone ended, so the kernel wrote what it had. `cut`: the machine ended. */
  last: 'ended' | 'killed' | 'cut'
  /** Another one after each cut: names the core of bundles, to whose end nothing is appended then. */
  era: string
}

interface Marker {
  boot: string
  running: boolean
  era: string
}

/** Reads how the last run ended, and marks this one as running. @param boot other machines' in tests */
export async function beginRun(dir: string, boot: string = bootId()): Promise<Run> {
  const before = await readMarker(dir)
  const last = before?.running !== true ? 'ended' : before.boot === boot ? 'killed' : 'cut'
  const era = last === 'cut' ? randomBytes(4).toString('hex') : (before?.era ?? '')
  await writeMarker(dir, { boot, running: true, era })
  return { last, era }
}

/** All is closed: the next start need not ask. */
export async function endRun(dir: string, { era }: Run): Promise<void> {
  await writeMarker(dir, { boot: '', running: false, era })
}

const pathOf = (dir: string): string => join(dir, 'run.json')

const writeMarker = (dir: string, marker: Marker): Promise<void> =>
  writeWhole(pathOf(dir), `${JSON.stringify(marker)}\n`)

/** One that cannot be read was cut itself. */
async function readMarker(dir: string): Promise<Marker | null> {
  const bytes = await readIfThere(pathOf(dir))
  if (bytes === null) return null
  try {
    const { boot, running, era } = JSON.parse(bytes.toString()) as Partial<Marker>
    return { boot: String(boot), running: running !== false, era: String(era ?? '') }
  } catch {
    return { boot: '', running: true, era: '' }
  }
}

/** One string a boot of this machine. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // No Linux: the minute of the boot. A clock that was set makes it another boot, which is harmless.
    return String(Math.round((Date.now() - uptime() * 1000) / 60_000))
  }
}
