/**
 * Device files of its node that a container gets: part of what it is made of. Not judged by apply: who
 * reads a view takes a list that is none as empty.
 */
import { bool, list, map, object, pattern, type Infer } from './shape.ts'
import type { State } from './state.ts'

interface Asks {
  devices?: Device[] | undefined
}

/** Below /dev, without `.` and `..`; a directory such as /dev/snd stands for what is in it. */
const onNode = pattern(/^(?=.{6,160}$)\/dev(?:\/(?!\.{1,2}(?:\/|$))[^\s/]+)+$/u)

const device = object({
  /** Path on the node. */
  host: onNode,
  /** Path in the container. */
  container: pattern(/^(?=.{2,160}$)\/\S+$/u),
  /** Any of read, write, make (`mknod`), as Docker has them: `rwm`. */
  permissions: pattern(/^r?w?m?$/)
})
export type Device = Infer<typeof device>

export const MAX_DEVICES = 32
export const devices = list(device, MAX_DEVICES)
export const isDevicePath = onNode.check

/** Nodes look for so many and no more. */
const MAX_ASKED = 128
/** What a node says of those that are asked for: whether it has each. */
export const devicesFound = map(onNode, bool, MAX_ASKED)

const NONE: readonly Device[] = []

export const devicesOf = (spec: Asks): readonly Device[] =>
  spec.devices !== undefined && devices.check(spec.devices) ? spec.devices : NONE

/** Paths on nodes that any microservice asks for, or went back to; in order, the first of them. */
export function devicesAsked({ microservices, rollouts }: State): string[] {
  const paths = new Set<string>()
  const see = (spec: Asks): void => {
    for (const { host } of devicesOf(spec)) paths.add(host)
  }
  for (const { spec } of microservices.values()) see(spec)
  for (const { from } of rollouts.values()) if (from !== null) see(from.spec)
  return [...paths].sort().slice(0, MAX_ASKED)
}
