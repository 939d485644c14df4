import type { ReplicaJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { replicaTable } from '../print.ts'
import type { Verb } from '../verb.ts'

export const ps: Verb<{ ref: string | undefined }, ReplicaJson[]> = {
  describe(command) {
    command.argument('[ref]', 'APP/MICROSERVICE[/SLOT], APP or MICROSERVICE; default: all')
  },

  parse: ([ref]) => ({ ref }),

  request: ({ ref }, { client }) => client.get(withQuery('/replicas', { ref })),

  print(replicas, { out, now }) {
    out.write(replicaTable(replicas, out, now()))
  }
}
