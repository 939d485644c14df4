/** What was before, and who did what. */
import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import type { ViewReader } from '../../../core/state/apply.ts'
import { applicationThing } from '../../../core/state/applications.ts'
import { auditOf, MAX_AUDIT } from '../../../core/state/audit.ts'
import { historyOf, thingsUnder, type Revision, type Thing } from '../../../core/state/history.ts'
import { microserviceThing } from '../../../core/state/microservices.ts'
import { nodeThing, nodeThings } from '../../../core/state/nodes.ts'
import { serviceThing } from '../../../core/state/services.ts'
import type { State } from '../../../core/state/state.ts'
import type { AuditJson, HistoryJson, RevisionJson } from '../../api.ts'
import { changeLine } from '../changes.ts'
import type { Daemon } from '../daemon.ts'
import { resolve, resolveNode } from '../references.ts'
import type { Route } from '../socket.ts'
import { nodeName, revOf } from '../world.ts'

const TAIL = 50

export const history = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/history',
    async handle({ query }): Promise<HistoryJson> {
      const { mesh } = daemon.member()
      const ref = query.get('ref') ?? ''
      const { state } = mesh
      const target = targetOf(state, query.get('noun'), ref)
      const revisions = await mesh.oplog.look((view) => read(view, target, state))
      if (revisions.length === 0 && target.error !== null) throw target.error
      return {
        name: target.shown,
        rev: target.application === null ? null : revOf(state, target.application),
        revisions: revisions.slice(-tail(query))
      }
    }
  },
  {
    method: 'GET',
    path: '/audit',
    async handle({ query }): Promise<AuditJson[]> {
      const { mesh } = daemon.member()
      return audit(mesh, tail(query), query.get('by'))
    }
  }
]

interface Target {
  thing: Thing
  /** What belongs to it: things whose names begin so. */
  under: Thing | null
  application: string | null
  shown: string
  /** Why it names nothing that is there; it may have a history all the same. */
  error: BrumeError | null
}

function targetOf(state: State, noun: string | null, ref: string): Target {
  const plain = { application: null, under: null, error: null }
  if (noun === 'node') {
    const { id, displayName } = resolveNode(state, ref)
    return { ...plain, thing: nodeThing(id, 'state'), under: nodeThings(id), shown: displayName }
  }
  if (noun === 'service' || (noun === null && isService(state, ref))) {
    const thing = { ...serviceThing({ application: '', name: '' }), name: ref }
    return { ...plain, thing, shown: ref, error: unknown('service', ref) }
  }
  if (noun !== null && noun !== 'application' && noun !== 'microservice') {
    return { ...plain, thing: { noun, name: ref }, shown: ref, error: unknown(noun, ref) }
  }
  const { application, microservice, error } = named(state, noun, ref)
  const isWhole = microservice === null
  const thing = isWhole
    ? applicationThing({ name: application })
    : microserviceThing({ application, name: microservice })
  const under = isWhole ? microserviceThing({ application, name: '' }) : null
  return { thing, under, application, shown: thing.name, error }
}

const isService = ({ microservices, services }: State, ref: string): boolean =>
  services.has(ref) && !microservices.has(ref)

/** As `describe` understands it; what is not there is taken by its form. */
function named(
  state: State,
  noun: string | null,
  ref: string
): { application: string; microservice: string | null; error: BrumeError | null } {
  const [application = '', microservice = null] = ref.split('/')
  if (noun === 'application') {
    return { application, microservice: null, error: unknown(noun, ref) }
  }
  try {
    return { ...resolve(state, ref), error: null }
  } catch (error) {
    if (!(error instanceof BrumeError) || error.code !== 'UNKNOWN_REFERENCE') throw error
    return { application, microservice, error }
  }
}

const unknown = (noun: string, ref: string): BrumeError =>
  new BrumeError('UNKNOWN_REFERENCE', `no ${noun} "${ref}" has a history`, { next: 'brume apps' })

/** Of more than one thing they are in the order of time; of one thing always in its own order. */
async function read(
  view: ViewReader,
  { thing, under }: Target,
  state: State
): Promise<RevisionJson[]> {
  const found = under === null ? [] : await thingsUnder(view, under.noun, under.name)
  const others = found.filter(({ noun, name }) => noun !== thing.noun || name !== thing.name)
  const dated: { at: number; revision: RevisionJson }[] = []
  for (const one of [thing, ...others]) {
    const revisions = await historyOf(view, one)
    let at = 0
    for (const [i, revision] of revisions.entries()) {
      at = Math.max(at, revision.at)
      dated.push({ at, revision: toJson(one, revision, revisions.slice(0, i), state) })
    }
  }
  return dated.sort((a, b) => a.at - b.at).map(({ revision }) => revision)
}

function toJson(
  { noun, name }: Thing,
  { n, op, by, at, over, keeps, ...version }: Revision,
  earlier: Revision[],
  state: State
): RevisionJson {
  const before = earlier.at(-1)
  const change =
    before === undefined && n > 1 && version.value !== null
      ? 'what was before is not kept any more'
      : changeLine(before ?? (noun === 'node' ? 'given' : null), version)
  return {
    noun,
    name: noun === 'node' ? fieldName(state, name) : name,
    n,
    op,
    by: nodeName(state, by),
    at: new Date(at).toISOString(),
    over,
    overN: earlier.find((revision) => revision.op === over)?.n ?? null,
    keeps,
    removed: version.value === null,
    change: keeps === null ? change : `put back: ${change}`
  }
}

/** `pi-1/labels` */
function fieldName(state: State, thing: string): string {
  const slash = thing.indexOf('/')
  return `${nodeName(state, thing.slice(0, slash))}${thing.slice(slash)}`
}

async function audit(mesh: Mesh, tail: number, by: string | null): Promise<AuditJson[]> {
  const { state } = mesh
  const author = by === null ? null : resolveNode(state, by).id
  const found = await mesh.oplog.look(auditOf)
  return found
    .filter((record) => author === null || record.by === author)
    .slice(-tail)
    .map(({ op, type, subject, by, at, over }) => ({
      op,
      type,
      subject: state.nodes.get(subject)?.displayName ?? subject,
      by: nodeName(state, by),
      at: new Date(at).toISOString(),
      over
    }))
}

function tail(query: URLSearchParams): number {
  const text = query.get('tail')
  const n = text === null ? TAIL : /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (n >= 1 && n <= MAX_AUDIT) return n
  throw new BrumeError(
    'BAD_REQUEST',
    `tail: expected a number from 1 to ${MAX_AUDIT}, got "${text}"`
  )
}
