/** `update` and `disconnect` of an application file. */
import * as z from 'zod'
import { LABEL_KEY } from '../../core/state/names.ts'
import type { Policies } from '../../core/state/policies.ts'
import { optionalField } from './fields.ts'
import { readCount } from './microservice.ts'
import { readName } from './names.ts'
import { Refusal, shown } from './refusal.ts'
import { readDuration } from './units.ts'

const DAY_MS = 86_400_000

export const update = z.strictObject({
  parallelism: missing((v) => readCount(v, 0, 1000)),
  delay: missing((v) => readDuration(v, 0, DAY_MS)),
  order: missing(oneOf('auto', 'startFirst', 'stopFirst')),
  monitor: missing((v) => readDuration(v, 0, DAY_MS)),
  failureAction: missing(oneOf('rollback', 'pause', 'continue')),
  maxFailureRatio: missing(readRatio),
  canary: missing((v) => readCount(v, 0, 1000))
})

export const disconnect = z.strictObject({
  lostAfter: missing((v) => readDuration(v, 3_000, 365 * DAY_MS)),
  replace: missing(oneOf('auto', 'always', 'never')),
  stopAfter: missing((v) => readDuration(v, 3_000, 365 * DAY_MS)),
  reconcile: missing(oneOf('bestScore', 'keepOriginal', 'keepReplacement'))
})

export const placing = {
  spread: missing(readLabelKey),
  maxReplicasPerNode: missing((v) => readCount(v, 1, 1000)),
  near: missing(readNames),
  apart: missing(readNames)
}

interface Placing {
  spread: string | undefined
  maxReplicasPerNode: number | undefined
  near: string[] | undefined
  apart: string[] | undefined
}

export function placingOf(read: Placing): Pick<Policies, 'placing'> {
  const { spread, maxReplicasPerNode: maxPerNode, near, apart } = read
  const all = said({ spread, maxPerNode, near, apart })
  return Object.keys(all).length === 0 ? {} : { placing: all }
}

/** Only what the file says: a default of a later version shall hold for it too. */
export function policiesOf(
  read: z.output<typeof update> | null,
  apart: z.output<typeof disconnect> | null
): Pick<Policies, 'update' | 'disconnect'> {
  return {
    ...(read && {
      update: said({
        parallelism: read.parallelism,
        delayMs: read.delay,
        order: read.order,
        monitorMs: read.monitor,
        failureAction: read.failureAction,
        maxFailureRatio: read.maxFailureRatio,
        canary: read.canary
      })
    }),
    ...(apart && {
      disconnect: said({
        lostAfterMs: apart.lostAfter,
        replace: apart.replace,
        stopAfterMs: apart.stopAfter,
        reconcile: apart.reconcile
      })
    })
  }
}

function missing<T>(read: (value: unknown) => T) {
  return optionalField(read, undefined)
}

const said = <T extends object>(fields: T): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T

function oneOf<const T extends string>(...words: T[]): (value: unknown) => T {
  return (value) => {
    if (words.includes(value as T)) return value as T
    const last = words.at(-1) ?? ''
    const list = `${words.slice(0, -1).join(', ')} or ${last}`
    throw new Refusal(`expected ${list}, got ${shown(value)}`)
  }
}

function readLabelKey(value: unknown): string {
  if (typeof value === 'string' && LABEL_KEY.test(value)) return value
  throw new Refusal(`expected a node label such as zone or rack, got ${shown(value)}`)
}

const MOST_NAMES = 8

/** One name, or a list of them. */
function readNames(value: unknown): string[] {
  const all = Array.isArray(value) ? (value as unknown[]) : [value]
  if (all.length === 0 || all.length > MOST_NAMES) {
    throw new Refusal(`expected 1 to ${MOST_NAMES} names of microservices, got ${all.length}`)
  }
  return all.map((name) => readName(name))
}

function readRatio(value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  throw new Refusal(`expected a number from 0 to 1, got ${shown(value)}`)
}
