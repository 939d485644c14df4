import test from 'brittle'
import fc from 'fast-check'
import type { Exposure } from '../../../core/state/exposures.ts'
import {
  exposed,
  hostOf,
  pathOf,
  ruleFor,
  ruleKey,
  told,
  type Exposed,
  type ExposedWorld,
  type Rule
} from '../../../roles/connector/exposed.ts'
import { microservice, node, placement } from '../../sim/worlds.ts'

const exposure = (over: Partial<Exposure> = {}): Exposure => ({
  port: 8080,
  to: 80,
  protocol: 'tcp',
  on: 'all',
  ...over
})

/** Each microservice of application `app`, by name. */
function worldOf(of: Record<string, Exposure[]>, over: Partial<ExposedWorld> = {}): ExposedWorld {
  const entries = Object.entries(of).map(
    ([name, expose]) => [`app/${name}`, microservice(name, { expose })] as const
  )
  const nodes = new Map([
    ['n', node('n', { labels: { zone: 'a' } })],
    ['viewer', node('viewer', { role: 'viewer' })],
    ['gone', node('gone', { state: 'removed' })]
  ])
  return { nodes, microservices: new Map(entries), placements: new Map(), ...over }
}

const open = ({ open }: Exposed): string[] =>
  open.flatMap(({ port, rules }) =>
    rules.map((rule) => `${port}${rule.host ?? ''}${rule.path ?? ''} ${rule.microservice}`)
  )

test('exposed - a port is open on all nodes or on those of a label, never on who is no member or a viewer', (t) => {
  const rows: [string, string[]][] = [
    ['all', ['n']],
    ['zone=a', ['n']],
    ['zone!=a', []],
    ['zone in (b, a)', ['n']],
    ['zone', ['n']],
    ['!gpu', ['n']],
    ['gpu', []],
    ['node=n', ['n']],
    ['node=other', []]
  ]
  for (const [on, nodes] of rows) {
    const world = worldOf({ web: [exposure({ on })] })
    const opening = ['n', 'viewer', 'gone', 'stranger'].filter(
      (self) => exposed(world, self).open.length > 0
    )
    t.alike(opening, nodes, on)
  }
})

test('exposed - http ports are shared by host and path; what cannot be is the first one’s by name, and said', (t) => {
  const http = (over: Partial<Exposure> = {}): Exposure => exposure({ protocol: 'http', ...over })
  const tls = { cert: '/a.crt', key: '/a.key' }
  const rows: [Exposure, Exposure, string[], string | null][] = [
    [
      exposure(),
      exposure(),
      ['8080 a'],
      'port 8080 is exposed for app/a, and only http ports are shared'
    ],
    [
      http(),
      exposure(),
      ['8080 a'],
      'port 8080 is exposed for app/a, and only http ports are shared'
    ],
    [exposure(), exposure({ port: 80 }), ['80 b', '8080 a'], null],
    [http(), http({ path: '/b' }), ['8080 a', '8080/b b'], null],
    [http({ host: 'a.x' }), http({ host: 'b.x' }), ['8080a.x a', '8080b.x b'], null],
    [
      http({ host: 'a.x', path: '/b' }),
      http({ host: 'a.x', path: '/b' }),
      ['8080a.x/b a'],
      'port 8080 is exposed for app/a, with a.x/b too'
    ],
    [http(), http({ host: 'b.x', tls }), ['8080 a'], 'port 8080 is exposed without TLS for app/a']
  ]
  for (const [a, b, opened, problem] of rows) {
    const found = exposed(worldOf({ b: [b], a: [a] }), 'n')
    t.alike(open(found), opened)
    t.alike(
      found.faults.map((fault) => `${ruleKey(fault.rule)}: ${fault.problem}`),
      problem === null ? [] : [`app/b: ${problem}`]
    )
    t.is(found.faults[0]?.rival ?? null, problem === null ? null : 'app/a')
  }
})

test('exposed - a port that a replica of this node publishes is left to it', (t) => {
  const at = (host: number | null, protocol: 'tcp' | 'udp' = 'tcp') => ({
    ports: [{ container: 80, host, protocol }]
  })
  const world = (spec: object, on: string): ExposedWorld => {
    const { microservices, ...rest } = worldOf({ web: [exposure()] })
    return {
      ...rest,
      microservices: new Map([...microservices, ['app/db', microservice('db', spec)]]),
      placements: new Map([['app/db/0', placement('db', 0, on)]])
    }
  }
  const problem = 'port 8080 is published by app/db on this node'
  t.is(exposed(world(at(8080), 'n'), 'n').faults[0]?.problem, problem)
  t.alike(exposed(world(at(8080), 'n'), 'n').open, [])
  for (const other of [world(at(8080), 'm'), world(at(null), 'n'), world(at(8080, 'udp'), 'n')]) {
    t.alike(open(exposed(other, 'n')), ['8080 web'])
  }
})

