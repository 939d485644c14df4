import type { HistoryJson, RevisionJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { count } from '../options.ts'
import { since, table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'

interface Input {
  noun: string | null
  ref: string
  tail: number
}

export const history: Verb<Input, HistoryJson> = {
  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE, APP or MICROSERVICE; or a noun, and the name of one')
      .argument('[name]', 'its name, where a noun came first: `history node pi-1`')
      .option('--tail <n>', 'show the last so many', '50')
  },

  parse([first = '', second], { tail }) {
    const [noun, ref] = second === undefined ? [null, first] : [first, second]
    return { noun, ref, tail: count(String(tail), '--tail', 1_000) }
  },

  request({ noun, ref, tail }, { client }) {
    return client.get(withQuery('/history', { ref, noun: noun ?? undefined, tail: String(tail) }))
  },

  print({ name, rev, revisions }, { out, err, now }) {
    const things = new Set(revisions.map((revision) => revision.name))
    const columns: Column<RevisionJson>[] = [
      { title: '#', cell: ({ n }) => String(n) },
      { title: 'WHAT', cell: (r) => (things.size > 1 ? r.name : ''), whenAny: true },
      { title: 'BY', cell: ({ by }) => by },
      { title: 'WHEN', cell: ({ at }) => `${since(at, now())} ago` },
      { title: 'OVER', cell: over },
      { title: 'CHANGE', cell: ({ change }) => change }
    ]
    out.write(table(revisions, columns, out))
    if (rev !== null) err.write(`${name.split('/')[0]} is at ${rev}, for deploy --if-rev\n`)
  }
}

/** What its author saw: most often the one before. */
function over({ over, overN }: RevisionJson): string {
  if (overN !== null) return `#${overN}`
  return over === null ? '' : shortOp(over)
}

/** `ybndrfg8.17`: the beginning of its writer's id, and its place there. */
export const shortOp = (op: string): string => op.replace(/^(.{8}).*(\.\d+)$/, '$1$2')
