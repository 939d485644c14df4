import type { DeployResult, RefJson, ReplicaJson, RollbackRequest } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { microserviceOf } from '../microservice.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, usage, type Waiting, waiting } from '../options.ts'
import { replicaTable } from '../print.ts'
import { goalOf, settle } from '../settle.ts'
import type { Verb } from '../verb.ts'
import type { ScaleAnswer } from './scale.ts'

interface Input extends Waiting {
  ref: string
  n: number | null
}

export const rollback: Verb<Input, ScaleAnswer> = {
  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE, or MICROSERVICE where there is one')
      .argument('[revision]', 'its number in `brume history`; the one before where missing')
    addWaiting(command, 'it runs')
  },

  parse([ref = '', revision], options) {
    const n = revision === undefined ? null : Number(revision.replace(/^#/, ''))
    if (n !== null && !(Number.isSafeInteger(n) && n > 0)) {
      throw usage(
        `rollback: expected a number as \`brume history\` shows it, got "${revision}"`,
        `brume history ${ref}`
      )
    }
    return { ref, n, ...waiting(options) }
  },

  async request({ ref, n, detach, timeoutMs }, context) {
    const { client } = context
    const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
    const { application, microservice } = microserviceOf(found, 'rollback', ref)
    const body: RollbackRequest = n === null ? {} : { n }
    const path = `/applications/${application}/${microservice}/rollback`
    const result = await client.post<DeployResult>(path, body)
    if (!detach) {
      await settle(await goalOf(result, context), { timeoutMs, doing: 'rolling back' }, context)
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
