/**
 * How a microservice is brought up to date, and what is done while its node cannot be reached. They
 * are in its record and change no container, but for `devices`, `volumes` and `generation`. Who reads them takes
 * the default of a field that is missing, and of all where one is not of its shape: before format 2
 * apply took any.
 */
import {
  bool,
  integer,
  list,
  literal,
  map,
  nullable,
  number,
  object,
  optional,
  text,
  type Infer
} from './shape.ts'
import { devices } from './devices.ts'
import { exposures } from './exposures.ts'
import { name } from './names.ts'
import { volumes, writesVolumes } from './volumes.ts'

const DAY_MS = 86_400_000

const update = object({
  /** How many slots take a new revision at a time; 0: all. */
  parallelism: optional(integer(0, 1000)),
  /** Between one slot's being up and the next one's turn. */
  delayMs: optional(integer(0, DAY_MS)),
  /** Which of the two containers of a slot runs alone first; `auto`: the new one where it can. */
  order: optional(literal('auto', 'startFirst', 'stopFirst')),
  /** For how long all must be up before the revision has proved itself. */
  monitorMs: optional(integer(0, DAY_MS)),
  failureAction: optional(literal('rollback', 'pause', 'continue')),
  /** Of all slots, how many may fail. */
  maxFailureRatio: optional(number(0, 1)),
  /** So many slots take it and then wait for a person; 0: none. */
  canary: optional(integer(0, 1000))
})

const disconnect = object({
  /** How long a silent node is waited for. */
  lostAfterMs: optional(integer(3_000, 365 * DAY_MS)),
  /** Whether a silent node's slots get another place: `auto` where at least half of the nodes that fit are in reach. */
  replace: optional(literal('auto', 'always', 'never')),
  /** A node that has been alone for so long stops its copy; null: it never does. */
  stopAfterMs: optional(nullable(integer(3_000, 365 * DAY_MS))),
  /** Which copy stays when the node is back. */
  reconcile: optional(literal('bestScore', 'keepOriginal', 'keepReplacement'))
})

const placing = object({
  /** Replicas are spread over the values of this node label before they are over nodes. */
  spread: optional(text(256, 1)),
  maxPerNode: optional(integer(1, 1000)),
  /** Microservices of the same application it is better beside, or away from. */
  near: optional(list(text(64, 1), 8)),
  apart: optional(list(text(64, 1), 8))
})

/** By the name of another microservice of the application: read by `dependencies.ts`. */
export const dependsOn = map(name, literal('started', 'healthy'), 32)

const allow = list(text(127, 1), 64)

export const policies = object({
  placing: optional(placing),
  dependsOn: optional(dependsOn),
  update: optional(update),
  disconnect: optional(disconnect),
  /** Of its node; part of the revision. */
  devices: optional(devices),
  /** Part of the revision. */
  volumes: optional(volumes),
  /** What a node does that lacks its image: it pulls it, or may not. */
  pull: optional(literal('missing', 'never')),
  /** Who of other applications may reach it: APP or APP/MICROSERVICE. */
  allow: optional(allow),
  /** Which nodes open a port for it. */
  expose: optional(exposures),
  /** Runs nowhere until it is started again. */
  stopped: optional(bool),
  /** Grows with every restart that was asked for; part of the revision. */
  generation: optional(integer(1, Number.MAX_SAFE_INTEGER))
})
export type Policies = Infer<typeof policies>

type Whole<T> = { [K in keyof T]-?: Exclude<T[K], undefined> }
export type UpdatePolicy = Whole<Infer<typeof update>>
export type DisconnectPolicy = Whole<Infer<typeof disconnect>>

export const UPDATE: UpdatePolicy = {
  parallelism: 1,
  delayMs: 0,
  order: 'auto',
  monitorMs: 10_000,
  failureAction: 'rollback',
  maxFailureRatio: 0,
  canary: 0
}

export const DISCONNECT: DisconnectPolicy = {
  lostAfterMs: 5_000,
  replace: 'auto',
  stopAfterMs: null,
  reconcile: 'bestScore'
}

export const updateOf = (spec: Policies): UpdatePolicy =>
  update.check(spec.update) ? { ...UPDATE, ...spec.update } : UPDATE

export const disconnectOf = (spec: Policies): DisconnectPolicy =>
  disconnect.check(spec.disconnect) ? { ...DISCONNECT, ...spec.disconnect } : DISCONNECT

export interface PlacingPolicy {
  /** null: over nodes, of equals over zones. */
  spread: string | null
  maxPerNode: number | null
  near: readonly string[]
  apart: readonly string[]
}

const PLACING: PlacingPolicy = { spread: null, maxPerNode: null, near: [], apart: [] }

const placings = new WeakMap<object, PlacingPolicy>()

/** Of one spec it is read once: a plan asks for every node. */
export function placingOf(spec: Policies): PlacingPolicy {
  if (spec.placing === undefined) return PLACING
  const known = placings.get(spec)
  if (known !== undefined) return known
  const read = placing.check(spec.placing) ? { ...PLACING, ...spec.placing } : PLACING
  placings.set(spec, read)
  return read
}

export const allowedBy = ({ allow: given }: Policies): readonly string[] =>
  allow.check(given) ? given : []

export const isStopped = ({ stopped }: Policies): boolean => stopped === true

/** Whether a new container of a slot is up before the one it replaces ends. */
export function startsFirst(
  spec: Policies & { ports: readonly { host: number | null }[] }
): boolean {
  const { order } = updateOf(spec)
  // Two containers must not write one volume, and cannot have one port of the node.
  if (writesVolumes(spec)) return false
  if (spec.ports.some(({ host }) => host !== null)) return false
  return order !== 'stopFirst'
}