test('exposed - what is told has every port that should be open, with what is wrong', (t) => {
  const from = exposed(worldOf({ a: [exposure(), exposure({ port: 1 })], b: [exposure()] }), 'n')
  const [first] = from.open
  const rule = first?.rules[0] as Rule
  const fault = { port: 1, rule, open: false, problem: 'only root', rival: null }
  t.alike(
    told({ from, faults: [fault] }).map(({ port, rule, open, problem }) => [
      port,
      rule.microservice,
      open,
      problem?.slice(0, 9) ?? null
    ]),
    [
      [1, 'a', false, 'only root'],
      [8080, 'a', true, null],
      [8080, 'b', false, 'port 8080']
    ]
  )
})

test('exposed - the host says more than the path, a name more than a wildcard, the longest path wins', (t) => {
  const rule = (host: string | null, path: string | null): Rule => ({
    application: 'app',
    microservice: `${host ?? ''}${path ?? ''}`,
    to: 80,
    host,
    path,
    tls: null
  })
  const rules = [
    rule(null, null),
    rule(null, '/api/v2'),
    rule('*.x.y', '/api'),
    rule('*.x.y', null),
    rule('a.x.y', '/api'),
    rule('b.x.y', '/only')
  ]
  const rows: [string, string, string][] = [
    ['other', '/', ''],
    ['other', '/api/v2', '/api/v2'],
    ['other', '/api/v2/x', '/api/v2'],
    ['other', '/api/v22', ''],
    ['a.x.y', '/api/v2', 'a.x.y/api'],
    ['a.x.y', '/', '*.x.y'],
    ['c.x.y', '/api/', '*.x.y/api'],
    ['b.x.y', '/api', '*.x.y/api'],
    ['x.y', '/', ''],
    ['d.c.x.y', '/', ''],
    ['a.x.y.z', '/', '']
  ]
  for (const [host, path, name] of rows) {
    for (const given of [rules, [...rules].reverse()]) {
      t.is(ruleFor(given, host, path)?.microservice, name, `${host}${path}`)
    }
  }
  t.is(ruleFor([rule('a', null)], 'b', '/'), null)
})

test('exposed - hosts and paths are compared as who serves them may read them', (t) => {
  for (const host of ['Shop.Example', 'shop.example:8080', 'shop.example.', 'SHOP.example.:1']) {
    t.is(hostOf(host), 'shop.example')
  }
  t.is(hostOf('[::1]:80'), '[::1]')
  for (const [url, path] of [
    ['/api?x=/../', '/api'],
    ['/api/../admin', '/admin'],
    ['/api/%2e%2E/admin', '/admin'],
    ['/api/..%2fadmin', '/admin'],
    ['/api/..%5Cadmin', '/admin'],
    ['/api\\..\\admin', '/admin'],
    ['/../../etc', '/etc'],
    ['/%zz', '/%zz'],
    ['//api', '//api'],
    ['http://other/api', null],
    ['*', null],
    ['', null]
  ] as const) {
    t.is(pathOf(url), path, url)
  }
})

const some = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  expose: fc.array(
    fc.record({
      port: fc.constantFrom(80, 443),
      to: fc.constantFrom(1, 2),
      protocol: fc.constantFrom('tcp' as const, 'http' as const, 'http' as const),
      on: fc.constantFrom('all', 'zone=a', 'zone=b'),
      host: fc.option(fc.constantFrom('x', '*.x', 'y.x'), { nil: undefined }),
      path: fc.option(fc.constantFrom('/a', '/a/b'), { nil: undefined }),
      tls: fc.option(fc.constant({ cert: '/c', key: '/k' }), { nil: undefined, freq: 1 })
    }),
    { maxLength: 4 }
  )
})

test('exposed - the same whatever the order, one owner of each port, host and path, nothing forgotten', (t) => {
  fc.assert(
    fc.property(fc.array(some, { maxLength: 4 }), fc.boolean(), (all, isPublished) => {
      const of = Object.fromEntries(all.map(({ name, expose }) => [name, expose]))
      const places = isPublished ? [['app/p/0', placement('p', 0, 'n')] as const] : []
      const ports = [{ container: 80, host: 443, protocol: 'tcp' as const }]
      const make = (entries: [string, Exposure[]][]): ExposedWorld => {
        const world = worldOf(Object.fromEntries(entries), { placements: new Map(places) })
        const publisher = ['app/p', microservice('p', { ports })] as const
        return { ...world, microservices: new Map([...world.microservices, publisher]) }
      }
      const found = exposed(make(Object.entries(of)), 'n')
      t.alike(exposed(make(Object.entries(of).reverse()), 'n'), found)
      const owned = found.open.flatMap(({ port, rules }) =>
        rules.map(({ host, path }) => `${port} ${host} ${path}`)
      )
      t.is(new Set(owned).size, owned.length)
      for (const { port, protocol, tls, rules } of found.open) {
        t.ok(rules.length === 1 || (protocol === 'http' && rules.length > 0))
        t.ok(rules.every((rule) => (rule.tls !== null) === tls))
        t.absent(isPublished && port === 443)
      }
      const here = Object.values(of)
        .flat()
        .filter(({ on }) => on !== 'zone=b')
      t.is(owned.length + found.faults.length, here.length)
      t.ok(found.faults.every(({ rival, port }) => rival !== null || (isPublished && port === 443)))
    })
  )
})
