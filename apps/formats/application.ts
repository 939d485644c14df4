import { open, readdir, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { isWholeSpec, type MicroserviceSpec } from '../../core/state/microservices.ts'
import { readBrume } from './brume.ts'
import { readIofog } from './iofog.ts'
import { readHeader } from './kinds.ts'
import { refusedFor, sentencesOf, type Problem } from './problems.ts'
import { parseYaml } from './yaml.ts'

export interface ParsedMicroservice {
  name: string
  /** `files` is null: the bundle has no digest before it is made. */
  spec: MicroserviceSpec
  /** Absolute path of the directory to bundle; null without one. */
  filesDir: string | null
  /** `file:line` that names it, for errors about it. */
  filesAt: string
}

export interface ParsedApplication {
  application: string
  microservices: ParsedMicroservice[]
  /** Sentences with place and path. */
  warnings: string[]
}

const LIMIT_BYTES = 1024 * 1024

/**
 * The applications of a file, or of every `*.yaml` and `*.yml` directly in a directory, by name.
 *
 * @throws BrumeError FILE_MISSING, FILE_UNREADABLE, FILE_TOO_LARGE, BAD_FILE
 */
export async function readApplications(path: string): Promise<ParsedApplication[]> {
  const files = await filesOf(path)
  const applications: ParsedApplication[] = []
  const fileOf = new Map<string, string>()
  for (const file of files) {
    const parsed = parseApplication(await readText(file), file)
    const other = fileOf.get(parsed.application)
    if (other !== undefined) {
      const message = `${file}: ${other} describes the application ${parsed.application} too`
      throw new BrumeError('BAD_FILE', message, {
        next: 'an application is one file: put their microservices together'
      })
    }
    fileOf.set(parsed.application, file)
    applications.push(parsed)
  }
  return applications
}

/**
 * @param file how errors call it, and what `files` is relative to
 * @throws BrumeError BAD_FILE: a line for each problem, each with place, path and what was expected
 */
export function parseApplication(text: string, file: string): ParsedApplication {
  const source = parseYaml(text, file, TEXT_KEYS)
  const read = readHeader(source) === 'brume' ? readBrume(source) : readIofog(source)
  const problems: Problem[] = []
  if (read.microservices.length === 0) {
    const path = ['spec', 'microservices']
    problems.push({ path, message: 'expected at least one microservice' })
  }
  const microservices = read.microservices.map(({ name, spec, files }, index) => {
    const path = ['spec', 'microservices', index]
    // Apply judges by this: what it would refuse must not leave this machine.
    if (!isWholeSpec(spec)) {
      problems.push({ path, message: 'a value in it is longer or larger than an op may hold' })
    }
    const filesDir = files === null ? null : resolve(dirname(file), files)
    return { name, spec, filesDir, filesAt: `${file}:${source.lineOf([...path, 'files'])}` }
  })
  if (problems.length > 0) throw refusedFor(source, problems)
  const warnings = sentencesOf(source, read.warnings)
  return { application: read.application, microservices, warnings }
}

/** Below these keys a number is text: nobody means 1.1 who writes `VERSION: 1.10`. */
const TEXT_KEYS = new Set(['env', 'labels', 'command', 'commands', 'cmd', 'test'])

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
