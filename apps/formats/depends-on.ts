/** What a microservice waits for when it comes up: `dependsOn`, in our words or in compose's. */
import { wrongWith, type Condition } from '../../core/state/dependencies.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import { readName } from './names.ts'
import type { Path, Problem } from './problems.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'

const MOST = 32
const WORDS: Record<string, Condition> = {
  started: 'started',
  healthy: 'healthy',
  service_started: 'started',
  service_healthy: 'healthy'
}

/** `db`, `[db, cache]`, `{ db: healthy }` or `{ db: { condition: service_healthy } }`. */
export function readDependsOn(value: unknown): Record<string, Condition> {
  const named = typeof value === 'string' ? [value] : value
  if (typeof named !== 'object' || named === null) {
    throw new Refusal(`expected [NAME, …] or { NAME: started or healthy }, got ${shown(value)}`)
  }
  const entries: [string | number, unknown, unknown][] = Array.isArray(named)
    ? named.map((name: unknown, index) => [index, name, 'started'])
    : Object.entries(named).map(([name, condition]) => [name, name, condition ?? 'started'])
  if (entries.length > MOST) {
    throw new Refusal(`expected at most ${MOST} microservices, got ${entries.length}`)
  }
  return Object.fromEntries(
    entries.map(([step, name, condition]) =>
      within(step, () => [readName(name), readCondition(condition)])
    )
  )
}

function readCondition(value: unknown): Condition {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    onlyKeys(value, ['condition'])
    const { condition } = value as { condition?: unknown }
    return within('condition', () => readCondition(condition))
  }
  const known = typeof value === 'string' && Object.hasOwn(WORDS, value) ? WORDS[value] : undefined
  if (known !== undefined) return known
  throw new Refusal(`expected started or healthy, got ${shown(value)}`)
}

/** Names that are no microservices, circles, and waits for a health that nobody looks at. */
export function wrongDependencies(
  microservices: readonly { name: string; spec: MicroserviceSpec }[],
  pathOf: (index: number) => Path
): Problem[] {
  const specs = new Map(microservices.map(({ name, spec }) => [name, spec]))
  return microservices.flatMap(({ name, spec }, index) =>
    Object.keys(spec.dependsOn ?? {}).flatMap((on) => {
      const message = wrongWith(name, on, specs)
      if (message === null) return []
      // A list has no key of that name: then it is the line of the whole.
      return [{ path: [...pathOf(index), 'dependsOn'], message, key: on }]
    })
  )
}
