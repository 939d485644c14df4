import type { ExposedJson, NetJson, ServiceNetJson, ServiceReplicaJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { age, oneLine, table, type Column } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

export const net: Verb<string | null, NetJson[] | ServiceNetJson> = {
  describe(command) {
    command.argument('[ref]', 'APP/MICROSERVICE: where calls of it go from this node')
  },

  parse: ([ref]) => ref ?? null,

  request: (ref, { client }) =>
    client.get(ref === null ? '/net' : withQuery('/net/service', { ref })),

  print(answer, context) {
    if (Array.isArray(answer)) context.out.write(table(answer, MEMBERS, context.out))
    else printService(answer, context)
  }
}

function printService({ name, ports, replicas, exposed }: ServiceNetJson, { out }: Context): void {
  const at = ports.map(({ container, protocol }) => `${container}/${protocol}`).join(', ')
  out.write(`${name}  ${at === '' ? 'no ports' : at}\n`)
  if (replicas.length === 0) out.write('no replica is up and healthy on a node in reach\n')
  else out.write(`\n${table(replicas, REPLICAS, out)}`)
  if (exposed.length > 0) out.write(`\n${table(exposed, EXPOSED, out)}`)
}

const COLORS: Record<NetJson['path'], number | null> = {
  self: null,
  lan: 32,
  direct: 32,
  relayed: 33,
  down: 31
}

const MEMBERS: Column<NetJson>[] = [
  { title: 'PEER', cell: ({ name }) => name },
  { title: 'PATH', cell: pathOf, color: ({ path }) => COLORS[path] },
  { title: 'RTT', cell: rttOf },
  { title: 'NAT', cell: ({ nat }) => nat },
  { title: 'SINCE', cell: ({ sinceMs }) => (sinceMs === null ? '' : age(sinceMs)) },
  { title: 'TUNNEL', cell: tunnelOf },
  { title: 'WHY', cell: ({ why }) => why }
]

const REPLICAS: Column<ServiceReplicaJson>[] = [
  { title: 'SLOT', cell: ({ slot }) => String(slot) },
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'PATH', cell: pathOf, color: ({ path }) => COLORS[path] },
  { title: 'RTT', cell: rttOf },
  { title: 'FLOWS', cell: ({ flows }) => String(flows) },
  { title: 'WHY', cell: ({ why }) => oneLine(why) }
]

const EXPOSED: Column<ExposedJson>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'PORT', cell: ({ port, to, protocol }) => `${port}->${to}/${protocol}` },
  { title: 'FOR', cell: ({ host, path }) => `${host ?? ''}${path ?? ''}`, whenAny: true },
  { title: 'TLS', cell: ({ tls }) => (tls ? 'yes' : ''), whenAny: true },
  {
    title: 'STATE',
    cell: ({ open }) => (open === null ? 'unknown' : open ? 'open' : 'closed'),
    color: ({ open }) => (open === null ? 33 : open ? 32 : 31)
  },
  { title: 'WHY', cell: ({ reason }) => oneLine(reason ?? ''), whenAny: true }
]

function rttOf({ rttMs }: { rttMs: number | null }): string {
  return rttMs === null ? '' : `${rttMs} ms`
}

function tunnelOf({ tunnel }: NetJson): string {
  if (tunnel === null) return ''
  return `${pathOf(tunnel)}, ${tunnel.flows} ${tunnel.flows === 1 ? 'flow' : 'flows'}`
}

function pathOf({ path, via }: Pick<NetJson, 'path' | 'via'>): string {
  return path === 'relayed' ? `relayed by ${via ?? 'a node that left'}` : path
}
