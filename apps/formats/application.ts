import { dirname, resolve } from 'node:path'
import { isWholeSpec, type MicroserviceSpec } from '../../core/state/microservices.ts'
import { readBrume } from './brume.ts'
import { readIofog } from './iofog.ts'
import { readHeader } from './kinds.ts'
import { refusedFor, sentencesOf, type Problem } from './problems.ts'
import { parseYaml, type YamlSource } from './yaml.ts'

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

/**
 * @param file how errors call it, and what `files` is relative to
 * @throws BrumeError BAD_FILE: a line for each problem, each with place, path and what was expected
 */
export const parseApplication = (text: string, file: string): ParsedApplication =>
  readApplication(parseYaml(text, file, TEXT_KEYS))

/** @throws BrumeError BAD_FILE, as `parseApplication`. */
export function readApplication(source: YamlSource): ParsedApplication {
  const { file } = source
  const { ours, kind } = readHeader(source)
  if (kind !== 'Application') {
    throw refusedFor(source, [{ path: ['kind'], message: `expected Application, got ${kind}` }])
  }
  const read = ours ? readBrume(source) : readIofog(source)
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
export const TEXT_KEYS = new Set(['env', 'labels', 'command', 'commands', 'cmd', 'test'])
