/** `brume stop`, `start` and `restart`: of an application, or one of its microservices. */
import type { DeployResult, RefJson, ReplicaJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, usage, type Waiting, waiting } from '../options.ts'
import { replicaTable } from '../print.ts'
import { goalOf, settle } from '../settle.ts'
import type { Verb } from '../verb.ts'
import type { ScaleAnswer } from './scale.ts'

interface Input extends Waiting {
  ref: string
}

export const stop = change('stop', 'stopping')
export const start = change('start', 'starting')
export const restart = change('restart', 'restarting')

function change(action: 'stop' | 'start' | 'restart', doing: string): Verb<Input, ScaleAnswer> {
  return {
    describe(command) {
      command.argument('<ref>', 'APP, APP/MICROSERVICE, or MICROSERVICE where there is one')
      addWaiting(command, 'it is done')
    },

    parse([ref = ''], options) {
      return { ref, ...waiting(options) }
    },

    async request({ ref, detach, timeoutMs }, context) {
      const { client } = context
      const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
      const { application, microservice, slot } = found
      if (slot !== null) {
        throw usage(
          `${action}: ${ref} is one replica; name its microservice`,
          `brume ${action} ${application}/${microservice}`
        )
      }
      const name = microservice === null ? application : `${application}/${microservice}`
      const result = await client.post<DeployResult>(`/applications/${name}/${action}`, {})
      if (!detach) await settle(await goalOf(result, context), { timeoutMs, doing }, context)
      tellOffline(result.offline, context)
      const replicas = await client.get<ReplicaJson[]>(withQuery('/replicas', { ref: name }))
      return { ...result, replicas }
    },

    print(answer, { out, now }) {
      out.write(replicaTable(answer.replicas, out, now()))
    },

    exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
  }
}
