import type { RefJson, RemoveResult, ReplicaJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, usage, type Waiting, waiting } from '../options.ts'
import { untilGone } from '../until-gone.ts'
import type { Verb } from '../verb.ts'

interface Input extends Waiting {
  ref: string
}

export const rm: Verb<Input, RemoveResult> = {
  describe(command) {
    command.argument('<ref>', 'APP, APP/MICROSERVICE, or MICROSERVICE where there is one')
    addWaiting(command, 'it is gone')
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
        `rm: ${ref} is one replica; fewer of them come by scaling`,
        `brume scale ${application}/${microservice}=N`
      )
    }
    const path = `/applications/${application}${microservice === null ? '' : `/${microservice}`}`
    const result = await client.delete<RemoveResult>(path)
    if (!detach) {
      const what = microservice === null ? application : `${application}/${microservice}`
      const isOne = isOf(found, result.offline)
      await untilGone({ what, doing: 'removing', isOne, timeoutMs }, context)
    }
    tellOffline(result.offline, context)
    return result
  },

  print({ removed }, { out }) {
    for (const name of removed) out.write(`${name}\n`)
  },

  exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
}

/** All of it, but for what offline nodes cannot tell or let go of yet. */
const isOf =
  ({ application, microservice }: RefJson, offline: string[]) =>
  (r: ReplicaJson): boolean =>
    r.application === application &&
    (microservice === null || r.microservice === microservice) &&
    !(r.node !== null && offline.includes(r.node))
