import test from 'brittle'
import type { FactsBody } from '../../../core/gossip-records.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { MicroserviceRecord, NodeRecord } from '../../../core/state/state.ts'
import {
  CONSTRAINTS,
  explain,
  refusing,
  KEEPS,
  type Spot
} from '../../../roles/controller/constraints.ts'
import { halves } from '../../../roles/controller/explain.ts'
import { Holders } from '../../../roles/controller/holders.ts'
import { facts, FILES, microservice, MIB, node, stateOf, world } from '../../sim/worlds.ts'

interface Case {
  node?: Partial<NodeRecord>
  spec?: Partial<MicroserviceSpec>
  facts?: Partial<FactsBody> | null
  use?: Partial<Spot['use']>
  silentMs?: number
  exposed?: string[]
  /** Bundles that nodes a and b have; b is silent. */
  holds?: { a?: string[]; b?: string[] }
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

const usb = {
  devices: [{ host: '/dev/ttyUSB0', container: '/dev/ttyUSB0', permissions: 'rwm' }]
}

const local = { image: 'local/app:1', pull: 'never' as const }

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
  [
    'labels',
    { spec: { constraints: ['zone in (x, y)'] }, node: { labels: { zone: 'z' } } },
    'has no label zone in (x, y)',
    { spec: { constraints: ['zone in (x, y)'] }, node: { labels: { zone: 'y' } } }
  ],
  [
    'labels',
    { spec: { constraints: ['zone not in (x, y)'] }, node: { labels: { zone: 'y' } } },
    'has the label zone in (x, y)',
    { spec: { constraints: ['zone not in (x, y)'] } }
  ],
  [
    'labels',
    { spec: { constraints: ['gpu'] } },
    'has no label gpu',
    { spec: { constraints: ['gpu'] }, node: { labels: { gpu: 'old' } } }
  ],
  [
    'labels',
    { spec: { constraints: ['!gpu'] }, node: { labels: { gpu: 'old' } } },
    'has the label gpu',
    { spec: { constraints: ['!gpu'] } }
  ],
  [
    'maxReplicasPerNode',
    { spec: { placing: { maxPerNode: 2 } }, use: { replicas: new Map([['app/web', 2]]) } },
    'has 2 of it already (maxReplicasPerNode)',
    { spec: { placing: { maxPerNode: 2 } }, use: { replicas: new Map([['app/web', 1]]) } }
  ],
  ['presence', { silentMs: 40_900 }, 'is silent since 40 s', {}],
  [
    'open',
    { node: { availability: { mode: 'cordoned', reason: 'disk', deadlineMs: null } } },
    'is cordoned (disk)',
    { node: { availability: { mode: 'active', reason: '', deadlineMs: null } } }
  ],
  [
    'open',
    { node: { availability: { mode: 'draining', reason: '', deadlineMs: null } } },
    'is drained',
    {}
  ],
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
    'device',
    { spec: usb, facts: { devices: { '/dev/ttyUSB0': false } } },
    'lacks device /dev/ttyUSB0',
    { spec: usb, facts: { devices: { '/dev/ttyUSB0': true } } }
  ],
  [
    'sight',
    { spec: usb, facts: { devices: { '/dev/video0': true } } },
    'has not looked for device /dev/ttyUSB0 yet (nodes do once what is deployed asks for it)',
    { facts: { devices: { '/dev/ttyUSB0': false } } }
  ],
  [
    'present',
    { spec: local, facts: { images: { 'local/app:1': false } } },
    'does not have image local/app:1 (pull: never)',
    { spec: local, facts: { images: { 'local/app:1': true } } }
  ],
  [
    'present',
    {
      spec: { ...local, images: { arm64: 'local/arm:1' } },
      facts: { arch: 'arm64', images: { 'local/app:1': true, 'local/arm:1': false } }
    },
    'does not have image local/arm:1 (pull: never)',
    { spec: { image: 'local/app:1', pull: 'missing' }, facts: { images: { 'local/app:1': false } } }
  ],
  [
    'sight',
    { spec: local, facts: { images: { 'local/app:2': true } } },
    'has not looked for image local/app:1 yet (nodes do once what is deployed asks for it)',
    { spec: local, facts: { ...engine('process') } }
  ],
  [
    'sight',
    {
      spec: { image: 'constructor', pull: 'never' },
      facts: { images: Object.fromEntries(Array.from({ length: 128 }, (_, i) => [`i:${i}`, true])) }
    },
    'looks for 128 images and no more, image constructor not among them',
    { spec: local, facts: { images: { 'local/app:1': true } } }
  ],
  [
    'files',
    { spec: { files: FILES } },
    'cannot get its files: no node in reach has them',
    { spec: { files: FILES }, holds: { a: [FILES.digest] } }
  ],
  [
    'files',
    { spec: { files: FILES }, holds: { a: ['0'.repeat(64)], b: [FILES.digest] } },
    'cannot get its files: they are on b, silent since 30 s',
    { spec: { files: null } }
  ],
  [
    'ports',
    { spec: { ports: [port(null), port(80)] }, use: { ports: new Map([['80/tcp', 1]]) } },
    'has port 80/tcp in use',
    { spec: { ports: [port(80, 'udp'), port(null)] }, use: { ports: new Map([['80/tcp', 1]]) } }
  ],
  [
    'ports',
    { spec: { ports: [port(81), port(80)] }, exposed: ['80/tcp', '82/tcp'] },
    'has port 80/tcp open for what is exposed',
    { spec: { ports: [port(80, 'udp'), port(null)] }, exposed: ['80/tcp'] }
  ],
  [
    'cpus',
    { spec: asks(1.5, null), use: { milliCpus: 3000 } },
    'has 1 cpus free of 1.5',
    { spec: asks(0.1, null), use: { milliCpus: 3900 } }
  ],
  [
    'memory',
    { spec: asks(null, 600), use: { memoryBytes: 500 * MIB } },
    'has 524 MiB free of 600 MiB',
    { spec: asks(null, 524), use: { memoryBytes: 500 * MIB } }
  ]
]

