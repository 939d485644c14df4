import test from 'brittle'
import { parseApplication } from '../../../apps/formats/application.ts'
import { ours, refusedLines } from './refused.ts'

const WHOLE = ours(
  'image: local/node:20',
  'files: ./web',
  'command: [node, server.js]',
  'replicas: 3',
  'ports: ["80"]',
  'env: { GREETING: hello, VERSION: 1.10, DEBUG: true, NOTHING: }',
  'labels: { tier: front, build: 007 }',
  'constraints: ["zone=site-a", "disk != slow"]',
  'restart: on-failure',
  'resources: { cpus: 0.5, memory: 64M }',
  'healthcheck: { test: [CMD, node, check.js], interval: 2s, retries: 5, startPeriod: 1m30s }'
)

test('brume - the whole format becomes a spec', (t) => {
  const { application, microservices, warnings } = parseApplication(WHOLE, '/srv/app.yaml')
  t.is(application, 'hello')
  t.alike(warnings, [])
  t.alike(microservices, [
    {
      name: 'web',
      spec: {
        image: 'local/node:20',
        images: {},
        files: null,
        command: ['node', 'server.js'],
        env: { GREETING: 'hello', VERSION: '1.10', DEBUG: 'true', NOTHING: '' },
        labels: { tier: 'front', build: '007' },
        ports: [{ container: 80, host: null, protocol: 'tcp' }],
        resources: { cpus: 0.5, memoryBytes: 64 * 1024 * 1024 },
        replicas: 3,
        node: null,
        constraints: ['zone=site-a', 'disk!=slow'],
        restart: 'on-failure',
        healthcheck: {
          command: ['node', 'check.js'],
          shell: false,
          intervalMs: 2000,
          timeoutMs: 30_000,
          retries: 5,
          startPeriodMs: 90_000
        }
      },
      filesDir: '/srv/web',
      filesAt: '/srv/app.yaml:8'
    }
  ])
})

test('brume - what is not said has its default, also as a key without a value', (t) => {
  const short = parseApplication(ours('image: x'), 'app.yaml')
  const keys = ['command', 'ports', 'env', 'labels', 'replicas', 'restart', 'resources', 'node']
  const empty = parseApplication(
    ours('image: x', ...[...keys, 'agent', 'files', 'healthcheck', 'images'].map((k) => `${k}:`)),
    'app.yaml'
  )
  t.alike(empty.microservices[0]?.spec, short.microservices[0]?.spec)
  t.alike(short.microservices[0]?.spec, {
    image: 'x',
    images: {},
    files: null,
    command: [],
    env: {},
    labels: {},
    ports: [],
    resources: { cpus: null, memoryBytes: null },
    replicas: 1,
    node: null,
    constraints: [],
    restart: 'always',
    healthcheck: null
  })
  t.is(short.microservices[0]?.filesDir, null)
})

test('brume - replicas, node and images in their other forms', (t) => {
  const spec = (...body: string[]) =>
    parseApplication(ours(...body), 'a.yaml').microservices[0]?.spec
  t.is(spec('image: x', 'replicas: all')?.replicas, 'all')
  t.is(spec('image: x', 'replicas: 2', 'node: pi-1')?.node, 'pi-1')
  t.is(spec('image: x', 'agent: { name: pi-1 }')?.node, 'pi-1')
  t.alike(spec('images: { x86: a, arm: b }')?.images, { amd64: 'a', arm64: 'b', arm: 'b' })
  t.is(spec('image: x', 'restart: no')?.restart, 'no')
  t.is(spec('image: x', 'healthcheck: { test: [NONE] }')?.healthcheck, null)
  t.alike(spec('files: .', 'command: node server.js')?.command, ['node', 'server.js'])
})

