/**
 * What a microservice waits for when it comes up: others of its application that have to run, or be
 * healthy, first. In its record, no part of its revision, and not judged by apply: two edits made apart
 * may meet as a circle, or name what is gone. Who reads a view takes such a dependency as none.
 */
import { dependsOn as shape, type Policies } from './policies.ts'

/** What of the other one has to be so, in its words: compose's `service_started`, `service_healthy`. */
export type Condition = 'started' | 'healthy'

const NONE: Readonly<Record<string, Condition>> = {}

/** By the name of the other microservice. */
export const dependenciesOf = ({ dependsOn }: Policies): Readonly<Record<string, Condition>> =>
  dependsOn !== undefined && shape.check(dependsOn) ? dependsOn : NONE

/** What a name depends on; nothing for one that is not there. */
export type DependsOn = (name: string) => readonly string[]

/** The way from `name` over its dependency `first` back to `name`; null where none leads there. */
export function circleOver(name: string, first: string, dependsOn: DependsOn): string[] | null {
  const seen = new Set<string>()
  const open: string[][] = [[name, first]]
  for (let way = open.pop(); way !== undefined; way = open.pop()) {
    const last = way.at(-1) ?? ''
    if (last === name) return way
    if (seen.has(last)) continue
    seen.add(last)
    for (const next of dependsOn(last)) open.push([...way, next])
  }
  return null
}

/** What is wrong with a dependency, in words; null where nothing is. */
export function wrongWith(
  name: string,
  on: string,
  microservices: ReadonlyMap<string, Policies & { healthcheck: object | null }>
): string | null {
  const other = microservices.get(on)
  if (on === name) return `${name} cannot depend on itself`
  if (other === undefined) {
    const all = [...microservices.keys()].filter((one) => one !== name)
    const are = all.length === 0 ? 'it has no other' : `it has ${all.join(', ')}`
    return `expected another microservice of the application, got ${on}: ${are}`
  }
  const dependsOn: DependsOn = (of) => Object.keys(dependenciesOf(microservices.get(of) ?? {}))
  const circle = circleOver(name, on, dependsOn)
  if (circle !== null) return `none of them could start first: ${circle.join(' → ')}`
  const isHealthy = dependenciesOf(microservices.get(name) ?? {})[on] === 'healthy'
  if (isHealthy && other.healthcheck === null) {
    return `${on} has no healthcheck, so it is never known to be healthy: give it one, or depend on \`started\``
  }
  return null
}
