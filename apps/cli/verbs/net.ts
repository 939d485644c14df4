import type { NetJson } from '../../api.ts'
import { age, table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'

export const net: Verb<null, NetJson[]> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/net'),

  print(all, { out }) {
    out.write(table(all, COLUMNS, out))
  }
}

const COLUMNS: Column<NetJson>[] = [
  { title: 'PEER', cell: ({ name }) => name },
  { title: 'PATH', cell: pathOf, color: ({ path }) => COLORS[path] },
  { title: 'RTT', cell: ({ rttMs }) => (rttMs === null ? '' : `${rttMs} ms`) },
  { title: 'NAT', cell: ({ nat }) => nat },
  { title: 'SINCE', cell: ({ sinceMs }) => (sinceMs === null ? '' : age(sinceMs)) },
  { title: 'TUNNEL', cell: tunnelOf },
  { title: 'WHY', cell: ({ why }) => why }
]

const COLORS: Record<NetJson['path'], number | null> = {
  self: null,
  lan: 32,
  direct: 32,
  relayed: 33,
  down: 31
}

function tunnelOf({ tunnel }: NetJson): string {
  if (tunnel === null) return ''
  return `${pathOf(tunnel)}, ${tunnel.flows} ${tunnel.flows === 1 ? 'flow' : 'flows'}`
}

function pathOf({ path, via }: Pick<NetJson, 'path' | 'via'>): string {
  return path === 'relayed' ? `relayed by ${via ?? 'a node that left'}` : path
}
