import { BrumeError } from '../../core/errors.ts'
import type { YamlSource } from './yaml.ts'

export type Path = readonly PropertyKey[]

/** One thing that is wrong in a file, at a path of its value. */
export interface Problem {
  path: Path
  message: string
  /** A key of the map at `path` whose line is the place. */
  key?: string | null
}

const MOST = 5

/** The one error for all problems of a file: a sentence a line, each with line and path. */
export function refusedFor(source: YamlSource, problems: readonly Problem[]): BrumeError {
  const all = sentencesOf(source, problems)
  const lines = all.slice(0, MOST)
  if (all.length > MOST) lines.push(`${source.file}: and ${all.length - MOST} more`)
  return new BrumeError('BAD_FILE', lines.join('\n'), {
    next: `correct ${source.file} and deploy it again; nothing was changed`
  })
}

/** In the file's order: `app.yaml:14: spec.microservices[2].ports[0]: expected HOST:CONTAINER` */
export function sentencesOf(source: YamlSource, problems: readonly Problem[]): string[] {
  const placed = problems.map(({ path, message, key }) => {
    const line = source.lineOf(typeof key === 'string' ? [...path, key] : path)
    const where = pathText(path)
    const what = `${where === '' ? '' : `${where}: `}${message}`
    return { line, sentence: `${source.file}:${line}: ${what}` }
  })
  return placed.sort((a, b) => a.line - b.line).map(({ sentence }) => sentence)
}

export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += `${text === '' ? '' : '.'}${String(step)}`
  }
  return text
}
