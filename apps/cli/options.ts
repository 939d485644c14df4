/** Values of options that more than one verb takes. Each throws BrumeError USAGE. */
import type { Command } from 'commander'
import { BrumeError } from '../../core/errors.ts'
import { LABEL_KEY } from '../../core/state/names.ts'
import type { RoleName } from '../api.ts'
import type { Options } from './verb.ts'

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `90s`, `5m`, `1h`, `7d`, `250ms`, in ms. */
export function duration(text: string, option: string): number {
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  const ms = found ? Number(found[1]) * (UNITS[found[2] ?? ''] ?? 0) : 0
  if (ms > 0) return ms
  throw usage(`${option}: expected a duration such as 30s or 5m, got "${text}"`)
}

/** `key=value`, repeated. */
export function labels(given: string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const text of given) {
    const at = text.indexOf('=')
    const key = text.slice(0, at)
    if (at < 1 || !LABEL_KEY.test(key)) {
      throw usage(`--label: expected KEY=VALUE such as zone=site-a, got "${text}"`)
    }
    if (text.length - at - 1 > 256) {
      throw usage(`--label ${key}: the value is longer than 256 characters`)
    }
    found[key] = text.slice(at + 1)
  }
  return found
}

/** From the most on, as help names them. */
export const ROLES: readonly RoleName[] = ['admin', 'operator', 'node', 'viewer']

/** `what` names the option or argument in the sentence. */
export function role(text: unknown, what: string): RoleName {
  if (ROLES.includes(text as RoleName)) return text as RoleName
  throw usage(`${what}: expected one of ${ROLES.join(', ')}, got "${String(text)}"`)
}

/** `host:port`, IPv6 as `[::1]:port`. */
export function address(text: string, option: string): string {
  const port = Number(/^(?:[^\s:[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/.exec(text)?.[1])
  if (port >= 1 && port <= 65535) return text
  throw usage(`${option}: expected HOST:PORT such as 192.168.1.7:49737, got "${text}"`)
}

/** For commander: an option that may be given again. */
export const collect = (value: string, before: string[] = []): string[] => [...before, value]

export function usage(message: string, next?: string): BrumeError {
  return new BrumeError('USAGE', message, next === undefined ? {} : { next })
}

export function count(text: string, option: string, max: number): number {
  const n = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (n >= 1 && n <= max) return n
  throw usage(`${option}: expected a number from 1 to ${max}, got "${text}"`)
}

/** Of verbs that wait until what they asked for has come true: `until` says when that is. */
export function addWaiting(command: Command, until: string): void {
  command
    .option('-d, --detach', `do not wait until ${until}`)
    .option('--timeout <duration>', 'give up when nothing changes for so long', '5m')
}

export interface Waiting {
  detach: boolean
  timeoutMs: number
}

/** @throws BrumeError USAGE */
export const waiting = ({ detach, timeout }: Options): Waiting => ({
  detach: detach === true,
  timeoutMs: duration(String(timeout), '--timeout')
})
