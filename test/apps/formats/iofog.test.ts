import test from 'brittle'
import { parseApplication } from '../../../apps/formats/application.ts'
import { refusedLines } from './refused.ts'

function iofog(body: string[], rest: string[] = [], name = 'health'): string {
  return [
    'apiVersion: iofog.org/v3',
    'kind: Application',
    `metadata: { name: ${name} }`,
    'spec:',
    '  microservices:',
    '    - name: web',
    ...body.map((line) => `      ${line}`),
    ...rest.map((line) => `  ${line}`),
    ''
  ].join('\n')
}

const only = (text: string) => {
  const { microservices } = parseApplication(text, 'app.yaml')
  return microservices[0]?.spec
}

const IMAGES = 'images: { x86: "heart:x86", arm: "heart:arm", registry: remote, catalogId: 0 }'

test('iofog - a container of theirs becomes a spec of ours', (t) => {
  const text = iofog([
    'agent: { name: pi-1 }',
    IMAGES,
    'container:',
    '  rootHostAccess: false',
    '  ports: [{ external: 5000, internal: 80 }, { external: 53, internal: 53, protocol: udp }]',
    '  env: [{ key: TEST, value: 42 }, { key: EMPTY, value: }]',
    '  commands: [dbhost, "localhost:27017"]',
    '  volumes: []',
    'config: {}'
  ])
  const { application, microservices, warnings } = parseApplication(text, 'app.yaml')
  t.is(application, 'health')
  t.alike(warnings, [])
  t.alike(microservices[0]?.spec, {
    image: null,
    images: { amd64: 'heart:x86', arm64: 'heart:arm', arm: 'heart:arm' },
    files: null,
    command: ['dbhost', 'localhost:27017'],
    env: { TEST: '42', EMPTY: '' },
    labels: {},
    ports: [
      { container: 80, host: 5000, protocol: 'tcp' },
      { container: 53, host: 53, protocol: 'udp' }
    ],
    resources: { cpus: null, memoryBytes: null },
    replicas: 1,
    node: 'pi-1',
    constraints: [],
    restart: 'always',
    healthcheck: null
  })
})

test('iofog - one image for all, or for x86 alone, is the image', (t) => {
  t.is(only(iofog(['images: { x86: a, arm: a }']))?.image, 'a')
  t.is(only(iofog(['images: { x86: a }']))?.image, 'a')
  t.is(only(iofog(['images: { x86: a, arm: "" }']))?.image, 'a')
  t.is(only(iofog(['images: { arm: a }']))?.image, 'a')
  t.is(only(iofog([IMAGES]))?.image, null)
})

test('iofog - version 1 has the keys of the container in the microservice', (t) => {
  const flat = iofog([
    IMAGES,
    'ports: [{ external: 5000, internal: 80, publicMode: false }]',
    'env: [{ key: A, value: b }]',
    'commands: [x]',
    'rootHostAccess: true'
  ]).replace('v3', 'v1')
  t.is(only(flat)?.ports[0]?.host, 5000)
  t.alike(only(flat)?.env, { A: 'b' })
  t.alike(only(flat)?.command, ['x'])
  t.alike(parseApplication(flat, 'app.yaml').warnings, [
    'app.yaml:11: spec.microservices[0].rootHostAccess: is not done yet: ignored'
  ])
  t.alike(refusedLines(iofog([IMAGES, 'env: [A=1]', 'container: { env: [B=1] }'])), [
    'app.yaml:8: spec.microservices[0].env: given here and in container.env'
  ])
})