test('brume - update and disconnect: what is said is taken, what is not stays open', (t) => {
  const spec = (...body: string[]) =>
    parseApplication(ours('image: x', ...body), 'a.yaml').microservices[0]?.spec
  const { update, disconnect } =
    spec(
      'update: { delay: 2s, order: stopFirst, maxFailureRatio: 0.5 }',
      'disconnect: { replace: never }'
    ) ?? {}
  t.alike(update, { delayMs: 2000, order: 'stopFirst', maxFailureRatio: 0.5 })
  t.alike(disconnect, { replace: 'never' })
  const whole = spec(
    'update: { parallelism: 0, monitor: 1m, failureAction: pause, canary: 2 }',
    'disconnect: { lostAfter: 1m, stopAfter: 1h, reconcile: keepOriginal }'
  )
  t.alike(whole?.update, { parallelism: 0, monitorMs: 60_000, failureAction: 'pause', canary: 2 })
  t.alike(whole?.disconnect, {
    ...{ lostAfterMs: 60_000, stopAfterMs: 3_600_000, reconcile: 'keepOriginal' }
  })
})

test('brume - where to place: labels in all their forms, spread, company', (t) => {
  const spec = (...body: string[]) =>
    parseApplication(ours('image: x', ...body), 'a.yaml').microservices[0]?.spec
  t.alike(
    spec('constraints: ["zone in (a,b)", "zone  not in ( c )", "gpu", "! old", "arch == arm64"]')
      ?.constraints,
    ['zone in (a, b)', 'zone!=c', 'gpu', '!old', 'arch=arm64']
  )
  t.alike(
    spec('spread: rack', 'maxReplicasPerNode: 1', 'near: db', 'apart: [cache, mail]')?.placing,
    {
      ...{ spread: 'rack', maxPerNode: 1, near: ['db'], apart: ['cache', 'mail'] }
    }
  )
  t.is(spec()?.placing, undefined)
})

test('brume - devices: as docker writes them, or as a map', (t) => {
  const read = (...lines: string[]) =>
    parseApplication(ours('image: x', ...lines), 'a.yaml').microservices[0]?.spec.devices
  const device = (host: string, container = host, permissions = 'rwm') => ({
    ...{ host, container, permissions }
  })
  const path = '/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.2:1.0-port0'
  t.alike(read('devices: [/dev/ttyUSB0, "/dev/video0:/dev/cam", "/dev/snd:/dev/snd:wr"]'), [
    device('/dev/ttyUSB0'),
    device('/dev/video0', '/dev/cam'),
    device('/dev/snd', '/dev/snd', 'rw')
  ])
  t.alike(read('devices:', `  - ${path}`, '  - { host: /dev/a, container: /b, permissions: r }'), [
    device(path),
    device('/dev/a', '/b', 'r')
  ])
  t.is(read('devices: []'), undefined)
  const why = (line: string) => refusedLines(ours('image: x', line))[0]
  const at = 'app.yaml:8: spec.microservices[0].devices'
  for (const bad of ['ttyUSB0', '/etc/passwd', '/dev', '/dev/../etc', '/dev/a b', '/dev//a']) {
    t.is(
      why(`devices: ["${bad}"]`),
      `${at}[0]: expected /dev/NAME, HOST:CONTAINER or HOST:CONTAINER:rwm, got "${bad}"`
    )
  }
  t.is(why('devices: [/dev/a, "/dev/b:/dev/a"]'), `${at}[1]: /dev/a is here twice`)
  t.is(
    why('devices: [{ host: /dev/a, permissions: x }]'),
    `${at}[0]: expected permissions such as rw or rwm, got "x"`
  )
  t.is(why('devices: /dev/a'), `${at}: expected a list of devices, got "/dev/a"`)
})

test('brume - pull: as today, or never', (t) => {
  const read = (...lines: string[]) =>
    parseApplication(ours('image: x', ...lines), 'a.yaml').microservices[0]?.spec
  t.is(read('pull: never')?.pull, 'never')
  t.alike(read('pull: missing'), read(), 'which needs no word')
  const why = (line: string) => refusedLines(ours('image: x', line))[0]
  const at = 'app.yaml:8: spec.microservices[0]'
  t.is(why('pull: always'), `${at}.pull: expected missing or never, got "always"`)
  t.is(why('pull: false'), `${at}.pull: expected missing or never, got false`)
  t.is(why('pull_policy: never'), `${at}: unknown key \`pull_policy\`: in brume/v1 it is \`pull\``)
})

