import type { StatusJson } from '../../api.ts'
import { age, pairs, table } from '../print.ts'
import type { Verb } from '../verb.ts'

export const status: Verb<null, StatusJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/status'),

  print(s, { out }) {
    const { confirmed, tentative } = s.oplog
    const refused = s.refusedOps === 0 ? '' : `, ${s.refusedOps} refused`
    out.write(
      pairs([
        ['name', s.name],
        ['id', s.id],
        ['mesh', s.mesh],
        ['role', s.role],
        ['peers', String(s.peers)],
        ['engine', engine(s.engine)],
        ['oplog', `${confirmed} confirmed, ${tentative} tentative${refused}`],
        ['leader', s.leader === null ? '' : `${s.leader} (term ${s.term})`],
        ['daemon', `brume ${s.version}, process ${s.pid}, up ${age(s.uptimeMs)}`],
        ['data', s.disk === null ? s.dataDir : `${s.dataDir}: ${s.disk}`]
      ])
    )
    if (s.actors.length === 0) return
    const columns = [
      { title: 'ACTOR', cell: (a: StatusJson['actors'][number]) => a.name },
      { title: 'STATE', cell: (a: StatusJson['actors'][number]) => a.state },
      { title: 'SINCE', cell: (a: StatusJson['actors'][number]) => age(a.sinceMs) }
    ]
    out.write(`\n${table(s.actors, columns, out)}`)
  }
}

function engine({ kind, version, problem }: StatusJson['engine']): string {
  const name = version === null ? kind : `${kind} ${version}`
  return problem === null ? name : `${name}: ${problem}`
}