test('iofog - volumes are binds, or named where their type says so', (t) => {
  const of = (...volumes: string[]) => `container: { volumes: [${volumes.join(', ')}] }`
  const volumes = (line: string) => only(iofog([IMAGES, line]))?.volumes
  const bind = '{ hostDestination: /srv/a, containerDestination: /a, accessMode: ro }'
  const named = '{ hostDestination: db_data, containerDestination: /var/db, type: volume }'
  const both = [
    { source: '/srv/a', container: '/a', readOnly: true },
    { source: 'db_data', container: '/var/db', readOnly: false }
  ]
  t.alike(volumes(of(bind, named)), both)
  t.alike(volumes(`volumes: [${bind}, ${named}]`), both)
  const twin = `    - { name: db, images: { x86: a }, ${of(named)} }\n`
  t.alike(parseApplication(iofog([IMAGES, of(bind, named)]) + twin, 'app.yaml').warnings, [
    'app.yaml:9: spec.microservices[1]: its volume db_data is its own here: web has another of that name'
  ])
  const why = (volume: string) => refusedLines(iofog([IMAGES, of(volume)]))[0]
  const at = 'app.yaml:8: spec.microservices[0].container.volumes[0]'
  t.is(
    why('{ hostDestination: data, containerDestination: /a }'),
    `${at}.hostDestination: expected an absolute path of the node, got "data"`
  )
  t.is(
    why('{ hostDestination: /data, containerDestination: /a, type: volume }'),
    `${at}.hostDestination: expected the name of a volume, got "/data"`
  )
  t.is(
    why('{ hostDestination: /a, containerDestination: /a, accessMode: x }'),
    `${at}.accessMode: expected rw or ro, got "x"`
  )
  t.is(
    why('{ hostDestination: "/a/$X", containerDestination: /a }'),
    `${at}.hostDestination: write what the shell variable in "/a/$X" stands for`
  )
})

test('iofog - a volume may ask for labels of SELinux, and is told that it gets none', (t) => {
  const mapped = (mode: string) =>
    iofog([
      IMAGES,
      `volumes: [{ hostDestination: /a, containerDestination: /b, accessMode: "${mode}" }]`
    ])
  const at = 'app.yaml:8: spec.microservices[0].volumes[0].accessMode'
  for (const [mode, readOnly] of [
    ['z', false],
    ['Z', false],
    ['rw,z', false],
    ['ro,Z', true]
  ] as const) {
    t.is(only(mapped(mode))?.volumes?.[0]?.readOnly, readOnly, mode)
    t.alike(parseApplication(mapped(mode), 'app.yaml').warnings, [
      `${at}: labels of SELinux are not set: z is ignored`
    ])
  }
  for (const mode of ['ro,rw', '', 'z,x']) {
    t.is(refusedLines(mapped(mode))[0], `${at}: expected rw or ro, got "${mode}"`)
  }
})

test('iofog - what it knows and we do not do is a warning with key and line', (t) => {
  const text = iofog(
    [
      'images: { x86: a, registry: local }',
      'config: { a: 1 }',
      'schedule: 10',
      'agent: { name: pi-1, config: { cpuLimit: 80 } }',
      'container:',
      '  rootHostAccess: true',
      '  volumes: [{ hostDestination: a, containerDestination: /b, type: volumeMount }]',
      '  extraHosts: [{ name: a, address: 1.2.3.4 }]',
      '  runtime: kata',
      '  capAdd: [NET_ADMIN]',
      '  ports: [{ external: 1, internal: 2, public: { schemes: [http], protocol: http } }]',
      '  env: [{ key: S, valueFromSecret: a/b }, { key: U, value: "{{ self.name }}" }]'
    ],
    ['routes: [{ name: r, from: web, to: web }]', 'isActivated: false']
  )
  const { warnings, microservices } = parseApplication(text, 'app.yaml')
  const path = 'spec.microservices[0]'
  t.alike(warnings, [
    `app.yaml:7: ${path}.images.registry: is not done yet: ignored`,
    `app.yaml:8: ${path}.config: is not done yet: ignored`,
    `app.yaml:9: ${path}.schedule: is not done yet: ignored`,
    `app.yaml:10: ${path}.agent.config: is not done yet: ignored`,
    `app.yaml:12: ${path}.container.rootHostAccess: is not done yet: ignored`,
    `app.yaml:13: ${path}.container.volumes[0].type: is not done yet: ignored`,
    `app.yaml:14: ${path}.container.extraHosts: is not done yet: ignored`,
    `app.yaml:15: ${path}.container.runtime: is not done yet: ignored`,
    `app.yaml:16: ${path}.container.capAdd: is not done yet: ignored`,
    `app.yaml:17: ${path}.container.ports[0].public: port 6328 of every node is opened for it`,
    `app.yaml:18: ${path}.container.env[0].valueFromSecret: is not done yet: ignored`,
    `app.yaml:18: ${path}.container.env[1]: template expressions are not done yet: kept as text`,
    'app.yaml:19: spec.routes: is not done yet: ignored',
    'app.yaml:20: spec.isActivated: every microservice gets 0 replicas'
  ])
  t.is(microservices[0]?.spec.replicas, 0)
  t.alike(microservices[0]?.spec.env, { U: '{{ self.name }}' })
})