test('brume - expose: ports of the nodes, as short as can be', (t) => {
  const read = (...lines: string[]): unknown =>
    parseApplication(ours('image: x', ...lines), 'a.yaml').microservices[0]?.spec.expose
  const plain = { port: 8080, to: 80, protocol: 'tcp', on: 'all' }
  const one = 'ports: [80]'
  t.alike(read(one, 'expose: [8080]'), [plain])
  t.alike(read('expose: ["8080:80"]'), [plain])
  t.alike(read('expose: ["8080:80/http"]'), [{ ...plain, protocol: 'http' }])
  t.alike(read('ports: [80, 53/udp]', 'expose: [{ port: 8080 }]'), [plain])
  t.alike(read('expose: [{ port: 8080, to: 80, on: "zone==a" }]'), [{ ...plain, on: 'zone=a' }])
  t.alike(
    read(one, 'expose: [{ port: 8080, host: Shop.Example, path: /api/, on: "node in (a,b)" }]'),
    [{ ...plain, protocol: 'http', host: 'shop.example', path: '/api', on: 'node in (a, b)' }]
  )
  t.alike(read(one, 'expose: [{ port: 8080, path: / }]'), [{ ...plain, protocol: 'http' }])
  t.alike(read(one, 'expose: [{ port: 8080, tls: { cert: /a.crt, key: /a.key } }]'), [
    { ...plain, tls: { cert: '/a.crt', key: '/a.key' } }
  ])
  for (const none of [[], ['expose: []'], ['expose:']]) t.is(read(...none), undefined)

  const rows: [string[], string][] = [
    [
      ['expose: [8080]'],
      '8: [0]: expected PORT:TO, with a port of the container: there is none in `ports`'
    ],
    [
      ['ports: [80, 81]', 'expose: [8080]'],
      '9: [0]: expected PORT:TO, with a port of the container: there is more than one in `ports`'
    ],
    [
      ['ports: ["8080:80"]', 'expose: [8080]'],
      '9: [0]: port 8080 is in `ports` too: give CONTAINER alone there, it is open on that node as well'
    ],
    [['expose: ["1:1", "2:2", "1:3"]'], '8: [2]: port 1 is here twice'],
    [
      ['expose: [{ port: 1, to: 1, host: a, path: /b }, { port: 1, to: 2, host: A, path: /b/ }]'],
      '8: [1]: port 1 for a/b is here twice'
    ],
    [['expose: ["8080:80/udp"]'], '8: [0]: UDP is not exposed yet: expected tcp or http'],
    [
      ['expose: [{ port: 1, to: 1, protocol: https }]'],
      '8: [0].protocol: expected http, and `tls` with a certificate'
    ],
    [
      ['expose: [{ port: 1, to: 1, protocol: tcp, host: a }]'],
      '8: [0]: `host` and `path` are of http, not of tcp'
    ],
    [['expose: [{ to: 1 }]'], '8: [0].port: expected a port from 1 to 65535, got nothing'],
    [['expose: ["1:99999"]'], '8: [0]: expected a port from 1 to 65535, got "1:99999"'],
    [
      ['expose: [{ port: 1, to: 1, on: "a b" }]'],
      '8: [0].on: expected all, or nodes by a label such as zone=a, got "a b"'
    ],
    [
      ['expose: [{ port: 1, to: 1, on: arch=arm64 }]'],
      '8: [0].on: `on` goes by labels and by `node`, not by arch'
    ],
    [
      ['expose: [{ port: 1, to: 1, host: "a.*.b" }]'],
      '8: [0].host: expected a host such as shop.example or *.shop.example, got "a.*.b"'
    ],
    [
      ['expose: [{ port: 1, to: 1, path: api }]'],
      '8: [0].path: expected a path such as /api, got "api"'
    ],
    [
      ['expose: [{ port: 1, to: 1, tls: { cert: a.crt, key: /k } }]'],
      '8: [0].tls.cert: expected a file of each node that opens the port, from / on, got "a.crt"'
    ],
    [
      ['expose: [{ port: 1, target: 1 }]'],
      '8: [0]: unknown key `target`, expected one of port, to, on, protocol, host, path, tls'
    ],
    [['expose: 8080'], '8: : expected a list of ports, got 8080']
  ]
  for (const [lines, sentence] of rows) {
    const [line = '', at = '', why = ''] = /^(\d+): (.*?): (.*)$/.exec(sentence)?.slice(1) ?? []
    const [said = ''] = refusedLines(ours('image: x', ...lines))
    t.is(said, `app.yaml:${line}: spec.microservices[0].expose${at}: ${why}`)
  }
})

