/** What a person calls things: `APP`, `APP/MICROSERVICE`, `APP/MICROSERVICE/SLOT`, `MICROSERVICE`. */
import { BrumeError } from '../../core/errors.ts'
import type { MicroserviceRecord, NodeRecord, State } from '../../core/state/state.ts'
import type { RefJson } from '../api.ts'

/**
 * @throws BrumeError UNKNOWN_REFERENCE, AMBIGUOUS_REFERENCE (lists the matches), BAD_REFERENCE.
 */
export function resolve(state: State, text: string): RefJson {
  const [first = '', second, third, ...rest] = text.split('/')
  const slot = third === undefined ? null : Number(third)
  if (rest.length > 0 || first === '' || second === '' || (slot !== null && !isSlot(third))) {
    throw new BrumeError(
      'BAD_REFERENCE',
      `expected APP, APP/MICROSERVICE or APP/MICROSERVICE/SLOT, got "${text}"`
    )
  }
  if (second !== undefined) {
    if (namesOf(state).has(`${first}/${second}`)) {
      return { application: first, microservice: second, slot }
    }
    throw unknown(state, text)
  }
  if (state.applications.has(first)) return { application: first, microservice: null, slot: null }
  const matches = [...namesOf(state).values()].filter(({ name }) => name === first)
  const [only] = matches
  if (only === undefined) throw unknown(state, text)
  if (matches.length === 1) {
    return { application: only.application, microservice: only.name, slot: null }
  }
  const names = matches.map(({ application, name }) => `${application}/${name}`)
  throw new BrumeError('AMBIGUOUS_REFERENCE', `"${text}" may be ${names.join(' or ')}`, {
    next: `say which, e.g. ${names[0]}`
  })
}

interface Named {
  application: string
  name: string
}

/** What has a name: microservices, and services outside that none of them hides. */
const namesOf = ({ microservices, services }: State): Map<string, Named> =>
  new Map<string, Named>([...services, ...microservices])

/**
 * A node by its name, or by the beginning of its id (six letters or more).
 *
 * @throws BrumeError UNKNOWN_NODE, AMBIGUOUS_REFERENCE.
 */
export function resolveNode(state: State, text: string): NodeRecord {
  const nodes = [...state.nodes.values()]
  const named = nodes.filter(({ displayName }) => displayName === text)
  const found = named.find((node) => node.state !== 'removed') ?? named[0]
  if (found !== undefined) return found
  const [first, second] = text.length < 6 ? [] : nodes.filter(({ id }) => id.startsWith(text))
  if (second !== undefined) {
    throw new BrumeError('AMBIGUOUS_REFERENCE', `more than one node has an id that begins ${text}`)
  }
  if (first !== undefined) return first
  const names = nodes.filter((n) => n.state !== 'removed').map((n) => n.displayName)
  const known = `${names.slice(0, 6).join(', ')}${names.length > 6 ? ', …' : ''}`
  throw new BrumeError('UNKNOWN_NODE', `there is no node "${text}", there is ${known}`, {
    next: 'brume nodes'
  })
}

/** The microservice that the parameters of a path name. @throws BrumeError UNKNOWN_REFERENCE */
export function microserviceAt(
  { microservices }: State,
  params: Record<string, string>
): MicroserviceRecord {
  const key = `${params['application']}/${params['microservice']}`
  const record = microservices.get(key)
  if (record !== undefined) return record
  throw new BrumeError('UNKNOWN_REFERENCE', `there is no microservice "${key}"`, {
    next: 'brume ps'
  })
}

export const matches = (
  ref: RefJson,
  row: { application: string; microservice: string; slot: number }
): boolean =>
  ref.application === row.application &&
  (ref.microservice === null || ref.microservice === row.microservice) &&
  (ref.slot === null || ref.slot === row.slot)

const isSlot = (text: string | undefined): boolean => /^\d{1,5}$/.test(text ?? '')

function unknown(state: State, text: string): BrumeError {
  const names = [...state.applications.keys(), ...namesOf(state).keys()]
  const known =
    names.length === 0
      ? 'nothing is deployed yet'
      : `there is ${names.slice(0, 6).join(', ')}${names.length > 6 ? ', …' : ''}`
  return new BrumeError('UNKNOWN_REFERENCE', `"${text}" names nothing here: ${known}`, {
    next: names.length === 0 ? 'brume deploy -f FILE' : 'brume apps'
  })
}

/** Of one microservice, or of the only one of an application. @throws BrumeError as `resolve`, and BAD_REFERENCE for a whole application of many. */
export function serviceOf(state: State, text: string): RefJson & { microservice: string } {
  const ref = resolve(state, text)
  if (ref.microservice !== null) return { ...ref, microservice: ref.microservice }
  const names = [...state.microservices.values()]
    .filter(({ application }) => application === ref.application)
    .map(({ name }) => name)
  const [only, ...others] = names
  if (only !== undefined && others.length === 0) return { ...ref, microservice: only }
  throw new BrumeError(
    'BAD_REFERENCE',
    `"${text}" is an application of ${names.length} microservices`,
    {
      next: `say which, e.g. ${ref.application}/${only ?? 'NAME'}`
    }
  )
}
