/**
 * Which bundles may go from a node's disk: what nobody has needed for the whole of a grace. Never a
 * directory that a container mounts, however old.
 */
import type { Bundle } from './state/microservices.ts'

/** What of bundles is on a disk. */
export interface Held {
  /** Digests of those that are unpacked. */
  unpacked: readonly string[]
  /** Where blocks of bundles are; one digest may be in several places. */
  blocks: readonly Bundle[]
}

export interface DiscardInput {
  held: Held
  /** By the view: what runs, or may be put back. */
  needed: readonly Bundle[]
  /** Digests whose directory a container has; null while the engine does not say. */
  mounted: ReadonlySet<string> | null
  /** Since when what is not needed has not been, boot ms: of the last call. */
  idleSince: ReadonlyMap<string, number>
  /** Boot ms. */
  now: number
  graceMs: number
}

export interface Discard extends Held {
  /** For the next call. */
  idleSince: Map<string, number>
}

export function discard(input: DiscardInput): Discard {
  const { held, needed, mounted, now, graceMs } = input
  const digests = new Set(needed.map(({ digest }) => digest))
  const places = new Set(needed.map(placeOf))
  const idleSince = new Map<string, number>()
  /** Idle from the first look on that found it so. */
  const isOver = (name: string): boolean => {
    const since = input.idleSince.get(name) ?? now
    idleSince.set(name, since)
    return now - since >= graceMs
  }
  const unpacked = held.unpacked.filter(
    (digest) =>
      mounted !== null && !digests.has(digest) && !mounted.has(digest) && isOver(`files ${digest}`)
  )
  const blocks = held.blocks.filter(
    (bundle) => !places.has(placeOf(bundle)) && isOver(`blocks ${placeOf(bundle)}`)
  )
  return { unpacked, blocks, idleSince }
}

/** Where the blocks of a bundle are. */
export const placeOf = ({ core, blockOffset, blockLength }: Bundle): string =>
  `${core} ${blockOffset}+${blockLength}`
