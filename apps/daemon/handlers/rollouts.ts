/** How a microservice goes from one revision to another, and back. */
import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { canonical } from '../../../core/crypto.ts'
import { historyOf, type Revision } from '../../../core/state/history.ts'
import {
  isWholeSpec,
  microserviceThing,
  revisionOf,
  type MicroserviceSpec
} from '../../../core/state/microservices.ts'
import { isUnderWay, ROLLOUT_STATES } from '../../../core/state/rollouts.ts'
import type { Op } from '../../../core/state/index.ts'
import type { MicroserviceRecord } from '../../../core/state/state.ts'
import type { DeployResult, RollbackRequest, RolloutJson, RolloutRequest } from '../../api.ts'
import type { Daemon, Member } from '../daemon.ts'
import { microserviceAt, resolve } from '../references.ts'
import { rollouts } from '../rollouts.ts'
import { seenOf } from '../seen.ts'
import type { Route } from '../socket.ts'
import { mustKnowFormat, mustOperate, offlineNodes, replicaWorld } from '../world.ts'

const APPLICATION = '/applications/:application'
const MICROSERVICE = `${APPLICATION}/:microservice`

export const rolloutRoutes = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/rollouts',
    async handle({ query }): Promise<RolloutJson[]> {
      const member = daemon.member()
      const all = rollouts(replicaWorld(member))
      const text = query.get('ref')
      if (text === null) return all
      const ref = resolve(member.mesh.state, text)
      return all.filter(
        ({ application, microservice }) =>
          application === ref.application && [null, microservice].includes(ref.microservice)
      )
    }
  },
  {
    method: 'POST',
    path: `${MICROSERVICE}/rollout`,
    async handle(request): Promise<RolloutJson> {
      const member = daemon.member()
      const { mesh } = member
      mustOperate(mesh)
      const record = microserviceAt(mesh.state, request.params)
      const { action } = await request.json<RolloutRequest>()
      const { application, name: microservice, op: of } = record
      const fields = {
        pause: { paused: true },
        resume: { paused: false },
        promote: { promoted: true }
      }
      if (!Object.hasOwn(fields, action)) {
        throw new BrumeError('BAD_REQUEST', `expected pause, resume or promote, got "${action}"`)
      }
      mustBeUnderWay(mesh, record)
      const op = { type: 'rollout.set', application, microservice, of, ...fields[action] }
      await mesh.append([{ ...op, at: Date.now() } as Op])
      return rolloutOf(member, record)
    }
  },
  {
    method: 'POST',
    path: `${MICROSERVICE}/rollback`,
    async handle(request): Promise<DeployResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const record = microserviceAt(mesh.state, request.params)
      const { n } = await request.json<RollbackRequest>()
      const to = await earlier(mesh, record, n ?? null)
      return set(mesh, [{ record, spec: to.value as MicroserviceSpec, keeps: to.op }])
    }
  },
  ...(['stop', 'start', 'restart'] as const).flatMap((action): Route[] =>
    [APPLICATION, MICROSERVICE].map((path) => ({
      method: 'POST',
      path: `${path}/${action}`,
      async handle({ params }): Promise<DeployResult> {
        const { mesh } = daemon.member()
        mustOperate(mesh)
        mustKnowFormat(mesh, action)
        const changes = under(mesh, params).map((record) => ({
          record,
          spec: NEXT[action](record.spec)
        }))
        return set(mesh, changes)
      }
    }))
  )
]

/** What the spec becomes; another restart is another revision, and so a rollout. */
const NEXT: Record<'stop' | 'start' | 'restart', (spec: MicroserviceSpec) => MicroserviceSpec> = {
  stop: (spec) => ({ ...spec, stopped: true }),
  start: ({ stopped: _, ...spec }) => spec,
  restart: ({ stopped: _, ...spec }) => ({ ...spec, generation: (spec.generation ?? 0) + 1 })
}

