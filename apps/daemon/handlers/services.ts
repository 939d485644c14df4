/** Services outside the mesh: names for addresses that some nodes reach. */
import { canonical } from '../../../core/crypto.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { Mesh } from '../../../core/mesh.ts'
import { NAME } from '../../../core/state/names.ts'
import { isGateway, isServiceSpec, serviceThing } from '../../../core/state/services.ts'
import type { ServiceRecord } from '../../../core/state/state.ts'
import type { RemoveResult, ServiceJson, ServiceRequest, ServiceResult } from '../../api.ts'
import { changeLine } from '../changes.ts'
import type { Daemon } from '../daemon.ts'
import { seenOf } from '../seen.ts'
import type { Route } from '../socket.ts'
import { mustKnowFormat, mustOperate, nodeName, offlineNodes } from '../world.ts'

export const services = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: '/services',
    async handle(request): Promise<ServiceResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      mustKnowFormat(mesh, 'service outside')
      const asked = checked(await request.json<ServiceRequest>(), mesh)
      const { application, name, spec } = asked
      const old = mesh.state.services.get(`${application}/${name}`)
      const same = old !== undefined && canonical(old.spec) === canonical(spec)
      const change = old === undefined ? 'created' : same ? 'unchanged' : 'updated'
      const line = old === undefined || same ? '' : changeLine(side(old.spec), side(spec))
      if (!same && request.query.get('dry-run') !== '1') {
        const seen = await seenOf(mesh, serviceThing(asked), old)
        await mesh.append([{ type: 'service.set', ...asked, ...seen, at: Date.now() }])
      }
      return { application, name, change, line, offline: offlineNodes(mesh) }
    }
  },
  {
    method: 'GET',
    path: '/services',
    async handle({ query }): Promise<ServiceJson[]> {
      const { mesh } = daemon.member()
      const ref = query.get('ref')
      const all = [...mesh.state.services.values()]
      const found = all.filter((record) => ref === null || isNamed(record, ref))
      if (ref !== null && found.length === 0) {
        throw new BrumeError('UNKNOWN_REFERENCE', `there is no service outside "${ref}"`, {
          next: 'brume services'
        })
      }
      return found.map((record) => toJson(record, mesh))
    }
  }
]

/** Where there is one of that name. */
export async function removeService(mesh: Mesh, record: ServiceRecord): Promise<RemoveResult> {
  const { application, name } = record
  const seen = await seenOf(mesh, serviceThing(record), record)
  await mesh.append([{ type: 'service.rm', application, name, ...seen, at: Date.now() }])
  return { removed: [`${application}/${name}`], offline: offlineNodes(mesh) }
}

/** @throws BrumeError NAME_TAKEN */
export function mustNotBeService(mesh: Mesh, key: string): void {
  if (!mesh.state.services.has(key)) return
  throw new BrumeError('NAME_TAKEN', `${key} is the name of a service outside already`, {
    next: `brume rm ${key}, or another name`
  })
}

/** @throws BrumeError BAD_REQUEST, NAME_TAKEN */
function checked({ application, name, spec }: ServiceRequest, { state }: Mesh): ServiceRequest {
  const bad = (message: string): BrumeError => new BrumeError('BAD_REQUEST', message)
  for (const each of [application, name]) {
    if (!NAME.test(String(each))) throw bad(`"${each}" is no name`)
  }
  if (!isServiceSpec(spec))
    throw bad(`the service "${name}" has not the shape this version expects`)
  const key = `${application}/${name}`
  if (state.microservices.has(key)) {
    throw new BrumeError('NAME_TAKEN', `${key} is the name of a microservice already`, {
      next: `another name, or \`brume rm ${key}\` first`
    })
  }
  return { application, name, spec }
}

const side = (value: unknown): { value: unknown; bytes: number } => ({ value, bytes: 0 })

const isNamed = ({ application, name }: ServiceRecord, ref: string): boolean =>
  [name, application, `${application}/${name}`].includes(ref)

function toJson(record: ServiceRecord, mesh: Mesh): ServiceJson {
  const { application, name, spec, by, at } = record
  const { state } = mesh
  const alive = mesh.alive()
  const gateways = [...state.nodes.values()].filter((node) => isGateway(spec, node))
  return {
    application,
    service: name,
    name: `${name}.${application}.brume`,
    spec,
    nodes: gateways.map((node) => ({ name: node.displayName, alive: alive.has(node.id) })),
    hidden: state.microservices.has(`${application}/${name}`),
    setBy: nodeName(state, by),
    setAt: new Date(at).toISOString()
  }
}
