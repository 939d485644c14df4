/** Who of other applications may reach a microservice: `allow`. */
import { NAME } from '../../core/state/names.ts'
import { Refusal, shown, within } from './refusal.ts'

const MOST = 64

/** `billing`, or a list of `APP` and `APP/MICROSERVICE`. */
export function readAllow(value: unknown): string[] {
  const named: unknown[] = Array.isArray(value) ? value : [value]
  if (named.length > MOST) throw new Refusal(`expected at most ${MOST}, got ${named.length}`)
  return named.map((one, index) => within(index, () => readOne(one)))
}

function readOne(value: unknown): string {
  const parts = typeof value === 'string' ? value.split('/') : []
  if (parts.length >= 1 && parts.length <= 2 && parts.every((part) => NAME.test(part))) {
    return String(value)
  }
  throw new Refusal(`expected APP or APP/MICROSERVICE, got ${shown(value)}`)
}