test('brume - allow: an application, or a list of them and of microservices', (t) => {
  const read = (...lines: string[]) =>
    parseApplication(ours('image: x', ...lines), 'a.yaml').microservices[0]?.spec.allow
  t.alike(read('allow: billing'), ['billing'])
  t.alike(read('allow: street/meter'), ['street/meter'])
  t.alike(read('allow: [billing, street/meter, "0"]'), ['billing', 'street/meter', '0'])
  t.alike(read('allow:', '  - a', '  - b/c'), ['a', 'b/c'])
  for (const none of [[], ['allow: []'], ['allow:']]) t.is(read(...none), undefined)
  const why = (line: string) => refusedLines(ours('image: x', line))[0]
  const at = 'app.yaml:8: spec.microservices[0].allow'
  for (const bad of ['Billing', 'a/b/c', '/', 'a/', '/a', '', '*', 'a b', 'a.b', '-a']) {
    t.is(why(`allow: [ok, "${bad}"]`), `${at}[1]: expected APP or APP/MICROSERVICE, got "${bad}"`)
  }
  t.is(why('allow: 5'), `${at}[0]: expected APP or APP/MICROSERVICE, got 5`)
  t.is(why('allow: [[a]]'), `${at}[0]: expected APP or APP/MICROSERVICE, got a list`)
  t.is(why('allow: { a: b }'), `${at}[0]: expected APP or APP/MICROSERVICE, got a map`)
})

test('brume - dependsOn: a name, names, with a condition, and as compose has it', (t) => {
  const on = (...lines: string[]) =>
    parseApplication(chain(...lines), 'a.yaml').microservices[0]?.spec.dependsOn
  t.alike(on('dependsOn: db'), { db: 'started' })
  t.alike(on('dependsOn: [db, cache]'), { db: 'started', cache: 'started' })
  t.alike(on('dependsOn: { db: healthy, cache: }'), { db: 'healthy', cache: 'started' })
  t.alike(
    on(
      'dependsOn:',
      '  db: { condition: service_healthy }',
      '  cache: { condition: service_started }'
    ),
    { db: 'healthy', cache: 'started' }
  )
  t.is(on('dependsOn: []'), undefined)
  t.is(on(), undefined)
})

test('brume - dependsOn: who cannot be waited for is refused where it is written', (t) => {
  const why = (...lines: string[]) => refusedLines(chain(...lines))
  t.alike(why('dependsOn:', '  cache:', '  mail: healthy'), [
    'app.yaml:10: spec.microservices[0].dependsOn: expected another microservice of the application, got mail: it has db, cache'
  ])
  t.alike(why('dependsOn: [cache, web]'), [
    'app.yaml:8: spec.microservices[0].dependsOn: web cannot depend on itself'
  ])
  t.alike(why('dependsOn: { cache: healthy }'), [
    'app.yaml:8: spec.microservices[0].dependsOn: cache has no healthcheck, so it is never known to be healthy: give it one, or depend on `started`'
  ])
  const circle = chain('dependsOn: [cache]').replace('name: cache', 'name: cache, dependsOn: [web]')
  t.alike(refusedLines(circle), [
    'app.yaml:8: spec.microservices[0].dependsOn: none of them could start first: web → cache → web',
    'app.yaml:10: spec.microservices[2].dependsOn: none of them could start first: cache → web → cache'
  ])
  t.alike(why('dependsOn: { db: soon }'), [
    'app.yaml:8: spec.microservices[0].dependsOn.db: expected started or healthy, got "soon"'
  ])
  t.alike(why('dependsOn: { db: { restart: true } }'), [
    'app.yaml:8: spec.microservices[0].dependsOn.db: unknown key `restart`, expected one of condition'
  ])
  t.alike(why('dependsOn: { db: {} }'), [
    'app.yaml:8: spec.microservices[0].dependsOn.db.condition: expected started or healthy, got nothing'
  ])
  t.alike(why('dependsOn: 3'), [
    'app.yaml:8: spec.microservices[0].dependsOn: expected [NAME, …] or { NAME: started or healthy }, got 3'
  ])
  t.alike(why('depends_on: [db]'), [
    'app.yaml:8: spec.microservices[0]: unknown key `depends_on`: in brume/v1 it is `dependsOn`'
  ])
})

