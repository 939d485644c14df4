import { Refusal, shown } from './refusal.ts'

const SECOND = 1000
const DURATION_UNITS: Record<string, number> = {
  ms: 1,
  s: SECOND,
  m: 60 * SECOND,
  h: 3600 * SECOND
}

/** Milliseconds of `2s`, `500ms` or `1m30s`; a bare 0 needs no unit. */
export function readDuration(value: unknown, minMs: number, maxMs: number): number {
  const refuse = (): Refusal =>
    new Refusal(`expected a duration like 2s, 500ms or 1m30s, got ${shown(value)}`)
  if (value === 0 || value === '0') return inRange(0, value, minMs, maxMs)
  if (typeof value !== 'string' || value.length > 64) throw refuse()
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(value)) throw refuse()
  let ms = 0
  for (const [, amount, unit] of value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    ms += Number(amount) * (DURATION_UNITS[unit ?? ''] ?? NaN)
  }
  return inRange(Math.round(ms), value, minMs, maxMs)
}

function inRange(ms: number, value: unknown, minMs: number, maxMs: number): number {
  if (ms >= minMs && ms <= maxMs) return ms
  const [min, max] = [durationText(minMs), durationText(maxMs)]
  throw new Refusal(`expected a duration from ${min} to ${max}, got ${shown(value)}`)
}

export function durationText(ms: number): string {
  if (ms >= 3600 * SECOND && ms % (3600 * SECOND) === 0) return `${ms / (3600 * SECOND)}h`
  return ms % SECOND === 0 ? `${ms / SECOND}s` : `${ms}ms`
}

const POWERS = ['', 'k', 'm', 'g', 't']

/**
 * Bytes of `64M`, `64MB`, `1GiB`, `512k` or plain bytes. All units are powers of 1024, as Docker
 * and Compose have them.
 */
export function readMemory(value: unknown): number {
  const match =
    typeof value === 'string' || typeof value === 'number'
      ? /^(\d+(?:\.\d+)?) ?([kmgt]?)i?b?$/i.exec(String(value))
      : null
  if (!match) throw new Refusal(`expected memory like 64M, 1GiB or 512k, got ${shown(value)}`)
  const [, amount, unit = ''] = match
  const bytes = Math.floor(Number(amount) * 1024 ** POWERS.indexOf(unit.toLowerCase()))
  if (bytes < 1024 * 1024) throw new Refusal(`expected at least 1M of memory, got ${shown(value)}`)
  if (!Number.isSafeInteger(bytes)) throw new Refusal(`no machine has ${shown(value)} of memory`)
  return bytes
}

/** Cores: `0.5`, also as a string. */
export function readCpus(value: unknown): number {
  const given = typeof value === 'string' && /^\d+(?:\.\d+)?$/.test(value) ? Number(value) : value
  if (typeof given === 'number' && given >= 0.01 && given <= 1024) return given
  throw new Refusal(`expected a number of cores from 0.01 to 1024, got ${shown(value)}`)
}
