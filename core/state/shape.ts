/**
 * Declares what an op looks like, once: its TypeScript type and the check apply makes of it.
 *
 * Written here and not with a schema library because apply must give the same verdict on every
 * version of every daemon for ever: a library's next release may judge a value differently.
 * Unknown fields are ignored (a newer daemon may add some); checks never throw.
 */
export interface Shape<T> {
  /** Narrows `value`; true when it has this shape. */
  readonly check: (value: unknown) => value is T
}

export type Infer<S> = S extends Shape<infer T> ? T : never

type Fields = Record<string, Shape<unknown>>
type OptionalKeys<F extends Fields> = {
  [K in keyof F]: undefined extends Infer<F[K]> ? K : never
}[keyof F]
type ObjectOf<F extends Fields> = {
  [K in Exclude<keyof F, OptionalKeys<F>>]: Infer<F[K]>
} & { [K in OptionalKeys<F>]?: Infer<F[K]> }

const shape = <T>(check: (value: unknown) => boolean): Shape<T> => ({
  check: check as (value: unknown) => value is T
})

/** A string of `min` to `max` UTF-16 units. */
export const text = (max: number, min = 0): Shape<string> =>
  shape((v) => typeof v === 'string' && v.length >= min && v.length <= max)

/** A string that matches `pattern` (which must be anchored). */
export const pattern = (regexp: RegExp): Shape<string> =>
  shape((v) => typeof v === 'string' && regexp.test(v))

export const integer = (min: number, max: number): Shape<number> =>
  shape((v) => Number.isSafeInteger(v) && (v as number) >= min && (v as number) <= max)

export const number = (min: number, max: number): Shape<number> =>
  shape((v) => typeof v === 'number' && Number.isFinite(v) && v >= min && v <= max)

export const bool: Shape<boolean> = shape((v) => typeof v === 'boolean')

export const literal = <const L extends string | number | boolean | null>(
  ...values: L[]
): Shape<L> => shape((v) => values.includes(v as L))

export const nullable = <T>(inner: Shape<T>): Shape<T | null> =>
  shape((v) => v === null || inner.check(v))

export const optional = <T>(inner: Shape<T>): Shape<T | undefined> =>
  shape((v) => v === undefined || inner.check(v))

export const either = <A, B>(a: Shape<A>, b: Shape<B>): Shape<A | B> =>
  shape((v) => a.check(v) || b.check(v))

export const list = <T>(inner: Shape<T>, max: number): Shape<T[]> =>
  shape((v) => Array.isArray(v) && v.length <= max && v.every((x) => inner.check(x)))

/** A plain map from keys of `key` to values of `value`, at most `max` entries. */
export const map = <T>(
  key: Shape<string>,
  value: Shape<T>,
  max: number
): Shape<Record<string, T>> =>
  shape((v) => {
    if (!isObject(v)) return false
    const keys = Object.keys(v)
    return keys.length <= max && keys.every((k) => key.check(k) && value.check(v[k]))
  })

export const object = <F extends Fields>(fields: F): Shape<ObjectOf<F>> =>
  shape((v) => isObject(v) && Object.keys(fields).every((k) => fields[k]?.check(v[k]) === true))

function isObject(v: unknown): v is Record<string, unknown> {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) return false
  return true
}
