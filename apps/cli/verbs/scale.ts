import type { DeployResult, RefJson, ReplicaJson, ScaleRequest } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { addWaiting, usage, type Waiting, waiting } from '../options.ts'
import { microserviceOf } from '../microservice.ts'
import { tellOffline } from '../offline.ts'
import { replicaTable } from '../print.ts'
import { settle } from '../settle.ts'
import type { Verb } from '../verb.ts'

interface Input extends Waiting {
  ref: string
  replicas: number | 'all'
}

export interface ScaleAnswer extends DeployResult {
  replicas: ReplicaJson[]
}

export const scale: Verb<Input, ScaleAnswer> = {
  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE, or MICROSERVICE where there is one; =N may follow')
      .argument('[n]', 'how many replicas, or "all": one on every node that fits')
    addWaiting(command, 'they run')
  },

  parse([first = '', second], options) {
    const [ref = '', count] = second === undefined ? first.split('=', 2) : [first, second]
    if (count === undefined) throw usage(`scale: how many? ${ref}=N`, `brume scale ${ref}=3`)
    return {
      ref,
      replicas: replicas(count),
      ...waiting(options)
    }
  },

  async request({ ref, replicas, detach, timeoutMs }, context) {
    const { client } = context
    const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
    const { application, microservice } = microserviceOf(
      found,
      'scale',
      ref,
      (name) => `brume scale ${name}=N`
    )
    const body: ScaleRequest = { replicas }
    const path = `/applications/${application}/${microservice}/scale`
    const result = await client.post<DeployResult>(path, body)
    if (!detach) {
      const microservices = new Map([[microservice, replicas]])
      const goal = {
        application,
        microservices,
        revisions: new Map<string, string>(),
        exact: true,
        offline: result.offline
      }
      await settle(goal, { timeoutMs, doing: 'scaling' }, context)
    }
    tellOffline(result.offline, context)
    const now = withQuery('/replicas', { ref: `${application}/${microservice}` })
    return { ...result, replicas: await client.get<ReplicaJson[]>(now) }
  },

  print(answer, { out, now }) {
    out.write(replicaTable(answer.replicas, out, now()))
  },

  exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
}

function replicas(count: string): number | 'all' {
  if (count === 'all') return 'all'
  const n = /^\d{1,4}$/.test(count) ? Number(count) : NaN
  if (n <= 1000) return n
  throw usage(`scale: expected a number from 0 to 1000 or "all", got "${count}"`)
}
