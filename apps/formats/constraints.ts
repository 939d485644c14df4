/** Which nodes may do it, by their labels: `constraints`. */
import { readWish, writeWish } from '../../core/state/wishes.ts'
import { Refusal, shown } from './refusal.ts'

const MOST = 32

/** In one form, each as `core/state/wishes.ts` reads it. */
export function readConstraints(value: unknown): string[] {
  if (!Array.isArray(value)) {
    throw new Refusal(`expected a list of constraints, got ${shown(value)}`)
  }
  if (value.length > MOST) {
    throw new Refusal(`expected at most ${MOST} constraints, got ${value.length}`)
  }
  return value.map((constraint: unknown, index) => {
    const wish = typeof constraint === 'string' ? readWish(constraint) : null
    const normal = wish === null ? '' : writeWish(wish)
    if (wish === null || normal.length > 256) {
      const forms = 'KEY=VALUE, KEY!=VALUE, KEY in (A, B), KEY not in (A, B), KEY or !KEY'
      throw new Refusal(`expected ${forms}, got ${shown(constraint)}`, [index])
    }
    return normal
  })
}