/** Three microservices; `lines` are of the first. */
const chain = (...lines: string[]): string =>
  `${ours('image: x', ...lines)}    - { name: db, image: x, healthcheck: { test: x } }\n    - { name: cache, image: x }\n`

test('brume - volumes: as compose writes them, or as a map', (t) => {
  const read = (...lines: string[]) =>
    parseApplication(ours('image: x', ...lines), 'a.yaml').microservices[0]?.spec.volumes
  const volume = (source: string, container: string, readOnly = false) => ({
    source,
    container,
    readOnly
  })
  t.alike(
    read('volumes: ["data:/var/lib/data", "pg_data:/pg:ro", "/etc/x:/x:ro", "data:/b/:rw"]'),
    [
      volume('data', '/var/lib/data'),
      volume('pg_data', '/pg', true),
      volume('/etc/x', '/x', true),
      volume('data', '/b')
    ]
  )
  t.alike(read('volumes:', '  - { source: data, container: /data, readOnly: true }'), [
    volume('data', '/data', true)
  ])
  t.is(read('volumes: []'), undefined)

  const at = 'app.yaml:8: spec.microservices[0].volumes'
  const why = (...lines: string[]) => refusedLines(ours('image: x', ...lines))[0]
  const forms = 'expected NAME:/PATH or /PATH/ON/NODE:/PATH, with :ro behind where it only reads'
  for (const bad of ['/data', 'data', 'data:/a:rx', 'a:/b:ro:z', '']) {
    t.is(why(`volumes: ["${bad}"]`), `${at}[0]: ${forms}, got "${bad}"`)
  }
  for (const bad of ['data', '/', '/a/../b', '.', '']) {
    t.is(
      why(`volumes: ["data:${bad}"]`),
      `${at}[0]: expected an absolute path in the container, got "${bad}"`
    )
  }
  for (const bad of ['Data', '../data', '-a', 'a.b', '']) {
    t.is(
      why(`volumes: ["${bad}:/a"]`),
      `${at}[0]: expected a name of small letters, digits, - and _ (or a path that begins with /), got "${bad}"`
    )
  }
  t.is(why('volumes: ["/a/../b:/a"]'), `${at}[0]: ${forms}, got "/a/../b:/a"`)
  t.is(why('volumes: ["a:/x", "b:/x"]'), `${at}[1]: /x is here twice`)
  t.is(
    why('volumes: ["a-b:/x", "a_b:/y"]'),
    `${at}[1]: a-b and a_b are both BRUME_VOLUME_A_B to a process`
  )
  t.is(
    why('volumes: [{ source: a, path: /x }]'),
    `${at}[0]: unknown key \`path\`, expected one of source, container, readOnly`
  )
  t.is(why('volumes: a'), `${at}: expected a list of volumes, got "a"`)
})

