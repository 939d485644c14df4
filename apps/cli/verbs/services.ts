import type { ServiceJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'

export const services: Verb<string | undefined, ServiceJson[]> = {
  describe(command) {
    command.argument('[ref]', 'APP/SERVICE, or SERVICE')
  },

  parse: ([ref]) => ref,

  request: (ref, { client }) => client.get(withQuery('/services', { ref })),

  print(services, { out }) {
    out.write(table(services, COLUMNS, out))
  }
}

const COLUMNS: Column<ServiceJson>[] = [
  { title: 'SERVICE', cell: ({ application, service }) => `${application}/${service}` },
  {
    title: 'ADDRESS',
    cell: ({ spec: { host, ports } }) =>
      `${host}:${ports.map(({ port, protocol }) => `${port}/${protocol}`).join(', ')}`
  },
  { title: 'THROUGH', cell: ({ nodes }) => nodes.map(gateway).join(', ') || 'no node' },
  { title: 'ALLOW', cell: ({ spec }) => spec.allow.join(', ') },
  { title: 'NAME', cell: ({ name, hidden }) => (hidden ? 'hidden by a microservice' : name) }
]

const gateway = ({ name, alive }: ServiceJson['nodes'][number]): string =>
  alive ? name : `${name} (not in reach)`
