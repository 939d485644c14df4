import type { DescribeJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { oneLine, pairs, replicaTable } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

export const describe: Verb<{ ref: string }, DescribeJson> = {
  describe(command) {
    command.argument('<ref>', 'APP/MICROSERVICE[/SLOT], APP or MICROSERVICE')
  },

  parse: ([ref = '']) => ({ ref }),

  request: ({ ref }, { client }) => client.get(withQuery('/describe', { ref })),

  print(described, context) {
    const parts = described.microservices.map((m) => microservice(described, m, context))
    context.out.write(parts.join('\n'))
  }
}

type Microservice = DescribeJson['microservices'][number]
type Spec = Microservice['spec']

function microservice(
  { application, rev }: DescribeJson,
  m: Microservice,
  { out, now }: Context
): string {
  const { spec } = m
  const entries: [string, string][] = [
    ['microservice', `${application}/${m.name}`],
    ['revision', m.revision],
    ['set', `${m.setAt} by ${m.setBy}`],
    ['rev', `${rev}, of ${application}, for deploy --if-rev`],
    ['image', spec.image ?? ''],
    ['images', join(spec.images, ' ')],
    ['files', spec.files ? `${spec.files.digest.slice(0, 12)} (${spec.files.bytes} bytes)` : ''],
    ['command', spec.command.map(word).join(' ')],
    ['replicas', spec.replicas === 'all' ? 'one on every node that fits' : String(spec.replicas)],
    ['node', spec.node ?? ''],
    ['constraints', spec.constraints.join(', ')],
    ['ports', spec.ports.map(port).join(', ')],
    ['expose', (spec.expose ?? []).map(exposure).join('; ')],
    ['volumes', (spec.volumes ?? []).map(volume).join(', ')],
    ['env', join(spec.env, ' ')],
    ['labels', join(spec.labels, ' ')],
    ['resources', resources(spec)],
    ['restart', spec.restart],
    ['healthcheck', healthcheck(spec)]
  ]
  const told = entries.filter(([, value]) => oneLine(value) !== '')
  return `${pairs(told)}\n${replicaTable(m.replicas, out, now())}`
}

const join = (of: Record<string, string>, gap: string): string =>
  Object.entries(of)
    .map(([key, value]) => `${key}=${word(value)}`)
    .join(gap)

/** As a shell would need it. */
const word = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : JSON.stringify(text))

const port = (p: Spec['ports'][number]): string =>
  `${p.host === null ? '' : `${p.host}:`}${p.container}/${p.protocol}`

const volume = (v: NonNullable<Spec['volumes']>[number]): string =>
  `${v.source}:${v.container}${v.readOnly ? ':ro' : ''}`

function exposure(e: NonNullable<Spec['expose']>[number]): string {
  const { port, to, protocol, on, host = '', path = '', tls } = e
  const parts = [
    `${port}->${to}/${protocol}`,
    ...(host + path === '' ? [] : [`for ${host}${path}`]),
    on === 'all' ? 'on all nodes' : `on ${on}`,
    ...(tls === undefined ? [] : [`with TLS by ${tls.cert}`])
  ]
  return parts.join(' ')
}

function resources({ resources: { cpus, memoryBytes } }: Spec): string {
  const parts: string[] = []
  if (cpus !== null) parts.push(`${cpus} cpus`)
  if (memoryBytes !== null) parts.push(`${Math.round(memoryBytes / 1024 / 1024)} MiB memory`)
  return parts.join(', ')
}

function healthcheck({ healthcheck: h }: Spec): string {
  if (h === null) return ''
  return `${h.command.map(word).join(' ')} every ${h.intervalMs / 1000} s, ${h.retries} retries`
}
