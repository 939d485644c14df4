import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair
} from 'yaml'
import { BrumeError } from '../../core/errors.ts'
import type { Path } from './problems.ts'

/** The value of a file's one YAML document, and where each part of it was written. */
export interface YamlSource {
  readonly file: string
  readonly value: unknown
  /** Line of the key or list item at `path`, or of the nearest thing around it; 1 is the first. */
  lineOf(path: Path): number
}

/** Enough for templates by hand; a bomb needs more. */
const MAX_ALIASES = 100

/**
 * Numbers and booleans below a key in `textKeys` keep the spelling of the file (`1.10`, `0755`),
 * because they become strings and nobody means the number.
 *
 * @throws BrumeError BAD_FILE, with the line, for anything that is not one sound document
 */
export function parseYaml(
  text: string,
  file: string,
  textKeys: ReadonlySet<string> = new Set()
): YamlSource {
  const lines = new LineCounter()
  const lineOf = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  const bad = (offset: number | null, message: string): BrumeError =>
    new BrumeError(
      'BAD_FILE',
      `${file}${offset === null ? '' : `:${lineOf(offset)}`}: ${message}`,
      {
        next: `correct ${file} and deploy it again; nothing was changed`
      }
    )

  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      // Its own check compares every key with every other; `checkTree` does it in one pass.
      uniqueKeys: false,
      merge: true,
      schema: 'core',
      logLevel: 'error'
    })
    const error = document.errors[0]
    if (error) throw bad(error.pos[0], explained(error.code, error.message))
    const warning = document.warnings[0]
    if (warning) throw bad(warning.pos[0], `not plain YAML: ${warning.message}`)
    const problem = checkTree(document, textKeys, lineOf)
    if (problem) throw bad(problem.offset, problem.message)
    return {
      file,
      value: document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown,
      lineOf: (path) => lineOf(offsetOf(document, path) ?? 0)
    }
  } catch (error) {
    if (error instanceof BrumeError) throw error
    if (error instanceof RangeError) throw bad(null, 'it is nested too deeply')
    if (error instanceof ReferenceError) {
      throw bad(null, `it has more than ${MAX_ALIASES} aliases of aliases`)
    }
    // What else the library throws is about aliases and merges, and says so in words.
    throw bad(null, `not valid YAML: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function explained(code: string, message: string): string {
  if (code === 'TAB_AS_INDENT') return 'a tab in the indentation: YAML wants spaces'
  if (code === 'MULTIPLE_DOCS') {
    return 'a second document begins here: expected one application, so one document, a file'
  }
  return `not valid YAML: ${message}`
}

interface TreeProblem {
  offset: number | null
  message: string
}

/** Walks without recursion: depth is in the hands of whoever wrote the file. */
function checkTree(
  document: Document,
  textKeys: ReadonlySet<string>,
  lineOf: (offset: number) => number
): TreeProblem | null {
  const open: { node: unknown; asText: boolean }[] = [{ node: document.contents, asText: false }]
  for (let next = open.pop(); next; next = open.pop()) {
    const { node, asText } = next
    if (asText && isScalar(node) && node.source !== undefined) {
      if (typeof node.value === 'number' || typeof node.value === 'boolean') {
        node.value = node.source
      }
    }
    if (isAlias(node) && node.resolve(document) === undefined) {
      return { offset: startOf(node), message: `no anchor &${node.source} before this alias` }
    }
    if (!isCollection(node)) continue
    const seen = new Map<string, number>()
    for (const item of node.items) {
      if (!isPair(item)) {
        open.push({ node: item, asText })
        continue
      }
      const key = keyOf(item)
      const offset = startOf(item.key)
      if (key === null) return { offset, message: 'expected a plain word as key' }
      if (key === '__proto__') return { offset, message: 'unknown key `__proto__`' }
      const first = seen.get(key)
      if (first !== undefined) {
        return { offset, message: `the key \`${key}\` is here twice, first in line ${first}` }
      }
      seen.set(key, offset === null ? 1 : lineOf(offset))
      open.push({ node: item.value, asText: asText || textKeys.has(key) })
    }
  }
  return null
}

function keyOf(pair: Pair): string | null {
  if (!isScalar(pair.key)) return null
  const { value, source } = pair.key
  if (typeof value === 'string') return value
  // `80: x` and `true: x`: the key is what was written.
  return typeof value === 'number' || typeof value === 'boolean' ? (source ?? String(value)) : null
}

function startOf(node: unknown): number | null {
  return isNode(node) ? ((node as Node).range?.[0] ?? null) : null
}

function offsetOf(document: Document, path: Path): number | null {
  let node: unknown = document.contents
  let offset = startOf(node)
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((p) => keyOf(p) === String(step))
      if (!pair) break
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node) && typeof step === 'number') {
      const item: unknown = node.items[step]
      if (item === undefined) break
      offset = startOf(item) ?? offset
      node = item
    } else break
  }
  return offset
}
