import {
  Composer,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type CST,
  type Document,
  type Node,
  type Pair,
  type YAMLMap
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

/** Far above any application's; far below what the library's recursion needs to end the process. */
const MAX_DEPTH = 100

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
    const composer = new Composer({
      prettyErrors: false,
      // Its own check compares every key with every other; `checkTree` does it in one pass.
      uniqueKeys: false,
      merge: true,
      schema: 'core',
      logLevel: 'error'
    })
    const tokens = tokensOf(text, lines, (offset) => bad(offset, 'it is nested too deeply'))
    const [document, second] = [...composer.compose(tokens, true, text.length)]
    if (!document) throw bad(null, 'expected a YAML document')
    const error = document.errors[0]
    if (error) throw bad(error.pos[0], explained(error.code, error.message))
    if (second) {
      const message =
        'a second document begins here: expected one application, so one document, a file'
      throw bad(second.range[0], message)
    }
    const warning = document.warnings[0]
    if (warning) throw bad(warning.pos[0], `not plain YAML: ${warning.message}`)
    const problem = checkTree(document, textKeys, lineOf)
    if (problem) throw bad(problem.offset, problem.message)
    const offsetOf = locator(document)
    return {
      file,
      value: document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown,
      lineOf: (path) => lineOf(offsetOf(path))
    }
  } catch (error) {
    if (error instanceof BrumeError) throw error
    if (error instanceof ReferenceError) {
      throw bad(null, `it has more than ${MAX_ALIASES} aliases of aliases`)
    }
    // What else the library throws is about aliases and merges, and says so in words.
    throw bad(null, `not valid YAML: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** All of `text`, as long as nothing in it is deeper than MAX_DEPTH. */
function tokensOf(
  text: string,
  lines: LineCounter,
  tooDeep: (offset: number) => BrumeError
): CST.Token[] {
  const parser = new Parser(lines.addNewLine)
  const tokens: CST.Token[] = []
  lines.addNewLine(0)
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token)
    if (parser.stack.length > MAX_DEPTH) throw tooDeep(parser.offset)
  }
  for (const token of parser.end()) tokens.push(token)
  return tokens
}

function explained(code: string, message: string): string {
  if (code === 'TAB_AS_INDENT') return 'a tab in the indentation: YAML wants spaces'
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
  // The library gives a merge key a symbol of its own.
  if (source === '<<') return source
  if (typeof value === 'string') return value
  // `80: x` and `true: x`: the key is what was written.
  return typeof value === 'number' || typeof value === 'boolean' ? (source ?? String(value)) : null
}

function startOf(node: unknown): number | null {
  return isNode(node) ? ((node as Node).range?.[0] ?? null) : null
}

/** Where things are, by path; the keys of a map are looked through once, however often it asks. */
function locator(document: Document): (path: Path) => number {
  const indexes = new WeakMap<object, Map<string, Pair>>()
  const pairOf = (map: YAMLMap, key: string): Pair | undefined => {
    let index = indexes.get(map)
    if (!index) {
      index = new Map(map.items.map((pair) => [keyOf(pair) ?? '', pair]))
      indexes.set(map, index)
    }
    return index.get(key)
  }
  return (path) => {
    let node: unknown = document.contents
    let offset = startOf(node)
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(document)
      let next: unknown
      if (isMap(node)) {
        const pair = pairOf(node, String(step))
        next = pair?.value
        offset = startOf(pair?.key) ?? offset
      } else if (isSeq(node) && typeof step === 'number') {
        next = node.items[step]
        offset = startOf(next) ?? offset
      }
      if (next === undefined) break
      node = next
    }
    return offset ?? 0
  }
}
