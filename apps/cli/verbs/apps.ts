import type { ApplicationJson } from '../../api.ts'
import { since, table } from '../print.ts'
import type { Verb } from '../verb.ts'

export const apps: Verb<null, ApplicationJson[]> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/applications'),

  print(applications, { out, now }) {
    const columns = [
      { title: 'APPLICATION', cell: (a: ApplicationJson) => a.name },
      { title: 'MICROSERVICES', cell: (a: ApplicationJson) => String(a.microservices) },
      {
        title: 'RUNNING',
        cell: ({ replicas }: ApplicationJson) => `${replicas.running}/${replicas.wanted}`
      },
      { title: 'UPDATED', cell: (a: ApplicationJson) => `${since(a.updatedAt, now())} ago` }
    ]
    out.write(table(applications, columns, out))
  }
}
