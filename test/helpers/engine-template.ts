import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ensureImages } from './docker.ts'
import { startDockerd } from './dockerd.ts'

const run = promisify(execFile)
const CACHE = join(import.meta.dirname, '../../node_modules/.cache/brume-engines')

/**
 * A data directory of dockerd that has the images of the tests, made once a machine: a copy of it
 * is an engine that has them too, under the same ids, in a third of the time of loading them.
 */
export async function engineTemplate(): Promise<string> {
  const path = join(CACHE, await keyOf())
  if (await isThere(path)) return path
  await mkdir(CACHE, { recursive: true })
  await removeOld()
  const dir = join(tmpdir(), `brume-docker-${process.pid}-template`)
  const half = `${path}.${process.pid}`
  const args = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false']
  const engine = await startDockerd(dir, { args })
  try {
    await ensureImages(engine.socketPath)
    await engine.end()
    await copyData(join(dir, 'data'), half)
    // Of the engine, not of its images.
    await rm(join(half, 'network'), { recursive: true, force: true })
    await rename(half, path).catch((error: NodeJS.ErrnoException) => {
      // Another test made it meanwhile.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await engine.stop()
    await rm(half, { recursive: true, force: true })
  }
  return path
}

export async function copyData(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o711 })
  await run('cp', ['-a', '--reflink=auto', `${from}/.`, to])
}

/** One is 100 MB. What another test is at has a dot in its name. */
async function removeOld(): Promise<void> {
  for (const entry of await readdir(CACHE)) {
    if (!entry.includes('.')) await rm(join(CACHE, entry), { recursive: true, force: true })
  }
}

/** Another engine, node or busybox makes other data. */
async function keyOf(): Promise<string> {
  const { stdout } = await run('dockerd', ['--version'])
  const { size, mtimeMs } = await stat(process.execPath)
  const facts = [stdout, process.execPath, size, mtimeMs]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
