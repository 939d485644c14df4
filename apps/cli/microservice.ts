/** References that have to name one whole microservice. */
import type { RefJson } from '../api.ts'
import { usage } from './options.ts'

/** @throws BrumeError USAGE where it names less or more. */
export function microserviceOf(
  { application, microservice, slot }: RefJson,
  verb: string,
  ref: string,
  example = (name: string): string => `brume ${verb} ${name}`
): { application: string; microservice: string } {
  if (microservice === null) {
    throw usage(
      `${verb}: ${ref} is an application; name one of its microservices`,
      `brume ps ${application}`
    )
  }
  if (slot !== null) {
    throw usage(
      `${verb}: ${ref} is one replica; a whole microservice is meant`,
      example(`${application}/${microservice}`)
    )
  }
  return { application, microservice }
}