test('brume - what cannot be beside a volume is said where it stands', (t) => {
  const why = (...lines: string[]) => refusedLines(ours('image: x', ...lines))
  const at = 'spec.microservices[0]'
  t.alike(why('volumes: ["data:/data"]', 'update: { order: startFirst }'), [
    `app.yaml:9: ${at}.update.order: stopFirst or auto: two containers of a slot must not write volume data`
  ])
  t.alike(why('volumes: ["data:/data:ro"]', 'update: { order: startFirst }'), [])
  t.alike(why('volumes: ["/a:/data"]', 'update: { order: startFirst }'), [])
  t.alike(why('volumes: ["data:/data:ro"]', 'disconnect: { replace: always }'), [
    `app.yaml:9: ${at}.disconnect.replace: auto or never: a replica stays where its volume data is, until \`brume move\``
  ])
  t.alike(why('files: ./web', 'volumes: ["a:/a", "data:/app"]'), [
    `app.yaml:9: ${at}.volumes[1]: in /app are the \`files\`: take another path`
  ])
})

test('brume - a fixed port for several replicas of one node is a warning', (t) => {
  const text = ours('image: x', 'replicas: 2', 'node: pi-1', 'ports: ["8080:80"]')
  const { warnings } = parseApplication(text, 'app.yaml')
  t.alike(warnings, [
    'app.yaml:10: spec.microservices[0].ports: 2 replicas want port 8080 of the one node pi-1: ' +
      'one of them gets it, give CONTAINER alone for free ports'
  ])
})

test('brume - each problem is a sentence with place, path and what was expected', (t) => {
  const cases: [string[], string][] = [
    [
      ['image: x', 'ports: ["80:"]'],
      '8: spec.microservices[0].ports[0]: expected HOST:CONTAINER, got "80:"'
    ],
    [
      ['image: x', 'update: { order: fast }'],
      '8: spec.microservices[0].update.order: expected auto, startFirst or stopFirst, got "fast"'
    ],
    [
      ['image: x', 'update: { canari: 1 }'],
      '8: spec.microservices[0].update: unknown key `canari`, did you mean `canary`?'
    ],
    [
      ['image: x', 'update: { maxFailureRatio: 2 }'],
      '8: spec.microservices[0].update.maxFailureRatio: expected a number from 0 to 1, got 2'
    ],
    [
      ['image: x', 'disconnect: { lostAfter: 1s }'],
      '8: spec.microservices[0].disconnect.lostAfter: expected a duration from 3s to 8760h, got "1s"'
    ],
    [
      ['image: x', 'replica: 3'],
      '8: spec.microservices[0]: unknown key `replica`, did you mean `replicas`?'
    ],
    [
      ['image: x', 'resources: { mem: 1G }'],
      '8: spec.microservices[0].resources: unknown key `mem`, did you mean `memory`?'
    ],
    [
      ['image: x', 'container: {}'],
      '8: spec.microservices[0]: unknown key `container`: in brume/v1 its keys are beside `image`'
    ],
    [
      ['image: x', 'routes: []'],
      '8: spec.microservices[0]: unknown key `routes`: brume/v1 has no such thing yet'
    ],
    [
      ['image: x', 'constructor: 1'],
      '8: spec.microservices[0]: unknown key `constructor`, expected one of name, image, images, pull, files, command, replicas, node, agent, ports, allow, expose, devices, volumes, env, labels, constraints, restart, resources, healthcheck, dependsOn, update, disconnect, spread, maxReplicasPerNode, near, apart'
    ],
    [
      ['image: [x]'],
      '7: spec.microservices[0].image: expected an image such as local/node:20, got a list'
    ],
    [
      ['image: x', 'replicas: "3"'],
      '8: spec.microservices[0].replicas: expected a whole number from 0 to 1000 or all, got "3"'
    ],
    [['image: x', 'resources: 3'], '8: spec.microservices[0].resources: expected a map, got 3'],
    [['image: x', 'env: { A: [1] }'], '8: spec.microservices[0].env.A: expected text, got a list'],
    [
      ['image: x', 'restart: sometimes'],
      '8: spec.microservices[0].restart: expected always, on-failure or no, got "sometimes"'
    ],
    [
      ['image: x', 'constraints: [zone=]'],
      '8: spec.microservices[0].constraints[0]: expected KEY=VALUE, KEY!=VALUE, KEY in (A, B), KEY not in (A, B), KEY or !KEY, got "zone="'
    ],
    [
      ['image: x', 'labels: { "-a": b }'],
      '8: spec.microservices[0].labels.-a: expected a label such as zone or site/rack, got "-a"'
    ],
    [
      ['image: x', 'node: My Pi'],
      '8: spec.microservices[0].node: expected a name of at most 63 lower-case letters, digits and dashes, got "My Pi": try my-pi'
    ],
    [
      ['image: x', 'node: a', 'agent: { name: b }'],
      '8: spec.microservices[0].node: expected one node, got a and the agent b'
    ],
    [
      ['image: x', 'healthcheck: { interval: 1s }'],
      '8: spec.microservices[0].healthcheck.test: missing'
    ],
    [
      ['image: x', 'files: 3'],
      '8: spec.microservices[0].files: expected a directory, relative to this file, got 3'
    ],
    [
      ['files: ./web'],
      '6: spec.microservices[0]: expected an `image`, or `files` and the `command` that runs them'
    ],
    [
      ['image: x', '- name: web', '  image: y'],
      '8: not valid YAML: A block sequence may not be used as an implicit map key'
    ]
  ]
  for (const [body, sentence] of cases) t.is(refusedLines(ours(...body))[0], `app.yaml:${sentence}`)
  const second = `${ours('image: x')}    - { name: web, image: y }\n`
  t.alike(refusedLines(second), [
    'app.yaml:8: spec.microservices[1].name: microservices[0] is called web too'
  ])
})

