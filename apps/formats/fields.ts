import * as z from 'zod'
import { refusedFor, type Path, type Problem } from './problems.ts'
import { Refusal, shown, unknownKey } from './refusal.ts'
import type { YamlSource } from './yaml.ts'

/** A value that must be there, read by a plain function that throws a Refusal. */
export const field = <T>(read: (value: unknown) => T) =>
  z.unknown().transform((value, context): T => taken(value, context, present(read)))

/** The same where absence, or a key with nothing after it, means `absent`. */
export const optionalField = <T, A>(read: (value: unknown) => T, absent: A) =>
  z
    .unknown()
    .optional()
    .transform((value, context): T | A => {
      if (value === undefined || value === null) return absent
      return taken(value, context, read)
    })

function present<T>(read: (value: unknown) => T): (value: unknown) => T {
  return (value) => {
    if (value === undefined) throw new Refusal('missing')
    return read(value)
  }
}

function taken<T>(value: unknown, context: z.RefinementCtx, read: (value: unknown) => T): T {
  try {
    return read(value)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { message, path, key } = error
    context.issues.push({ code: 'custom', message, path, input: value, params: { key } })
    return z.NEVER
  }
}

/**
 * What `schema` makes of the file's value.
 *
 * @param hint may say more of an unknown key than the nearest known one does
 * @throws BrumeError BAD_FILE with a sentence for each problem
 */
export function readWith<T>(
  schema: z.ZodType<T>,
  source: YamlSource,
  hint: (key: string) => string | null = () => null
): T {
  const result = schema.safeParse(source.value)
  if (result.success) return result.data
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, schema, source, hint))
  throw refusedFor(source, problems)
}

function problemsOf(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  source: YamlSource,
  hint: (key: string) => string | null
): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path)
    return issue.keys.map((key) => ({
      path: issue.path,
      message: hint(key) ?? unknownKey(key, known),
      key
    }))
  }
  const value = valueAt(source.value, issue.path)
  if (issue.code === 'custom') {
    const key = issue.params?.['key'] as string | null
    return [{ path: issue.path, message: issue.message, key }]
  }
  if (issue.code !== 'invalid_type') return [{ path: issue.path, message: issue.message }]
  if (value === undefined) return [{ path: issue.path, message: 'missing' }]
  const words: Record<string, string> = {
    object: 'a map',
    array: 'a list',
    boolean: 'true or false'
  }
  const expected = words[issue.expected] ?? issue.expected
  return [{ path: issue.path, message: `expected ${expected}, got ${shown(value)}` }]
}

/** The keys that the map at `path` may have. */
function keysAt(schema: unknown, path: Path): string[] {
  let at = bare(schema)
  for (const step of path) {
    if (at instanceof z.ZodArray) at = bare(at.element)
    else if (at instanceof z.ZodObject)
      at = bare((at.shape as Record<string, unknown>)[String(step)])
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

/** Without what makes it optional. */
function bare(schema: unknown): unknown {
  let at = schema
  while (at instanceof z.ZodOptional || at instanceof z.ZodNullable) at = at.unwrap()
  return at
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const step of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<PropertyKey, unknown>)[step]
  }
  return at
}