interface Change {
  record: MicroserviceRecord
  spec: MicroserviceSpec
  /** The op whose value this puts back. */
  keeps?: string
}

async function set(mesh: Mesh, wanted: Change[]): Promise<DeployResult> {
  const ops: Op[] = []
  const changes: DeployResult['changes'] = []
  const { format } = mesh.state
  for (const { record, spec, keeps } of wanted) {
    const { application, name } = record
    const same = canonical(record.spec) === canonical(spec)
    const change = same ? 'unchanged' : 'updated'
    changes.push({ microservice: name, change, revision: revisionOf(spec, format) })
    if (same) continue
    const seen = await seenOf(mesh, microserviceThing(record), record)
    const op = { type: 'microservice.set' as const, application, name, spec, ...seen }
    ops.push({ ...op, ...(keeps !== undefined && { keeps }), at: Date.now() })
  }
  if (ops.length > 0) await mesh.append(ops)
  const application = wanted[0]?.record.application ?? ''
  return { application, changes, offline: offlineNodes(mesh) }
}

/** The revision to go back to: the one of this number, or the newest that was another and did not just fail. */
async function earlier(
  mesh: Mesh,
  record: MicroserviceRecord,
  n: number | null
): Promise<Revision> {
  const key = `${record.application}/${record.name}`
  const known = await mesh.oplog.look((view) => historyOf(view, microserviceThing(record)))
  const { format, rollouts: all } = mesh.state
  const last = all.get(key)
  const failed = last?.state === 'rolledBack' ? last.revision : null
  const other = ({ value }: Revision): boolean => {
    if (value === null) return false
    if (!isWholeSpec(value)) return true
    return canonical(value) !== canonical(record.spec) && revisionOf(value, format) !== failed
  }
  const found = n === null ? known.filter(other).at(-1) : known.find((revision) => revision.n === n)
  const next = `brume history ${key}`
  if (found === undefined) {
    const which = n === null ? 'another revision before this one' : `a revision ${n}`
    throw new BrumeError('REVISION_UNKNOWN', `${key} has not had ${which}, as far as is known`, {
      next
    })
  }
  if (found.value === null) {
    throw new BrumeError('REVISION_UNKNOWN', `revision ${found.n} of ${key} is its removal`, {
      next
    })
  }
  if (!isWholeSpec(found.value)) {
    throw new BrumeError('VALUE_LOST', `revision ${found.n} of ${key} was too large to be kept`, {
      next: 'deploy it again from its file'
    })
  }
  return found
}

function under(mesh: Mesh, params: Record<string, string>): MicroserviceRecord[] {
  const { application = '', microservice } = params
  if (microservice !== undefined) return [microserviceAt(mesh.state, params)]
  if (!mesh.state.applications.has(application)) throw unknown('application', application)
  return [...mesh.state.microservices.values()].filter((m) => m.application === application)
}

const unknown = (noun: string, name: string): BrumeError =>
  new BrumeError('UNKNOWN_REFERENCE', `there is no ${noun} "${name}"`, { next: 'brume ps' })

function rolloutOf(member: Member, { application, name }: MicroserviceRecord): RolloutJson {
  const found = rollouts(replicaWorld(member)).find(
    (r) => r.application === application && r.microservice === name
  )
  if (found === undefined) throw unknown('rollout of', `${application}/${name}`)
  return found
}

function mustBeUnderWay({ state }: Mesh, record: MicroserviceRecord): void {
  const key = `${record.application}/${record.name}`
  const rollout = state.rollouts.get(key)
  if (rollout !== undefined && isUnderWay(rollout)) return
  const why = rollout === undefined ? '' : `: the last one is ${ROLLOUT_STATES[rollout.state]}`
  throw new BrumeError('NO_ROLLOUT', `no rollout of ${key} is under way${why}`, {
    next: `brume rollout status ${key}`
  })
}