test('brume - all problems of a file at once, in its order, at most five', (t) => {
  const lines = refusedLines(
    ours('image: 1', 'replicas: x', 'foo: 1', 'env: 2', 'ports: 3', 'node: 4', 'bar: 2')
  )
  t.is(lines.length, 6)
  t.alike(
    lines.map((line) => line.split(':')[1]),
    ['7', '8', '9', '10', '11', ' and 2 more']
  )
})

test('brume - at its limit each value is taken, over it refused by its own reader', (t) => {
  const x = (length: number): string => 'x'.repeat(length)
  const listOf = (length: number, item: (i: number) => string): string =>
    `[${Array.from({ length }, (_, i) => item(i)).join(', ')}]`
  const mapOf = (length: number): string =>
    `{ ${Array.from({ length }, (_, i) => `k${i}: v`).join(', ')} }`
  const check = (key: string, value: string): string => `healthcheck: { test: x, ${key}: ${value} }`
  const cases: [string, string, string][] = [
    ['image', `image: ${x(512)}`, `image: ${x(513)}`],
    ['cpus', 'resources: { cpus: 1024 }', 'resources: { cpus: 1024.1 }'],
    ['cpus', 'resources: { cpus: 0.01 }', 'resources: { cpus: 0.009 }'],
    ['memory', 'resources: { memory: 1M }', 'resources: { memory: 1023k }'],
    ['memory', 'resources: { memory: 8191T }', 'resources: { memory: 8192T }'],
    ['replicas', 'replicas: 1000', 'replicas: 1001'],
    ['replicas', 'replicas: 0', 'replicas: -1'],
    ['node', `node: ${x(63)}`, `node: ${x(64)}`],
    ['name', `agent: { name: ${x(63)} }`, `agent: { name: ${x(64)} }`],
    [
      'ports',
      `ports: ${listOf(128, (i) => `${i + 1}`)}`,
      `ports: ${listOf(129, (i) => `${i + 1}`)}`
    ],
    [
      'devices',
      `devices: ${listOf(32, (i) => `/dev/a${i}`)}`,
      `devices: ${listOf(33, (i) => `/dev/a${i}`)}`
    ],
    ['devices', `devices: [/dev/${x(155)}]`, `devices: [/dev/${x(156)}]`],
    ['devices', `devices: ["/dev/a:/${x(159)}"]`, `devices: ["/dev/a:/${x(160)}"]`],
    [
      'volumes',
      `volumes: ${listOf(16, (i) => `"a:/${i}"`)}`,
      `volumes: ${listOf(17, (i) => `"a:/${i}"`)}`
    ],
    ['volumes', `volumes: ["${x(63)}:/a"]`, `volumes: ["${x(64)}:/a"]`],
    ['volumes', `volumes: ["/${x(159)}:/a"]`, `volumes: ["/${x(160)}:/a"]`],
    ['volumes', `volumes: ["a:/${x(159)}"]`, `volumes: ["a:/${x(160)}"]`],
    ['allow', `allow: ${listOf(64, (i) => `a${i}`)}`, `allow: ${listOf(65, (i) => `a${i}`)}`],
    ['allow', `allow: [${x(63)}/${x(63)}]`, `allow: [${x(63)}/${x(64)}]`],
    ['ports', 'ports: [1, 65535]', 'ports: [65536]'],
    [
      'expose',
      `expose: ${listOf(32, (i) => `"${i + 1}:1"`)}`,
      `expose: ${listOf(33, (i) => `"${i + 1}:1"`)}`
    ],
    [
      'on',
      `expose: [{ port: 1, to: 1, on: a=${x(254)} }]`,
      `expose: [{ port: 1, to: 1, on: a=${x(255)} }]`
    ],
    [
      'host',
      `expose: [{ port: 1, to: 1, host: a.${x(63)} }]`,
      `expose: [{ port: 1, to: 1, host: a.${x(64)} }]`
    ],
    [
      'path',
      `expose: [{ port: 1, to: 1, path: /${x(255)} }]`,
      `expose: [{ port: 1, to: 1, path: /${x(256)} }]`
    ],
    [
      'cert',
      `expose: [{ port: 1, to: 1, tls: { cert: /${x(1023)}, key: /k } }]`,
      `expose: [{ port: 1, to: 1, tls: { cert: /${x(1024)}, key: /k } }]`
    ],
    ['command', `command: ${listOf(256, () => 'w')}`, `command: ${listOf(257, () => 'w')}`],
    ['command', `command: [${x(4096)}]`, `command: [${x(4097)}]`],
    ['env', `env: ${mapOf(512)}`, `env: ${mapOf(513)}`],
    ['env', `env: { ${x(256)}: v }`, `env: { ${x(257)}: v }`],
    ['env', `env: { A: ${x(32_768)} }`, `env: { A: ${x(32_769)} }`],
    ['env', 'env: { " ": v }', 'env: { "": v }'],
    ['labels', `labels: ${mapOf(64)}`, `labels: ${mapOf(65)}`],
    ['labels', `labels: { ${x(128)}: v }`, `labels: { ${x(129)}: v }`],
    ['labels', `labels: { a: ${x(256)} }`, `labels: { a: ${x(257)} }`],
    [
      'constraints',
      `constraints: ${listOf(32, () => 'a=b')}`,
      `constraints: ${listOf(33, () => 'a=b')}`
    ],
    ['constraints', `constraints: [a=${x(254)}]`, `constraints: [a=${x(255)}]`],
    ['interval', check('interval', '100ms'), check('interval', '99ms')],
    ['interval', check('interval', '24h'), check('interval', '24h1ms')],
    ['timeout', check('timeout', '1h'), check('timeout', '1h1ms')],
    ['retries', check('retries', '1'), check('retries', '0')],
    ['retries', check('retries', '1000'), check('retries', '1001')],
    ['startPeriod', check('startPeriod', '24h'), check('startPeriod', '24h1ms')],
    ['test', `healthcheck: { test: ${x(4096)} }`, `healthcheck: { test: ${x(4097)} }`],
    [
      'test',
      `healthcheck: { test: [CMD, ${listOf(64, () => 'w').slice(1)} }`,
      `healthcheck: { test: [CMD, ${listOf(65, () => 'w').slice(1)} }`
    ]
  ]
  for (const [key, good, bad] of cases) {
    const image = good.startsWith('image') ? [] : ['image: x']
    t.alike(refusedLines(ours(...image, good)), [], good.slice(0, 60))
    const [line = 'taken'] = refusedLines(ours(...image, bad))
    t.ok(line.includes(key) && line.includes('expected') !== line.includes('no machine'), line)
  }
})
