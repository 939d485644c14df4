/**
 * Which machine a data directory was made on. A disk that was cloned takes the identity along, and two
 * nodes of one identity would fork what they both write.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hash } from './crypto.ts'
import { BrumeError } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'

const FILE = 'machine'

/**
 * Remembers this machine in a directory that knows none. A machine that has no id is any machine.
 *
 * @throws BrumeError MACHINE_CHANGED: the directory was made on another one.
 */
export async function checkMachine(dir: string, id?: string | null): Promise<void> {
  const own = id === undefined ? await machineId() : id
  if (own === null) return
  // Not the id itself: it is not to be handed out, says its manual.
  const mine = hash('machine', Buffer.from(own)).toString('hex')
  const known = await readIfThere(join(dir, FILE))
  if (known === null) return writeWhole(join(dir, FILE), `${mine}\n`)
  if (known.toString().trim() === mine) return
  throw new BrumeError(
    'MACHINE_CHANGED',
    `${dir} was made on another machine: if it was cloned, two nodes would be one, and what they write would contradict itself`,
    { next: `brume adopt --data ${dir}, which makes it a node of its own` }
  )
}

async function machineId(): Promise<string | null> {
  for (const path of ['/etc/machine-id', '/var/lib/dbus/machine-id']) {
    const id = (await readIfThere(path))?.toString().trim()
    if (id !== undefined && /^[0-9a-f]{32}$/.test(id)) return id
  }
  if (process.platform !== 'darwin') return null
  try {
    const args = ['-rd1', '-c', 'IOPlatformExpertDevice']
    const { stdout } = await promisify(execFile)('ioreg', args, { timeout: 5_000 })
    return /"IOPlatformUUID" = "([^"]+)"/.exec(stdout)?.[1] ?? null
  } catch {
    return null
  }
}
