/**
 * Ports that nodes open for a microservice, whichever nodes run it. Not judged by apply: who reads a
 * view takes a list that is none as empty.
 */
import { integer, list, literal, object, optional, pattern, text, type Infer } from './shape.ts'
import type { NodeRecord } from './state.ts'
import { labelsFulfil, readWish } from './wishes.ts'

interface Asks {
  expose?: Exposure[] | undefined
}

const port = integer(1, 65_535)

/** A name as DNS has it, or `*.` before one: any one label more. */
const HOST =
  /^(?=.{1,253}$)(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/
/** Whole segments: `/api` is `/api` and what is below. */
const PATH = /^(?=.{2,256}$)(?:\/[\w.~!$&'()*+,;=:@%-]+)+$/
/** Absolute, of each node that opens the port. */
const file = pattern(/^\/[^\0]{1,1023}$/)

const exposure = object({
  /** Of the node. */
  port,
  /** Of the container. */
  to: port,
  protocol: literal('tcp', 'http'),
  /** `all`, or a wish for labels: which nodes open it. */
  on: text(256, 1),
  /** Requests for this host only; `http` alone has it. */
  host: optional(pattern(HOST)),
  /** Requests for this path and below only; `http` alone has it. */
  path: optional(pattern(PATH)),
  /** PEM files. */
  tls: optional(object({ cert: file, key: file }))
})
export type Exposure = Infer<typeof exposure>

export const MAX_EXPOSURES = 32
export const exposures = list(exposure, MAX_EXPOSURES)

export const isHost = (text: string): boolean => HOST.test(text)
export const isPath = (text: string): boolean => PATH.test(text)
export const isFile = file.check

const NONE: readonly Exposure[] = []
const known = new WeakMap<object, readonly Exposure[]>()

/** Of one spec they are read once. */
export function exposuresOf(spec: Asks): readonly Exposure[] {
  if (spec.expose === undefined) return NONE
  const before = known.get(spec)
  if (before !== undefined) return before
  const read = exposures.check(spec.expose) ? spec.expose : NONE
  known.set(spec, read)
  return read
}

/** Whether a node is one of those: members that are no viewers, by their labels, and `node` for its name. */
export function isOpenOn({ on }: Pick<Exposure, 'on'>, node: NodeRecord | undefined): boolean {
  if (node?.state !== 'member' || node.role === 'viewer') return false
  if (on === 'all') return true
  const wish = readWish(on)
  if (wish === null) return false
  return labelsFulfil(wish, wish.key === 'node' ? { node: node.displayName } : node.labels)
}
