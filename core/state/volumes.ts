/**
 * What of its node a container keeps beyond itself: named volumes, which brume makes for each slot, and
 * paths of the node (binds). Part of what it is made of. Not judged by apply: who reads a view takes a list
 * that is none as empty.
 */
import { bool, list, object, pattern, type Infer } from './shape.ts'
import type { HomeRecord, MicroserviceRecord } from './state.ts'
import type { ViewBatch } from './apply.ts'
import { keys } from './keys.ts'

interface Asks {
  volumes?: Volume[] | undefined
}

/** Absolute, without `.` and `..`, and not the root itself. */
const PATH = String.raw`(?:\/(?!\.{1,2}(?:\/|$))[^\0/:]+)+`
const NAME = String.raw`[a-z0-9][a-z0-9_-]{0,62}`

const volume = object({
  /** The name of a volume, or, where it begins with a slash, a path on the node. */
  source: pattern(new RegExp(String.raw`^(?=.{1,160}$)(?:${NAME}|${PATH})$`, 'u')),
  /** Path in the container. */
  container: pattern(new RegExp(String.raw`^(?=.{2,160}$)${PATH}$`, 'u')),
  readOnly: bool
})
export type Volume = Infer<typeof volume>

export const MAX_VOLUMES = 16
export const volumes = list(volume, MAX_VOLUMES)
export const isVolume = volume.check

/** `APP/MICROSERVICE/SLOT/NAME`, as nodes tell of those they have; none tells of more. */
export const MAX_VOLUMES_TOLD = 4_000

export const isNamed = ({ source }: Volume): boolean => !source.startsWith('/')

const NONE: readonly Volume[] = []
const known = new WeakMap<Volume[], readonly Volume[]>()

/** Of one spec it is checked once: a plan asks for every slot. */
export function volumesOf({ volumes: given }: Asks): readonly Volume[] {
  if (given === undefined) return NONE
  const found = known.get(given)
  if (found !== undefined) return found
  const read = volumes.check(given) ? given : NONE
  if (Array.isArray(given)) known.set(given, read)
  return read
}

const names = new WeakMap<readonly Volume[], readonly string[]>()

/** Each once, in order: what ties a slot to the node it ran on. */
export function volumeNames(spec: Asks): readonly string[] {
  const all = volumesOf(spec)
  if (all.length === 0) return NO_NAMES
  const found = names.get(all)
  if (found !== undefined) return found
  const read = [...new Set(all.filter(isNamed).map(({ source }) => source))].sort()
  names.set(all, read)
  return read
}
const NO_NAMES: readonly string[] = []

/** Whether two containers of one slot would write to one volume. */
export const writesVolumes = (spec: Asks): boolean =>
  volumesOf(spec).some((one) => isNamed(one) && !one.readOnly)

/** The variable that tells a container, or a process, where it has a volume: `BRUME_VOLUME_DATA`. */
export const volumeVariable = (name: string): string =>
  `BRUME_VOLUME_${name.toUpperCase().replaceAll('-', '_')}`

/** A slot with named volumes is at home where it was placed last; it stays that when it has no place. */
export async function noteHome(
  view: ViewBatch,
  { spec }: Pick<MicroserviceRecord, 'spec'>,
  { application, microservice, slot, node }: HomeRecord
): Promise<void> {
  if (volumeNames(spec).length === 0) return
  const key = keys.home(application, microservice, slot)
  if ((await view.get<HomeRecord>(key))?.node === node) return
  await view.put(key, { application, microservice, slot, node } satisfies HomeRecord)
}
