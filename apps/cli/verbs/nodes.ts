import type { NodeJson } from '../../api.ts'
import { age, table, YELLOW, type Column } from '../print.ts'
import type { Output, Verb } from '../verb.ts'

export const nodes: Verb<{ all: boolean }, NodeJson[]> = {
  describe(command) {
    command.option('-a, --all', 'those that were removed as well')
  },

  parse: (_, options) => ({ all: options.all === true }),

  async request({ all }, { client }) {
    const nodes = await client.get<NodeJson[]>('/nodes')
    return all ? nodes : nodes.filter(({ state }) => state !== 'removed')
  },

  print(all, { out }) {
    out.write(nodeTable(all, out))
  }
}

export const nodeTable = (nodes: NodeJson[], out: Output): string => table(nodes, COLUMNS, out)

const COLUMNS: Column<NodeJson>[] = [
  { title: 'NAME', cell: (n) => n.name },
  { title: 'ID', cell: (n) => n.id.slice(0, 8) },
  { title: 'STATE', cell: (n) => n.state, color: ({ state }) => COLORS[state] },
  {
    title: 'AVAILABILITY',
    cell: ({ availability: { mode, reason } }) =>
      mode === 'active' ? '' : `${mode}${reason === '' ? '' : `: ${reason}`}`,
    color: () => YELLOW,
    whenAny: true
  },
  { title: 'LAST HEARD', cell: (n) => heard(n.lastHeardMs) },
  { title: 'ROLE', cell: (n) => n.role },
  { title: 'ENGINE', cell: (n) => n.engine ?? '' },
  { title: 'VERSION', cell: (n) => n.version ?? '' },
  { title: 'LABELS', cell: (n) => labels(n.labels), whenAny: true },
  { title: 'DROPPED', cell: (n) => (n.dropped > 0 ? `${n.dropped} ops` : ''), whenAny: true }
]

const COLORS: Record<NodeJson['state'], number | null> = {
  alive: 32,
  silent: 33,
  pending: 33,
  lost: 31,
  gone: 31,
  removed: null
}

/** A node that was heard within two beats of a heart is heard now. */
function heard(ms: number | null): string {
  if (ms === null) return 'never'
  return ms < 2_000 ? 'now' : `${age(ms)} ago`
}

const labels = (of: Record<string, string>): string =>
  Object.keys(of)
    .sort()
    .map((key) => `${key}=${of[key]}`)
    .join(',')
