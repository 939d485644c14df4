/** What a client asks of an application: the CLI has checked its file, other clients may not have. */
import { BrumeError } from '../../core/errors.ts'
import { isWholeSpec } from '../../core/state/microservices.ts'
import { NAME } from '../../core/state/names.ts'
import type { DeployRequest } from '../api.ts'

/** @throws BrumeError BAD_REQUEST */
export function checkedApplication<R extends Pick<DeployRequest, 'application' | 'microservices'>>(
  request: R
): R {
  const bad = (message: string): BrumeError => new BrumeError('BAD_REQUEST', message)
  if (!NAME.test(String(request?.application))) throw bad('`application` is no name')
  if (!Array.isArray(request.microservices)) throw bad('`microservices` is no list')
  const seen = new Set<string>()
  for (const { name, spec } of request.microservices) {
    if (!NAME.test(String(name))) throw bad(`"${name}" is no name of a microservice`)
    if (seen.has(name)) throw bad(`the microservice "${name}" is there twice`)
    seen.add(name)
    if (!isWholeSpec(spec)) {
      throw bad(`the microservice "${name}" has not the shape this version expects`)
    }
  }
  return request
}
