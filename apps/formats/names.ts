import { NAME } from '../../core/state/names.ts'
import { Refusal, shown } from './refusal.ts'

/** A name of ours; where it is not, the sentence holds one that is. */
export function readName(value: unknown): string {
  if (typeof value === 'string' && NAME.test(value)) return value
  const suggestion = typeof value === 'string' ? suggestName(value) : null
  throw new Refusal(
    `expected a name of at most 63 lower-case letters, digits and dashes, got ${shown(value)}` +
      (suggestion === null ? '' : `: try ${suggestion}`)
  )
}

/** The nearest good name to `text`, or null where nothing of it could stay. */
export function suggestName(text: string): string | null {
  const name = text
    .slice(0, 256)
    .normalize('NFKD')
    .replaceAll(/\p{Mark}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '')
  return NAME.test(name) ? name : null
}
