import test from 'brittle'
import type { FactsBody } from '../../../core/gossip-records.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { NodeRecord } from '../../../core/state/state.ts'
import {
  CONSTRAINTS,
  explain,
  refusing,
  type Context,
  type NodeUse
} from '../../../roles/controller/constraints.ts'
import { facts, microservice, MIB, node } from '../../sim/worlds.ts'

interface Case {
  node?: Partial<NodeRecord>
  spec?: Partial<MicroserviceSpec>
  facts?: Partial<FactsBody> | null
  use?: Partial<NodeUse>
  silentMs?: number
}

const port = (host: number | null, protocol: 'tcp' | 'udp' = 'tcp') => ({
  container: 80,
  host,
  protocol
})
const engine = (kind: 'docker' | 'process' | 'none', problem: string | null = null) => ({
  engine: { kind, version: null, problem }
})
const asks = (cpus: number | null, mib: number | null) => ({
  resources: { cpus, memoryBytes: mib === null ? null : mib * MIB }
})

/** Constraint, the case it refuses, the words it has for it, and one that it admits. */
const ROWS: [string, Case, string, Case][] = [
  ['member', { node: { state: 'removed' } }, 'is removed', {}],
  ['member', { node: { role: 'viewer' } }, 'is a viewer', { node: { role: 'node' } }],
  ['pin', { spec: { node: 'pi-2' } }, 'is not pi-2', { spec: { node: 'a' } }],
  [
    'labels',
    { spec: { constraints: ['zone=x'] } },
    'has no label zone=x',
    { spec: { constraints: ['zone=x'] }, node: { labels: { zone: 'x' } } }
  ],
  [
    'labels',
    { spec: { constraints: ['zone!=x'] }, node: { labels: { zone: 'x' } } },
    'has the label zone=x',
    { spec: { constraints: ['zone!=x'] } }
  ],
  [
    'labels',
    { spec: { constraints: ['node=b'] } },
    'has no label node=b',
    { spec: { constraints: ['node=a'] } }
  ],
  [
    'labels',
    { spec: { constraints: ['arch=arm64'] } },
    'has no label arch=arm64',
    { spec: { constraints: ['arch == amd64', 'os=linux'] } }
  ],
  [
    'labels',
    { spec: { constraints: ['engine=process'] } },
    'has no label engine=process',
    { spec: { constraints: ['engine=process'] }, facts: engine('process') }
  ],
  ['presence', { silentMs: 40_900 }, 'is silent since 40 s', {}],
  ['engine', { facts: null }, 'has not told its facts yet', {}],
  ['engine', { facts: engine('none') }, 'has no engine', { facts: engine('process') }],
  [
    'engine',
    { facts: engine('docker', 'no permission') },
    'has an engine that does not work (no permission)',
    {}
  ],
  [
    'image',
    { spec: { image: null, images: { arm64: 'i' } } },
    'would need an image for amd64',
    { spec: { image: null, images: { amd64: 'i' } } }
  ],
  [
    'command',
    { spec: { command: [] }, facts: engine('process') },
    'runs processes, which need a command',
    { spec: { command: [] } }
  ],
  [
    'ports',
    { spec: { ports: [port(null), port(80)] }, use: { ports: new Set(['80/tcp']) } },
    'has port 80/tcp in use',
    { spec: { ports: [port(80, 'udp'), port(null)] }, use: { ports: new Set(['80/tcp']) } }
  ],
  [
    'cpus',
    { spec: asks(1.5, null), use: { cpus: 3 } },
    'has fewer than 1.5 cpus free',
    { spec: asks(0.1, null), use: { cpus: 3.9000000000000004 } }
  ],
  [
    'memory',
    { spec: asks(null, 600), use: { memoryBytes: 500 * MIB } },
    'has less than 600 MiB free',
    { spec: asks(null, 524), use: { memoryBytes: 500 * MIB } }
  ]
]

for (const [name, refused, words, admitted] of ROWS) {
  test(`constraints - ${name} refuses a node that ${words}`, (t) => {
    const no = built(refused)
    const constraint = refusing(ALL, no.node, no.microservice, no.context)
    t.is(constraint?.name, name)
    t.is(constraint?.refusal(no.node, no.microservice, no.context).one, words)
    const yes = built(admitted)
    t.is(refusing(ALL, yes.node, yes.microservice, yes.context), null)
  })
}

test('constraints - each has a row here', (t) => {
  const rows = new Set(ROWS.map(([name]) => name))
  t.alike(
    CONSTRAINTS.map((c) => c.name).filter((name) => !rows.has(name)),
    []
  )
})

test('constraints - what is not known, or away at the moment, does not cost a node its place', (t) => {
  const spec = { image: null, constraints: ['arch=arm64', 'engine=docker'], command: [] }
  const unknown = built({ spec, facts: null })
  t.is(refusing(['asked', 'able'], unknown.node, unknown.microservice, unknown.context), null)
  const away = built({ spec: { constraints: ['engine=docker'] }, facts: engine('none') })
  t.is(refusing(['asked', 'able'], away.node, away.microservice, away.context), null)
})

test('explain - counts the nodes by what refuses them', (t) => {
  const wanted = microservice('web', { constraints: ['zone=site-a'] })
  const a = { labels: { zone: 'site-a' } }
  const nodes = [node('x'), node('y'), node('z', a), node('gone', { state: 'removed' })]
  const context: Context = {
    alive: new Set(['x', 'y']),
    silentMs: new Map([['z', 40_000]]),
    facts: new Map(),
    use: () => NOTHING
  }
  const words = '3 nodes: 2 have no label zone=site-a, 1 is silent since 40 s'
  t.is(explain(nodes, wanted, context), words)
  t.is(explain([...nodes].reverse(), wanted, context), words)
})

test('explain - names the node where only one comes into question', (t) => {
  const context = built({}).context
  const nodes = [node('x', { displayName: 'pi-1' }), node('y')]
  t.is(
    explain(nodes, microservice('web', { node: 'pi-1' }), { ...context, alive: new Set() }),
    'pi-1 is silent'
  )
  t.is(explain(nodes, microservice('web', { node: 'pi-9' }), context), 'no member is named pi-9')
})

const ALL = ['asked', 'able', 'ready', 'room'] as const
const NOTHING: NodeUse = { slots: 0, cpus: 0, memoryBytes: 0, ports: new Set() }

function built(row: Case) {
  const context: Context = {
    alive: new Set(row.silentMs === undefined ? ['a'] : []),
    silentMs: new Map(row.silentMs === undefined ? [] : [['a', row.silentMs]]),
    facts: new Map(row.facts === null ? [] : [['a', facts(row.facts)]]),
    use: () => ({ ...NOTHING, ...row.use })
  }
  return { node: node('a', row.node), microservice: microservice('web', row.spec), context }
}