test('iofog - a public port is open on every node', (t) => {
  const tcp = { to: 80, protocol: 'tcp' as const, on: 'all' }
  const http = { ...tcp, protocol: 'http' as const }
  const rows: [string, object[], string[]][] = [
    [
      'public: { schemes: [http], protocol: http, router: { port: 6666 } }',
      [{ port: 6666, ...http }],
      []
    ],
    [
      'public: { protocol: tcp, router: { port: 6666, host: default-router } }',
      [{ port: 6666, ...tcp }],
      []
    ],
    ['public: 5001', [{ port: 5001, ...http }], []],
    ['public: 5001, host: default-router, protocol: tcp', [{ port: 5001, ...tcp }], []],
    ['public: 5001, protocol: https', [{ port: 5001, ...http }], []],
    ['public: { router: { port: 1 }, enabled: false }', [], []],
    ...['public: false', 'public: ""', 'public: {}', ''].map(
      (none): [string, object[], string[]] => [none, [], []]
    ),
    ['public: 1, protocol: udp', [], ['UDP is not opened on other nodes yet: ignored']],
    [
      'public: 1, host: pi-1',
      [{ port: 1, ...http }],
      ['every node opens the port, not "pi-1" alone']
    ],
    [
      'public: { schemes: [https], router: { host: hq, port: 1 } }',
      [{ port: 1, ...http }],
      [
        'every node opens the port, not "hq" alone',
        'https is not done here: the port is opened without TLS'
      ]
    ]
  ]
  for (const [words, expose, warnings] of rows) {
    const port = ['external: 5000', 'internal: 80', ...(words === '' ? [] : [words])].join(', ')
    const file = iofog([IMAGES, 'container:', `  ports: [{ ${port} }]`])
    const parsed = parseApplication(file, 'app.yaml')
    t.alike(parsed.microservices[0]?.spec.expose ?? [], expose, words)
    const at = 'app.yaml:9: spec.microservices[0].container.ports[0].public: '
    t.alike(
      parsed.warnings,
      warnings.map((warning) => at + warning),
      words
    )
    t.is(parsed.microservices[0]?.spec.ports[0]?.host, 5000)
  }
  const same = only(iofog([IMAGES, 'ports: [{ external: 5000, internal: 80, public: 5000 }]']))
  t.is(same?.ports[0]?.host, null, 'the node that runs it opens it as all do')
  const chosen = only(iofog([IMAGES, 'ports: [{ internal: 80, public: { protocol: tcp } }]']))
  const { port = 0 } = chosen?.expose?.[0] ?? {}
  t.ok(port >= 6000 && port <= 7000, `${port}`)
  for (const [words, why] of [
    ['public: 70000', 'public: expected a port from 1 to 65535, got 70000'],
    [
      'public: { router: { port: x } }',
      'public.router.port: expected a port from 1 to 65535, got "x"'
    ],
    ['public: { protocol: udp }', 'public: expected the protocol http or tcp, got "udp"']
  ]) {
    const [line = ''] = refusedLines(iofog([IMAGES, `ports: [{ internal: 80, ${words} }]`]))
    t.is(line, `app.yaml:8: spec.microservices[0].ports[0].${why}`)
  }
})

test('iofog - a key it does not know is a problem, wherever it is', (t) => {
  const cases: [string[], string][] = [
    [
      [IMAGES, 'contianer: {}'],
      '8: spec.microservices[0]: unknown key `contianer`, did you mean `container`?'
    ],
    [
      ['images: { x86: a, regsitry: b }'],
      '7: spec.microservices[0].images: unknown key `regsitry`, did you mean `registry`?'
    ],
    [
      [IMAGES, 'container: { rootHostAcces: true }'],
      '8: spec.microservices[0].container: unknown key `rootHostAcces`, did you mean `rootHostAccess`?'
    ],
    [
      [IMAGES, 'container: { ports: [{ internl: 1 }] }'],
      '8: spec.microservices[0].container.ports[0]: unknown key `internl`, did you mean `internal`?'
    ],
    [
      [IMAGES, 'container: { ports: [{ internal: 1, public: { scheme: x } }] }'],
      '8: spec.microservices[0].container.ports[0].public: unknown key `scheme`, did you mean `schemes`?'
    ],
    [
      [IMAGES, 'container: { volumes: [{ hostDest: /a }] }'],
      '8: spec.microservices[0].container.volumes[0]: unknown key `hostDest`, did you mean `hostDestination`?'
    ],
    [
      [IMAGES, 'replicas: 3'],
      '8: spec.microservices[0]: unknown key `replicas`: ioFog has none, a file of apiVersion brume/v1 has'
    ]
  ]
  for (const [body, sentence] of cases) t.is(refusedLines(iofog(body))[0], `app.yaml:${sentence}`)
  t.is(
    refusedLines(iofog([IMAGES], ['route: []']))[0],
    'app.yaml:8: spec: unknown key `route`, did you mean `routes`?'
  )
})

