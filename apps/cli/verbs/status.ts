import type { StatusJson } from '../../api.ts'
import { age, pairs, since, table } from '../print.ts'
import type { Verb } from '../verb.ts'

export const status: Verb<null, StatusJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/status'),

  print(s, { out, now }) {
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
        ...names(s.names),
        ...exposed(s.exposed),
        ['oplog', `${confirmed} confirmed, ${tentative} tentative${refused}`],
        ['confirmed by', s.indexers.map(indexer).join(', ')],
        ...waits(s),
        ['leader', leader(s, now())],
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

function leader({ leader, term, leaderSince, election }: StatusJson, now: number): string {
  if (leader === null) return `none: ${election}`
  const how = leaderSince === null ? '' : `, for ${since(leaderSince, now)}`
  return `${leader} (term ${term})${how}: ${election}`
}

const indexer = ({ name, alive }: StatusJson['indexers'][number]): string =>
  alive ? name : `${name} (silent)`

/** Changes cost memory while they are not confirmed: so many are worth a word. */
const MANY_CHANGES = 5_000

function waits({ stalled, fork, format, conflicts }: StatusJson): [string, string][] {
  const lines: [string, string][] = []
  if (stalled !== null) {
    const { changes, missing } = stalled
    const [are, they] = missing.length === 1 ? ['is', 'it is'] : ['are', 'they are']
    const who = `${missing.join(', ')} ${are} silent; if ${they} lost for good: brume recover`
    const wait = changes === 1 ? '1 change waits' : `${changes} changes wait`
    const much = changes < MANY_CHANGES ? '' : ' (and take memory until then)'
    lines.push(['waits', `${wait} for confirmation${much}: ${who}`])
  }
  if (conflicts > 0) lines.push(['conflicts', `${conflicts}: brume conflicts`])
  if (fork.ahead)
    lines.push(['order', 'members have recovered the mesh; this node goes over to them'])
  if (format.active > format.known) {
    lines.push(['format', `${format.active}, this brume knows ${format.known}: upgrade it`])
  } else if (format.active < format.known && format.active > 0) {
    lines.push(['format', `${format.active}; ${format.known} is there: brume upgrade`])
  }
  return lines
}

function names({ state, address, problem }: StatusJson['names']): [string, string][] {
  if (problem !== null) {
    const next = problem.next === null ? '' : ` (${problem.next})`
    return [['names', `off: ${problem.message}${next}`]]
  }
  if (state === 'unasked') return []
  return [['names', state === 'opening' ? 'opening' : `containers ask ${address ?? ''}`]]
}

/** A line for what is open, and one for each port that is not as it should be. */
function exposed(ports: StatusJson['exposed']): [string, string][] {
  const inWords = ({ port, host, path, microservice }: StatusJson['exposed'][number]): string =>
    `${port}${host === null && path === null ? '' : ` (${host ?? ''}${path ?? ''})`} for ${microservice}`
  const open = ports.filter((one) => one.open).map(inWords)
  const wrong = ports.flatMap((one): [string, string][] => {
    if (one.problem === null) return []
    return [[one.open ? 'open port' : 'closed port', `${inWords(one)}: ${one.problem}`]]
  })
  return [
    ...(open.length === 0 ? [] : [['open ports', open.join(', ')] as [string, string]]),
    ...wrong
  ]
}

function engine({ kind, version, problem }: StatusJson['engine']): string {
  const name = version === null ? kind : `${kind} ${version}`
  return problem === null ? name : `${name}: ${problem}`
}
