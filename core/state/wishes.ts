/** Constraints on labels, as a person writes them: the file format, apply and the Controller read them here. */
import { LABEL_KEY } from './names.ts'

export interface Wish {
  key: string
  negated: boolean
  /** The label has one of these; null: any, as long as there is one. */
  values: string[] | null
}

/**
 * `zone=x`, `zone==x`, `zone!=x`, `zone in (x, y)`, `zone not in (x, y)`, `zone`, `!zone`; null where it
 * is none of them.
 */
export function readWish(text: string): Wish | null {
  const compared = /^([^=!]*)(!=|==?)(.*)$/s.exec(text)
  if (compared !== null) {
    const [, key = '', operator = '', value = ''] = compared.map((part) => part.trim())
    return wishFor(key, operator === '!=', [value])
  }
  const among = /^(\S+)\s+(not\s+)?in\s*\(([^()]*)\)$/.exec(text.trim())
  if (among !== null) {
    const [, key = '', not, list = ''] = among
    return wishFor(
      key,
      not !== undefined,
      list.split(',').map((value) => value.trim())
    )
  }
  const [, not, key = ''] = /^(!?)\s*(\S+)$/.exec(text.trim()) ?? []
  return wishFor(key, not === '!', null)
}

function wishFor(key: string, negated: boolean, values: string[] | null): Wish | null {
  if (!LABEL_KEY.test(key) || values?.some((value) => value === '') === true) return null
  return { key, negated, values }
}

/** The same in one form. */
export function writeWish({ key, negated, values }: Wish): string {
  if (values === null) return `${negated ? '!' : ''}${key}`
  if (values.length === 1) return `${key}${negated ? '!=' : '='}${values[0]}`
  return `${key} ${negated ? 'not in' : 'in'} (${values.join(', ')})`
}

/** `value`: of the label; undefined where there is none. */
export function isFulfilled({ negated, values }: Wish, value: string | undefined): boolean {
  const has = value !== undefined && (values === null || values.includes(value))
  return has !== negated
}

/** Of labels alone: `arch`, `os`, `engine` and `node` are the Controller's to know. */
export const labelsFulfil = (wish: Wish, labels: Readonly<Record<string, string>>): boolean =>
  isFulfilled(wish, Object.hasOwn(labels, wish.key) ? labels[wish.key] : undefined)
