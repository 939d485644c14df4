import { BrumeError } from '../../../core/errors.ts'
import { canonical } from '../../../core/crypto.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { applicationThing, seenOfAll } from '../../../core/state/applications.ts'
import { devicesOf } from '../../../core/state/devices.ts'
import { microserviceThing, revisionOf, withRestarts } from '../../../core/state/microservices.ts'
import type { Op } from '../../../core/state/index.ts'
import { isRival } from '../../../core/state/conflicts.ts'
import type { OpId } from '../../../core/state/records.ts'
import { volumesOf } from '../../../core/state/volumes.ts'
import type { ApplicationJson, DeployRequest, DeployResult, RemoveResult } from '../../api.ts'
import { checkedApplication } from '../asked.ts'
import { untilSpread } from '../bundle-spread.ts'
import type { Daemon } from '../daemon.ts'
import { mustBeFree } from '../exposed.ts'
import { replicas } from '../replicas.ts'
import { seenOf } from '../seen.ts'
import type { Route } from '../socket.ts'
import { mustNotBeService } from './services.ts'
import { mustKnowFormat, mustOperate, offlineNodes, replicaWorld, revOf } from '../world.ts'

export const applications = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/applications',
    async handle(request): Promise<DeployResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const asked = checkedApplication(await request.json<DeployRequest>())
      mustMean(asked, mesh)
      mustBeFree(mesh.state, asked.application, asked.microservices)
      const ifRev = meantFor(mesh, asked)
      const { ops, changes } = await plan(mesh, asked, ifRev)
      const [first] = await mesh.append(ops)
      if (ifRev !== undefined && first !== undefined) await mustStand(mesh, asked, first)
      await untilSpread(mesh, asked.microservices, request.signal)
      return { application: asked.application, changes, offline: offlineNodes(mesh) }
    }
  },
  {
    method: 'GET',
    path: '/applications',
    async handle(): Promise<ApplicationJson[]> {
      const member = daemon.member()
      const rows = replicas(replicaWorld(member)).filter(({ wanted }) => wanted !== null)
      const { applications, microservices } = member.mesh.state
      return [...applications.values()].map(({ name, at }) => {
        const own = rows.filter(({ application }) => application === name)
        const under = [...microservices.values()].filter(({ application }) => application === name)
        return {
          name,
          microservices: under.length,
          replicas: {
            wanted: own.length,
            running: own.filter(({ state }) => state === 'running').length
          },
          updatedAt: new Date(Math.max(at, ...under.map((record) => record.at))).toISOString()
        }
      })
    }
  },
  {
    method: 'DELETE',
    path: '/applications/:application',
    async handle({ params: { application = '' } }): Promise<RemoveResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const record = mesh.state.applications.get(application)
      if (record === undefined) throw unknownApplication(application)
      const removed = [...mesh.state.microservices.values()]
        .filter((record) => record.application === application)
        .map(({ name }) => `${application}/${name}`)
      const seen = await mesh.oplog.look((view) => seenOfAll(view, application, record))
      await mesh.append([{ type: 'application.rm', name: application, ...seen, at: Date.now() }])
      return { removed, offline: offlineNodes(mesh) }
    }
  }
]

/** One batch: the application, what is new or differs in it, and what is no longer in it. */
async function plan(
  mesh: Mesh,
  { application, microservices }: DeployRequest,
  ifRev: string | undefined
): Promise<{ ops: Op[]; changes: DeployResult['changes'] }> {
  const { state } = mesh
  const at = Date.now()
  const changes: DeployResult['changes'] = []
  const ops: Op[] = []
  for (const { name, spec: asked } of microservices) {
    const old = state.microservices.get(`${application}/${name}`)
    const spec = withRestarts(asked, old?.spec)
    const same = old !== undefined && canonical(old.spec) === canonical(spec)
    const change = old === undefined ? 'created' : same ? 'unchanged' : 'updated'
    changes.push({ microservice: name, change, revision: revisionOf(spec, state.format) })
    if (same) continue
    const seen = await seenOf(mesh, microserviceThing({ application, name }), old)
    ops.push({ type: 'microservice.set', application, name, spec, ...seen, at })
  }
  const asked = new Set(microservices.map(({ name }) => name))
  for (const record of state.microservices.values()) {
    const { application: of, name } = record
    if (of !== application || asked.has(name)) continue
    changes.push({ microservice: name, change: 'removed', revision: null })
    const seen = await seenOf(mesh, microserviceThing(record), record)
    ops.push({ type: 'microservice.rm', application, name, ...seen, at })
  }
  const old = state.applications.get(application)
  if (ops.length > 0 || old === undefined) {
    const seen = await seenOf(mesh, applicationThing({ name: application }), old)
    ops.unshift({ type: 'application.set', name: application, ...seen, ifRev, at })
  }
  if (ifRev === undefined) return { ops, changes }
  // The application stands or falls with its rev, and all that came with it.
  const bound = ops.map((op, i) => (i === 0 ? op : { ...op, after: i }))
  return { ops: bound, changes }
}

/** @throws BrumeError BAD_REQUEST, NAME_TAKEN, and UPGRADE_NEEDED for what the mesh's format has no notion of */
function mustMean({ application, ifRev, microservices }: DeployRequest, mesh: Mesh): void {
  if (ifRev !== undefined && !/^[0-9a-f]{6,16}$/.test(String(ifRev))) {
    throw new BrumeError('BAD_REQUEST', '`ifRev` is not 6 to 16 hex digits')
  }
  for (const { name } of microservices) mustNotBeService(mesh, `${application}/${name}`)
  if (microservices.some(({ spec }) => devicesOf(spec).length > 0)) {
    mustKnowFormat(mesh, 'microservice with devices')
  }
  if (microservices.some(({ spec }) => volumesOf(spec).length > 0)) {
    mustKnowFormat(mesh, 'microservice with volumes')
  }
}

/** The whole rev that a deploy asks for. @throws BrumeError REVISION_CHANGED where it is another. */
function meantFor({ state }: Mesh, { application, ifRev }: DeployRequest): string | undefined {
  if (ifRev === undefined) return undefined
  const now = revOf(state, application)
  if (now?.startsWith(ifRev) === true) return now
  throw revisionChanged(
    now === null
      ? `there is no application ${application}, at ${ifRev} or any other revision`
      : `${application} is at ${now}, not at ${ifRev}: it was changed since`,
    application
  )
}

/** An op of another node may have come first after all. */
async function mustStand(
  mesh: Mesh,
  { application, ifRev }: DeployRequest,
  op: OpId
): Promise<void> {
  const thing = applicationThing({ name: application })
  if (!(await mesh.oplog.look((view) => isRival(view, thing, op)))) return
  throw revisionChanged(
    `${application} was changed while this deploy was on its way, and is not at ${ifRev ?? ''} any more; nothing of it stands`,
    application
  )
}

const revisionChanged = (message: string, application: string): BrumeError =>
  new BrumeError('REVISION_CHANGED', message, { next: `brume history ${application}` })

const unknownApplication = (name: string): BrumeError =>
  new BrumeError('UNKNOWN_REFERENCE', `there is no application "${name}"`, { next: 'brume apps' })
