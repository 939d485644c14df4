/** The files of a deploy: found, read, and sorted by what they describe. */
import { open, readdir, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { readApplication, TEXT_KEYS, type ParsedApplication } from './application.ts'
import { readHeader } from './kinds.ts'
import { readService, type ParsedService } from './service.ts'
import { parseYaml } from './yaml.ts'

export interface Described {
  applications: ParsedApplication[]
  services: ParsedService[]
}

const LIMIT_BYTES = 1024 * 1024

/**
 * What a file describes, or every `*.yaml` and `*.yml` directly in a directory, by name.
 *
 * @throws BrumeError FILE_MISSING, FILE_UNREADABLE, FILE_TOO_LARGE, BAD_FILE
 */
export async function readFiles(path: string): Promise<Described> {
  const found: Described = { applications: [], services: [] }
  const fileOf = new Map<string, string>()
  const once = (what: string, file: string, next: string): void => {
    const other = fileOf.get(what)
    if (other !== undefined) {
      throw new BrumeError('BAD_FILE', `${file}: ${other} describes the ${what} too`, { next })
    }
    fileOf.set(what, file)
  }
  for (const file of await filesOf(path)) {
    const source = parseYaml(await readText(file), file, TEXT_KEYS)
    if (readHeader(source).kind === 'Service') {
      const service = readService(source)
      const { application, name } = service
      once(`service ${application}/${name}`, file, 'leave out one of the two')
      found.services.push(service)
    } else {
      const parsed = readApplication(source)
      const next = 'an application is one file: put their microservices together'
      once(`application ${parsed.application}`, file, next)
      found.applications.push(parsed)
    }
  }
  return found
}

async function filesOf(path: string): Promise<string[]> {
  const info = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  if (!info.isDirectory()) return [path]
  const names = await readdir(path).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  const files: string[] = []
  for (const name of names.sort()) {
    if (!/\.ya?ml$/i.test(name)) continue
    const file = join(path, name)
    const entry = await stat(file).catch((error: unknown) => {
      throw unreadable(file, error)
    })
    if (entry.isFile()) files.push(file)
  }
  if (files.length > 0) return files
  throw new BrumeError('FILE_MISSING', `${path}: no *.yaml or *.yml file in this directory`, {
    next: 'name an application file: brume deploy -f FILE'
  })
}

async function readText(file: string): Promise<string> {
  let bytes: Buffer
  try {
    const handle = await open(file, 'r')
    try {
      bytes = await readLimited(handle, file)
    } finally {
      await handle.close()
    }
  } catch (error) {
    throw error instanceof BrumeError ? error : unreadable(file, error)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new BrumeError('BAD_FILE', `${file}: expected UTF-8 text`, {
      next: `save ${file} as UTF-8`,
      cause: error
    })
  }
}

/** A pipe has no size to ask for first, so reading stops at the limit as well. */
async function readLimited(handle: FileHandle, file: string): Promise<Buffer> {
  const info = await handle.stat()
  if (info.size > LIMIT_BYTES) throw tooLarge(file, `${(info.size / LIMIT_BYTES).toFixed(1)} MiB`)
  const buffer = Buffer.alloc(LIMIT_BYTES + 1)
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  if (length > LIMIT_BYTES) throw tooLarge(file, 'more')
  return buffer.subarray(0, length)
}

function tooLarge(file: string, size: string): BrumeError {
  const message = `${file}: expected an application file of at most 1 MiB, got ${size}`
  return new BrumeError('FILE_TOO_LARGE', message, {
    next: 'put data into a directory and name it as `files`'
  })
}

function unreadable(path: string, error: unknown): BrumeError {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new BrumeError('FILE_MISSING', `${path}: no such file or directory`, {
      next: 'name an application file, or a directory of them: brume deploy -f FILE',
      cause: error
    })
  }
  const reason =
    code === 'EACCES' || code === 'EPERM' ? 'no permission to read it' : sentenceOf(error)
  return new BrumeError('FILE_UNREADABLE', `${path}: ${reason}`, { cause: error })
}
