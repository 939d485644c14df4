import { nearest } from './nearest.ts'

/**
 * What a reader of one value throws when it cannot take it: a sentence without its place, such as
 * `expected a duration like 2s, got "soon"`. `path` leads from the value it was given to the part
 * that is wrong. Whoever knows the place turns it into a problem of the file.
 */
export class Refusal extends Error {
  readonly path: (string | number)[]
  /** The key of the map at `path` that the sentence is about; null when it is about the whole. */
  readonly key: string | null

  constructor(message: string, path: (string | number)[] = [], key: string | null = null) {
    super(message)
    this.name = 'Refusal'
    this.path = path
    this.key = key
  }
}

/** Runs `read`; what it refuses is then at `step` of the value around it. */
export function within<T>(step: string | number, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new Refusal(error.message, [step, ...error.path], error.key)
  }
}

/** Refuses a map with any key but `known`. */
export function onlyKeys(map: object, known: readonly string[]): void {
  const unknown = Object.keys(map).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new Refusal(unknownKey(unknown, known), [], unknown)
}

export function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  const meant = near === null ? `expected one of ${known.join(', ')}` : `did you mean \`${near}\`?`
  return `unknown key \`${key.slice(0, 60)}\`, ${meant}`
}

/** A value as an error shows it: short, on one line, and safe for a terminal. */
export function shown(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string') return typeof value
  const cut = value.length > 60 ? `${value.slice(0, 57)}...` : value
  return JSON.stringify(cut)
}
