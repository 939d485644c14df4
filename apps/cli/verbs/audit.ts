import type { AuditJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { count } from '../options.ts'
import { since, table, type Column } from '../print.ts'
import type { Verb } from '../verb.ts'
import { shortOp } from './history.ts'

interface Input {
  tail: number
  by: string | null
}

export const audit: Verb<Input, AuditJson[]> = {
  describe(command) {
    command
      .option('--tail <n>', 'show the last so many', '50')
      .option('--by <node>', 'only what came from this node')
  },

  parse: (_, { tail, by }) => ({
    tail: count(String(tail), '--tail', 1_000),
    by: (by as string | undefined) ?? null
  }),

  request({ tail, by }, { client }) {
    return client.get(withQuery('/audit', { tail: String(tail), by: by ?? undefined }))
  },

  print(all, { out, now }) {
    const columns: Column<AuditJson>[] = [
      { title: 'WHEN', cell: ({ at }) => `${since(at, now())} ago` },
      { title: 'BY', cell: ({ by }) => by },
      { title: 'WHAT', cell: ({ type }) => type },
      { title: 'OF', cell: ({ subject }) => subject },
      { title: 'OP', cell: ({ op }) => shortOp(op) },
      { title: 'OVER', cell: ({ over }) => (over === null ? '' : shortOp(over)) }
    ]
    out.write(table(all, columns, out))
  }
}
