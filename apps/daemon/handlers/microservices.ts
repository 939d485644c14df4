import { BrumeError } from '../../../core/errors.ts'
import { isWholeSpec, microserviceThing } from '../../../core/state/microservices.ts'
import type { DeployResult, RemoveResult, ScaleRequest } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import { microserviceAt } from '../references.ts'
import { seenOf } from '../seen.ts'
import type { Route } from '../socket.ts'
import { removeService } from './services.ts'
import { mustOperate, offlineNodes } from '../world.ts'

const PATH = '/applications/:application/:microservice'

export const microservices = (daemon: Daemon): Route[] => [
  {
    method: 'POST',
    path: `${PATH}/scale`,
    async handle(request): Promise<DeployResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const record = microserviceAt(mesh.state, request.params)
      const { replicas } = await request.json<ScaleRequest>()
      const spec = { ...record.spec, replicas }
      if (!isWholeSpec(spec)) {
        throw new BrumeError(
          'BAD_REQUEST',
          `replicas: expected a number from 0 to 1000 or "all", got ${JSON.stringify(replicas)}`
        )
      }
      const { application, name, revision } = record
      const same = record.spec.replicas === replicas
      if (!same) {
        const seen = await seenOf(mesh, microserviceThing(record), record)
        await mesh.append([
          { type: 'microservice.set', application, name, spec, ...seen, at: Date.now() }
        ])
      }
      const change = same ? 'unchanged' : 'updated'
      return {
        application,
        changes: [{ microservice: name, change, revision }],
        offline: offlineNodes(mesh)
      }
    }
  },
  {
    method: 'DELETE',
    path: PATH,
    async handle({ params }): Promise<RemoveResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const { state } = mesh
      const key = `${params['application']}/${params['microservice']}`
      const service = state.microservices.has(key) ? undefined : state.services.get(key)
      if (service !== undefined) return removeService(mesh, service)
      const record = microserviceAt(state, params)
      const { application, name } = record
      const seen = await seenOf(mesh, microserviceThing(record), record)
      await mesh.append([{ type: 'microservice.rm', application, name, ...seen, at: Date.now() }])
      return { removed: [`${application}/${name}`], offline: offlineNodes(mesh) }
    }
  }
]