test('iofog - names of version 1 get a plain counterpart, and say so', (t) => {
  const { application, microservices, warnings } = parseApplication(
    iofog([IMAGES, 'agent: { name: Local Agent }'], [], 'Healthcare Wearable'),
    'app.yaml'
  )
  t.is(application, 'healthcare-wearable')
  t.is(microservices[0]?.spec.node, 'local-agent')
  t.alike(warnings, [
    'app.yaml:3: metadata.name: "Healthcare Wearable" is called healthcare-wearable here',
    'app.yaml:8: spec.microservices[0].agent.name: "Local Agent" is called local-agent here'
  ])
  const twice = `${iofog([IMAGES])}    - { name: WEB, images: { x86: a } }\n`
  t.alike(refusedLines(twice), [
    'app.yaml:8: spec.microservices[1].name: microservices[0] is called web too'
  ])
})

test('iofog - what a shell or a template would have filled in is refused', (t) => {
  t.alike(refusedLines(iofog([IMAGES], [], '$NAME')), [
    'app.yaml:3: metadata.name: write what the shell variable in "$NAME" stands for'
  ])
  t.alike(refusedLines(iofog(['images: { x86: "{{image}}" }'])), [
    'app.yaml:7: spec.microservices[0].images.x86: template expressions are not done yet: write what "{{image}}" stands for'
  ])
  const header = 'apiVersion: iofog.org/v3\nkind: Application\nmetadata: { name: a }\nspec:\n'
  t.alike(refusedLines(`${header}  template: { name: t }\n`), [
    'app.yaml:5: spec.template: an application made from a template is not done yet: write its microservices here'
  ])
  t.alike(refusedLines(header), ['app.yaml:4: spec: expected a map, got nothing'])
})

test('iofog - no image is a problem, an image of the catalog too', (t) => {
  const message = 'expected an image for x86 or arm (images of a catalog are not done yet)'
  t.alike(refusedLines(iofog(['config: {}'])), [`app.yaml:6: spec.microservices[0]: ${message}`])
  t.alike(refusedLines(iofog(['images: { catalogId: 8 }'])), [
    `app.yaml:7: spec.microservices[0].images: ${message}`
  ])
})

test('iofog - every key of its manifests is known', (t) => {
  const microservice = [
    ...['uuid', 'rebuild', 'logSize', 'imageSnapshot', 'schedule', 'serviceAccount', 'natsConfig'],
    ...['rootHostAccess', 'application']
  ]
  const container = [
    ...['rootHostAccess', 'hostNetworkMode', 'isPrivileged', 'pidMode', 'ipcMode', 'cpuSetCpus'],
    ...['memoryLimit', 'healthCheck', 'annotations', 'capAdd', 'capDrop', 'cdiDevices'],
    ...['runAsUser', 'platform', 'runtime', 'cpus', 'memoryReservation', 'memorySwap', 'shmSize'],
    ...['tmpfs', 'sysctls', 'ulimits', 'devices', 'entrypoint', 'workingDir', 'runAsGroup'],
    'readOnlyRootFilesystem'
  ]
  const text = iofog([
    IMAGES,
    ...microservice.map((key) => `${key}: [x]`),
    'container:',
    ...container.map((key) => `  ${key}: [x]`)
  ])
  const { warnings } = parseApplication(text, 'app.yaml')
  const warned = warnings.map((line) => line.split(': ')[1]?.split('.').at(-1))
  t.alike(warned, [...microservice.slice(1), ...container])
})
