/** Bundles somebody may still ask for: of what is desired, and of what may be put back. */
import type { ViewReader } from './apply.ts'
import { conflictsOf } from './conflicts.ts'
import { historyOf } from './history.ts'
import { keys } from './keys.ts'
import { microserviceThing, type Bundle, type MicroserviceSpec } from './microservices.ts'
import type { MicroserviceRecord, RolloutRecord } from './state.ts'

/** So many earlier versions of the files of a microservice are kept, beside those of now. */
export const KEPT_BACK = 2

export async function neededBundles(view: ViewReader): Promise<Bundle[]> {
  const needed: Bundle[] = []
  for (const { value: record } of await view.list<MicroserviceRecord>(keys.microservices)) {
    const earlier = await historyOf(view, microserviceThing(record))
    const values = [record.spec, ...earlier.toReversed().map(({ value }) => value)]
    needed.push(...latest(values.flatMap(filesOf)))
  }
  for (const { value } of await view.list<RolloutRecord>(keys.rollouts)) {
    needed.push(...filesOf(value.from?.spec))
  }
  const { conflicts } = await conflictsOf(view)
  for (const { noun, standing, rival } of conflicts) {
    if (noun === 'microservice') needed.push(...[standing.value, rival.value].flatMap(filesOf))
  }
  return needed
}

/** The first of all, and the first few others that differ; each wherever it is. */
function latest(bundles: Bundle[]): Bundle[] {
  const digests = new Set<string>()
  return bundles.filter(({ digest }) => {
    if (digests.size > KEPT_BACK && !digests.has(digest)) return false
    digests.add(digest)
    return true
  })
}

const filesOf = (value: unknown): Bundle[] => {
  const files = (value as Partial<MicroserviceSpec> | null | undefined)?.files
  return files === null || files === undefined ? [] : [files]
}
