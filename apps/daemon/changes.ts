/** What differs between two values of a thing, in words for one line. Pure. */
import { canonical } from '../../core/crypto.ts'

export interface Difference {
  /** `replicas`, `env.PORT`. */
  path: string
  before: unknown
  after: unknown
}

/** As Side and Revision have it: null is removed, undefined was not kept. */
export interface Version {
  value?: unknown
  bytes: number
}

const MAX_TEXT = 48
const MAX_SHOWN = 6

/**
 * `image local/web:2 → :3, replicas 3 → 5`; `before` is null for the first of all, and `given` where
 * there was a value that nobody had set.
 */
export function changeLine(before: Version | null | 'given', after: Version): string {
  if (after.value === undefined) return tooLarge(after)
  if (after.value === null) return 'removed'
  if (before === 'given') return listed(leaves(after.value))
  if (before === null || before.value === null) {
    const what = brief(after.value)
    const how = before === null ? 'created' : 'created again'
    return what === '' ? how : `${how}: ${what}`
  }
  if (before.value === undefined) return brief(after.value)
  const found = differences(before.value, after.value)
  if (found.length === 0) return 'as before'
  return listed(found.map(({ path, before, after }) => `${path} ${arrow(before, after)}`))
}

/** What each of two has that the other has not: `replicas 3` and `replicas 5`. */
export function contrast(one: Version, other: Version): [string, string] {
  if (!isPlain(one.value) || !isPlain(other.value)) return [alone(one), alone(other)]
  const found = differences(one.value, other.value)
  return [
    listed(found.map(({ path, before }) => `${path} ${show(before)}`)),
    listed(found.map(({ path, after }) => `${path} ${show(after)}`))
  ]
}

/**
 * Leaves that differ, in the order of their paths. What names its content by a digest is a leaf; a
 * field that is null and one that is missing are the same.
 */
export function differences(before: unknown, after: unknown, path = ''): Difference[] {
  if (canonical(before) === canonical(after) || isSameFile(before, after)) return []
  if (!isPlain(before) || !isPlain(after) || hasDigest(before) || hasDigest(after)) {
    return [{ path, before, after }]
  }
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names.flatMap((name) =>
    differences(before[name], after[name], path === '' ? name : `${path}.${name}`)
  )
}

const alone = (version: Version): string => {
  if (version.value === undefined) return tooLarge(version)
  if (version.value === null) return 'removed'
  return brief(version.value) || 'there'
}

const tooLarge = ({ bytes }: Version): string =>
  `too large to be kept here (${Math.ceil(bytes / 1024)} KiB)`

/** The fields that say most of a value seen alone. */
function brief(value: unknown): string {
  if (!isPlain(value)) return show(value)
  const first = ['image', 'files', 'replicas', 'node', 'labels', 'role', 'onlyOver']
  const told = first.filter((name) => show(value[name]) !== 'none')
  return listed(told.map((name) => `${name} ${show(value[name])}`))
}

/** `labels.zone a`; what has nothing in it says so. */
function leaves(value: unknown, path = ''): string[] {
  if (!isPlain(value) || hasDigest(value) || Object.keys(value).length === 0) {
    return [`${path} ${show(value)}`]
  }
  return Object.keys(value)
    .sort()
    .flatMap((name) => leaves(value[name], path === '' ? name : `${path}.${name}`))
}

function arrow(before: unknown, after: unknown): string {
  if (typeof before === 'string' && typeof after === 'string') {
    const stem = before.slice(0, before.lastIndexOf(':') + 1)
    if (stem !== '' && after.startsWith(stem)) {
      return `${show(before)} → :${show(after.slice(stem.length))}`
    }
  }
  return `${show(before)} → ${show(after)}`
}

function show(value: unknown): string {
  if (value === null || value === undefined) return 'none'
  if (hasDigest(value)) return value.digest.slice(0, 8)
  if (typeof value === 'string') return cut(value === '' ? '""' : value)
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) {
    return value.length === 0 ? 'none' : cut(value.join(' '))
  }
  return isPlain(value) && Object.keys(value).length === 0 ? 'none' : cut(canonical(value))
}

const cut = (text: string): string =>
  text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`

const listed = (parts: string[]): string =>
  parts.length <= MAX_SHOWN
    ? parts.join(', ')
    : `${parts.slice(0, MAX_SHOWN).join(', ')} and ${parts.length - MAX_SHOWN} more`

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isSameFile = (a: unknown, b: unknown): boolean =>
  hasDigest(a) && hasDigest(b) && a.digest === b.digest

const hasDigest = (value: unknown): value is { digest: string } =>
  isPlain(value) && typeof value['digest'] === 'string'
