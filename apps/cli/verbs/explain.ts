import type { ExplainJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { oneLine, table, type Column } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

export const explain: Verb<string, ExplainJson[]> = {
  describe(command) {
    command.argument('<ref>', 'APP/MICROSERVICE, APP or MICROSERVICE')
  },

  parse: ([ref = '']) => ref,

  request: (ref, { client }) => client.get(withQuery('/explain', { ref })),

  print(all, context) {
    context.out.write(all.map((one) => shown(one, context)).join('\n'))
  }
}

function shown(
  { application, microservice, replicas, nodes }: ExplainJson,
  { out }: Context
): string {
  const lines = replicas.map(({ slot, node, state, placed, reason }) => {
    const where = node === null ? 'nowhere' : `on ${node}`
    const because = placed === null || placed === '' ? '' : ` because ${oneLine(placed)}`
    const now = reason === null ? '' : `; ${oneLine(reason)}`
    return `${application}/${microservice}/${slot} ${state} ${where}${because}${now}\n`
  })
  return `${lines.join('')}\n${table(nodes, COLUMNS, out)}`
}

const COLUMNS: Column<ExplainJson['nodes'][number]>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'REPLICAS', cell: ({ replicas }) => String(replicas) },
  {
    title: 'ONE MORE',
    cell: ({ refusal }) => (refusal === null ? 'may run here' : `no: ${refusal}`)
  }
]
