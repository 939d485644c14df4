/** Containers of the process engine on disk: one directory each, made and removed in one rename. */
import { randomBytes } from 'node:crypto'
import { cp, mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BrumeError } from '../../../core/errors.ts'
import type { Port } from '../../../core/state/microservices.ts'
import type { Volume } from '../../../core/state/volumes.ts'
import type { ContainerSpec, Owner, PublishedPort } from '../engine.ts'
import { isAlive, stampOf } from './identity.ts'

export interface ContainerRecord {
  id: string
  owner: Owner
  application: string
  microservice: string
  slot: number
  revision: string
  image: string | null
  command: string[]
  /** Of the application file; what the engine adds is added at each start. */
  env: Record<string, string>
  wanted: Port[]
  /** Paths of this node that have to be there; versions before had none. */
  devices?: string[]
  /** Those of the application file; versions before had none. */
  volumes?: readonly Volume[]
  /** The ports chosen for `wanted`, in its order; kept over restarts. */
  ports: PublishedPort[]
  /** `starting` is written before the process is made: after a crash it may be there or not. */
  state: 'created' | 'starting' | 'running' | 'exited'
  /** Of the launcher, which leads the process group. */
  pid: number | null
  /** Tells this pid's process from a later one's: `identity.ts`. */
  stamp: string | null
  startedAt: number | null
  /** -1: it ended and nobody saw how (power cut, launcher killed). */
  exitCode: number | null
}

const HALF = '.half-'

/** As it is before its first start. */
export function newRecord(
  { mesh, node }: Owner,
  spec: ContainerSpec,
  ports: PublishedPort[]
): ContainerRecord {
  return {
    id: randomBytes(16).toString('hex'),
    owner: { mesh, node },
    application: spec.application,
    microservice: spec.microservice,
    slot: spec.slot,
    revision: spec.revision,
    image: spec.image,
    command: spec.command,
    env: spec.env,
    wanted: spec.ports,
    devices: spec.devices.map(({ host }) => host),
    volumes: spec.volumes,
    ports,
    state: 'created',
    pid: null,
    stamp: null,
    startedAt: null,
    exitCode: null
  }
}

/** `files` of one container. All under its directory. */
export function pathsOf(
  dir: string,
  id: string
): Record<'root' | 'record' | 'app' | 'log' | 'exit', string> {
  const root = join(dir, id)
  return {
    root,
    record: join(root, 'container.json'),
    app: join(root, 'app'),
    log: join(root, 'log'),
    exit: join(root, 'exit')
  }
}

/** null if there is no such container. */
export async function readRecord(dir: string, id: string): Promise<ContainerRecord | null> {
  try {
    return JSON.parse(await readFile(pathsOf(dir, id).record, 'utf8')) as ContainerRecord
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Of every owner. */
export async function readRecords(dir: string): Promise<ContainerRecord[]> {
  const ids = (await readdir(dir)).filter((entry) => !entry.startsWith('.'))
  const records = await Promise.all(ids.map((id) => readRecord(dir, id)))
  return records.filter((record) => record !== null)
}

/** On disk when it resolves. The old record or the new one is there at any moment. */
export async function writeRecord(dir: string, record: ContainerRecord): Promise<void> {
  const path = pathsOf(dir, record.id).record
  const next = `${path}.${randomBytes(4).toString('hex')}`
  const file = await open(next, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(record))
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(next, path)
}

/** Makes the directory of a new container with a copy of `filesDir`, which it may write to. */
export async function makeContainer(
  dir: string,
  record: ContainerRecord,
  filesDir: string | null
): Promise<void> {
  const half = await halfName(dir, record.id)
  await mkdir(half, { mode: 0o700 })
  try {
    const app = join(half, 'app')
    if (filesDir === null) await mkdir(app)
    else await copyFiles(filesDir, app)
    const file = await open(join(half, 'container.json'), 'wx', 0o600)
    try {
      await file.writeFile(JSON.stringify(record))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(half, pathsOf(dir, record.id).root)
  } catch (error) {
    await rm(half, { recursive: true, force: true })
    throw error
  }
  await syncDirectory(dir)
}

/** Nothing of the container is seen once this has begun. */
export async function removeContainer(dir: string, id: string): Promise<void> {
  const half = await halfName(dir, id)
  try {
    await rename(pathsOf(dir, id).root, half)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await rm(half, { recursive: true, force: true })
}

/** Removes what a crash left between two lines of the above, and nothing a living daemon is at. */
export async function cleanHalfMade(dir: string): Promise<void> {
  for (const entry of await readdir(dir)) {
    if (entry.startsWith(HALF)) {
      const [pid, stamp] = entry.slice(HALF.length).split('@')
      if (await isAlive(Number(pid), stamp?.replaceAll('~', ' ') ?? null)) continue
      await rm(join(dir, entry), { recursive: true, force: true })
    } else if (!entry.startsWith('.') && !(await isWhole(dir, entry))) {
      await rm(join(dir, entry), { recursive: true, force: true })
    }
  }
}

/** A file system that lost its newest writes may have kept the name and not the content. */
async function isWhole(dir: string, id: string): Promise<boolean> {
  try {
    return (await readRecord(dir, id))?.id === id
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

/** Names its maker, so that another daemon's cleaning leaves it alone. */
async function halfName(dir: string, id: string): Promise<string> {
  const stamp = (await stampOf(process.pid)) ?? ''
  const nonce = randomBytes(4).toString('hex')
  return join(dir, `${HALF}${process.pid}@${stamp.replaceAll(' ', '~')}@${id}-${nonce}`)
}

async function copyFiles(from: string, to: string): Promise<void> {
  try {
    await cp(from, to, { recursive: true, verbatimSymlinks: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new BrumeError('ENGINE_FAILED', `the files of the bundle are not at ${from}`, {
      cause: error
    })
  }
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