for (const [name, refused, words, admitted] of ROWS) {
  test(`constraints - ${name} refuses a node that ${words}`, (t) => {
    const no = built(refused)
    const constraint = refusing(CONSTRAINTS, no.spot, no.microservice)
    t.is(constraint?.name, name)
    t.is(constraint?.refusal(no.spot, no.microservice).one, words)
    const yes = built(admitted)
    t.is(refusing(CONSTRAINTS, yes.spot, yes.microservice), null)
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
  t.is(refusing(KEEPS, unknown.spot, unknown.microservice), null)
  const unseen = built({ spec: usb })
  t.is(refusing(KEEPS, unseen.spot, unseen.microservice), null)
  const gone = built({
    spec: { ...local, files: FILES },
    facts: { images: { 'local/app:1': false } }
  })
  t.is(refusing(KEEPS, gone.spot, gone.microservice), null, 'what runs has both')
  const away = built({ spec: { constraints: ['engine=docker'] }, facts: engine('none') })
  t.is(refusing(KEEPS, away.spot, away.microservice), null)
})

test('explain - counts the nodes by what refuses them', (t) => {
  const wanted = microservice('web', { constraints: ['zone=site-a'] })
  const a = { labels: { zone: 'site-a' } }
  const spots = [
    spotOf(node('x')),
    spotOf(node('y')),
    spotOf(node('z', a), { isAlive: false, silentMs: 40_000 }),
    spotOf(node('gone', { state: 'removed' }))
  ]
  const words = '3 nodes: 2 have no label zone=site-a, 1 is silent since 40 s'
  t.is(explain(spots, wanted), words)
  t.is(explain([...spots].reverse(), wanted), words)
})

test('explain - counts the nodes that lack a device', (t) => {
  const has = (there: boolean) => ({ facts: facts({ devices: { '/dev/ttyUSB0': there } }) })
  const spots = [
    ...['p', 'q'].map((id) => spotOf(node(id), has(false))),
    spotOf(node('r'), { ...has(true), use: { ...NO_USE, memoryBytes: 1000 * MIB } }),
    ...['s', 't'].map((id) => spotOf(node(id), { ...has(true), isAlive: false, silentMs: 9_000 }))
  ]
  t.is(
    explain(spots, microservice('web', { ...usb, ...asks(null, 256) })),
    '5 nodes: 2 are silent since 9 s, 2 lack device /dev/ttyUSB0, 1 has 24 MiB free of 256 MiB'
  )
})

test('explain - nodes with too little are counted together, however much each has', (t) => {
  const spots = [900, 1000].map((used, i) =>
    spotOf(node(`n${i}`), { use: { ...NO_USE, memoryBytes: used * MIB } })
  )
  t.is(
    explain(spots, microservice('web', asks(null, 256))),
    '2 nodes: 2 have less than 256 MiB free'
  )
})

test('explain - split into halves, both sides run it: what `plan` warns of', (t) => {
  const four = ['a', 'b', 'c', 'd'].map((id) => node(id))
  const of = (over = {}, nodes = four) =>
    halves(world({ nodes, microservices: [microservice('web', over)] }), 'app/web')
  t.is(of(), 4)
  t.is(of({}, four.slice(1)), null, 'of three one side has more')
  t.is(of({}, [...four.slice(1), node('e', { role: 'viewer' })]), null, 'a viewer does not count')
  t.is(of({ disconnect: { replace: 'never' } }), null)
  t.is(of({ replicas: 'all' }), null)
  t.is(of({ node: 'a' }), null)
  t.is(of({ stopped: true }), null)
})

test('explain - names the node where only one comes into question', (t) => {
  const spots = [spotOf(node('x', { displayName: 'pi-1' }), { isAlive: false }), spotOf(node('y'))]
  t.is(explain(spots, microservice('web', { node: 'pi-1' })), 'pi-1 is silent')
  t.is(explain(spots, microservice('web', { node: 'pi-9' })), 'no member is named pi-9')
})

test('explain - who has what all lack is named, some of many', (t) => {
  const ids = ['p', 'q', 'r', 's', 't']
  const holders = holding(Object.fromEntries(ids.map((id) => [id, [FILES.digest]])), ids)
  const spots = ['a', 'b'].map((id) => spotOf(node(id), { holders }))
  t.is(
    explain(spots, microservice('web', { files: FILES })),
    '2 nodes: 2 cannot get its files: they are on p, silent since 30 s, and q, silent since 30 s, and r, silent since 30 s, and 2 more'
  )
})

test('holders - who tells of as many bundles as one can tell of may have others too', (t) => {
  const many = Array.from({ length: 3_000 }, (_, i) => String(i).padStart(64, '0'))
  t.ok(holding({ a: many }).areInReach(FILES.digest))
  t.absent(holding({ a: many.slice(1) }).areInReach(FILES.digest))
})

/** Of alive nodes but for those that are named. */
function holding(holds: Record<string, string[]>, silent: string[] = []): Holders {
  const ids = Object.keys(holds)
  return new Holders({
    state: stateOf({ nodes: ids.map((id) => node(id)) }),
    alive: new Set(ids.filter((id) => !silent.includes(id))),
    silentMs: new Map(silent.map((id) => [id, 30_400])),
    holds: new Map(ids.map((id) => [id, { digests: holds[id] ?? [] }]))
  })
}

const NO_USE: Spot['use'] = {
  ...{ slots: 0, milliCpus: 0, memoryBytes: 0 },
  ...{ ports: new Map(), replicas: new Map() }
}

function spotOf(node: NodeRecord, over: Partial<Spot> = {}): Spot {
  const seen = { facts: facts(), isAlive: true, silentMs: null, exposed: new Set<string>() }
  return { node, ...seen, holders: holding({}), use: NO_USE, ...over }
}

function built(row: Case): { spot: Spot; microservice: MicroserviceRecord } {
  const spot = spotOf(node('a', row.node), {
    isAlive: row.silentMs === undefined,
    silentMs: row.silentMs ?? null,
    facts: row.facts === null ? null : facts(row.facts),
    exposed: new Set(row.exposed),
    holders: holding({ ...row.holds }, ['b'])
  })
  spot.use = { ...spot.use, ...row.use }
  return { spot, microservice: microservice('web', row.spec) }
}
