import { onlyKeys, Refusal, shown, within } from './refusal.ts'

const MOST = 512
const LONGEST_KEY = 256
const LONGEST_VALUE = 32_768

/** A map, or a list of `KEY=value` and ioFog's `{ key, value }`. No value is an empty one. */
export function readEnv(value: unknown): Record<string, string> {
  if (Array.isArray(value)) return collect(value.map((item, i) => [[i], ...fromItem(item, i)]))
  if (typeof value === 'object' && value !== null) {
    return collect(Object.entries(value).map(([key, v]) => [[key], key, v]))
  }
  throw new Refusal(`expected a map of variables, got ${shown(value)}`)
}

type Entry = [path: (string | number)[], key: string, value: unknown]

function fromItem(item: unknown, index: number): [string, unknown] {
  if (typeof item === 'string') {
    const at = item.indexOf('=')
    if (at > 0) return [item.slice(0, at), item.slice(at + 1)]
  } else if (typeof item === 'object' && item !== null && !Array.isArray(item)) {
    within(index, () => onlyKeys(item, ['key', 'value']))
    const { key, value } = item as Record<string, unknown>
    if (typeof key === 'string' || typeof key === 'number') return [String(key), value]
    throw new Refusal(`expected the variable's name, got ${shown(key)}`, [index, 'key'])
  }
  throw new Refusal(`expected KEY=value or { key, value }, got ${shown(item)}`, [index])
}

function collect(entries: Entry[]): Record<string, string> {
  if (entries.length > MOST) {
    throw new Refusal(`expected at most ${MOST} variables, got ${entries.length}`)
  }
  const env: Record<string, string> = {}
  for (const [path, key, value] of entries) {
    if (key === '' || key.length > LONGEST_KEY || /[=\0]/.test(key) || key === '__proto__') {
      throw new Refusal(`expected a variable's name without = or NUL, got ${shown(key)}`, path)
    }
    if (Object.hasOwn(env, key)) throw new Refusal(`the variable ${key} is here twice`, path)
    env[key] = readText(value, LONGEST_VALUE, path)
  }
  return env
}

/** A scalar as text, nothing as ''. */
export function readText(value: unknown, longest: number, path: (string | number)[] = []): string {
  if (value === null || value === undefined) return ''
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw new Refusal(`expected text, got ${shown(value)}`, path)
  }
  const text = String(value)
  if (text.length > longest || text.includes('\0')) {
    throw new Refusal(`expected at most ${longest} characters, none of them NUL`, path)
  }
  return text
}
