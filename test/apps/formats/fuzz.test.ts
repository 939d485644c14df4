import test from 'brittle'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { BrumeError } from '../../../core/errors.ts'
import { isWholeSpec } from '../../../core/state/microservices.ts'
import { parseApplication, type ParsedApplication } from '../../../apps/formats/application.ts'

const KEYS = [
  ...['name', 'image', 'images', 'files', 'command', 'replicas', 'node', 'agent', 'ports', 'env'],
  ...['labels', 'constraints', 'restart', 'resources', 'healthcheck', 'container', 'config'],
  ...['cpus', 'memory', 'test', 'interval', 'timeout', 'retries', 'startPeriod', 'x86', 'arm'],
  ...[
    'internal',
    'external',
    'protocol',
    'public',
    'key',
    'value',
    'commands',
    'volumes',
    'routes'
  ],
  ...['registry', 'catalogId', 'valueFromSecret', 'constructor', 'toString', '__proto__', '<<']
]

const scalar = fc.oneof(
  fc.constantFrom('web', 'local/node:20', 'all', 'no', 'always', '2s', '64M', '80', '8080:80', ''),
  fc.constantFrom('CMD', 'NONE', '{{ x }}', '$X', 'zone=a', 'A=b', 'a "b', '/dev/null', '\0'),
  fc.constantFrom<unknown>(0, 1, 3, 80, 0.5, -1, 1e21, NaN, Infinity, true, false, null),
  fc.string({ maxLength: 8, unit: 'binary' }),
  fc.double()
)
const { any } = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...KEYS), fc.string({ maxLength: 6 })), tie('any'), {
      maxKeys: 5,
      noNullPrototype: true
    })
  )
}))

/** Mostly right, so that the checks behind the first ones are reached. */
const maybe = (good: fc.Arbitrary<unknown>) =>
  fc.option(fc.oneof({ weight: 12, arbitrary: good }, { weight: 1, arbitrary: any }), {
    nil: undefined,
    freq: 2
  })
const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}[a-z0-9]$/)
const number = fc.integer({ min: 1, max: 65_535 })
const port = fc.oneof(
  number,
  fc.tuple(number, number).map(([a, b]) => `${a}:${b}`),
  fc.record({ internal: number, external: number })
)
const publicPort = fc.record({
  internal: number,
  external: number,
  public: fc.oneof(number, any, fc.record({ router: fc.record({ port: maybe(number) }) }))
})
const env = fc.oneof(
  fc.dictionary(fc.stringMatching(/^[A-Z_]{1,8}$/), scalar, { maxKeys: 4, noNullPrototype: true }),
  fc.array(fc.record({ key: word, value: scalar }), { maxLength: 3 })
)
const command = fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 3 }))
const common = {
  name: maybe(word).map((name) => name ?? 'web'),
  agent: maybe(fc.record({ name: word })),
  images: maybe(fc.record({ x86: word, arm: word }))
}
const duration = fc.constantFrom('2s', '500ms', '1h', '0', '1ms', '48h')
const mine = fc.record({
  ...common,
  image: maybe(word),
  files: maybe(word),
  command: maybe(command),
  replicas: maybe(fc.oneof(fc.integer({ min: 0, max: 1100 }), fc.constant('all'))),
  node: maybe(word),
  volumes: maybe(
    fc.array(
      fc
        .tuple(fc.constantFrom('data', '/srv', '', '/../x', 'A'), fc.string({ maxLength: 8 }))
        .map((parts) => parts.join(':/')),
      { maxLength: 2 }
    )
  ),
  pull: maybe(fc.constantFrom('missing', 'never', 'always')),
  devices: maybe(
    fc.array(
      fc
        .tuple(fc.constantFrom('', '/dev/', '/dev/../', '/'), fc.string({ maxLength: 8 }))
        .map((parts) => parts.join('')),
      { maxLength: 2 }
    )
  ),
  allow: maybe(
    fc.oneof(
      word,
      fc.array(
        fc.tuple(word, word).map((parts) => parts.join('/')),
        { maxLength: 3 }
      )
    )
  ),
  expose: maybe(
    fc.array(
      fc.oneof(
        port,
        fc.record(
          {
            port: number,
            to: number,
            on: fc.constantFrom('all', 'zone=a', 'zone in (a, b)', 'arch=x', ' '),
            host: fc.oneof(fc.constantFrom('x.y', '*.X'), fc.string({ maxLength: 4 })),
            path: fc.oneof(fc.constantFrom('/', '/a/', '/a/b'), fc.string({ maxLength: 4 })),
            tls: fc.record({ cert: fc.constantFrom('/a', 'b'), key: fc.string({ maxLength: 3 }) })
          },
          { requiredKeys: ['port'] }
        )
      ),
      { maxLength: 3 }
    )
  ),
  dependsOn: maybe(
    fc.oneof(
      fc.array(word, { maxLength: 2 }),
      fc.dictionary(word, fc.constantFrom('started', 'service_healthy'), { noNullPrototype: true })
    )
  ),
  ports: maybe(fc.array(port, { maxLength: 3 })),
  env: maybe(env),
  labels: maybe(fc.dictionary(word, scalar, { maxKeys: 3, noNullPrototype: true })),
  constraints: maybe(fc.array(fc.tuple(word, word).map(([k, v]) => `${k}!=${v}`))),
  restart: maybe(fc.constantFrom('always', 'no', 'on-failure')),
  resources: maybe(
    fc.record({ cpus: fc.constantFrom(0.001, 0.5, 2000), memory: fc.constantFrom('64M', '1k') })
  ),
  healthcheck: maybe(
    fc.record({
      test: fc.array(fc.constantFrom('CMD', 'CMD-SHELL', 'x'), { maxLength: 3 }),
      interval: maybe(duration),
      timeout: maybe(duration),
      retries: maybe(fc.integer({ min: 0, max: 1001 })),
      startPeriod: maybe(duration)
    })
  )
})
const theirs = fc.record({
  ...common,
  config: maybe(any),
  container: maybe(
    fc.record({
      ports: maybe(fc.array(fc.oneof(port, publicPort))),
      env: maybe(env),
      commands: maybe(command)
    })
  )
})
const application = fc.oneof(
  fc.tuple(fc.constant('brume/v1'), fc.array(mine, { maxLength: 3 })),
  fc.tuple(fc.constant('iofog.org/v3'), fc.array(theirs, { maxLength: 3 }))
)

/** What comes of `text`: an application, null where it is refused; anything else is thrown. */
function outcome(text: string): ParsedApplication | null {
  try {
    return parseApplication(text, 'app.yaml')
  } catch (error) {
    const spoken = error instanceof BrumeError && error.message.startsWith('app.yaml')
    // The last net of the parser: each reader must have said it better.
    if (spoken && /than an op may hold/.test(error.message)) throw error
    if (spoken && !/TypeError|undefined|\[object|\n\s+at /.test(error.message)) return null
    throw error
  }
}

test('fuzz - any text is an application or an error in words', (t) => {
  const line = fc.tuple(
    fc.constantFrom('', '  ', '    - ', '      ', '\t', '- '),
    fc.oneof(fc.constantFrom(...KEYS), fc.string({ maxLength: 5 })),
    fc.constantFrom(': ', ':', ': &a ', ': *a', ': !!x ', ': |', ': [', ': {', ' '),
    fc.string({ maxLength: 6 })
  )
  const text = fc
    .array(line, { maxLength: 8 })
    .map((lines) => lines.map((l) => l.join('')).join('\n'))
  const head = fc.constantFrom(
    '',
    'apiVersion: brume/v1\nkind: Application\n',
    '---\n',
    '%YAML 1.1\n'
  )
  fc.assert(
    fc.property(head, fc.oneof(text, fc.string({ unit: 'binary' })), (start, rest) => {
      outcome(start + rest)
    }),
    { numRuns: 400 }
  )
  t.pass()
})

test('fuzz - any value in the place of an application is one or an error in words', (t) => {
  const header = fc.record({ metadata: maybe(fc.record({ name: word })), spec: any })
  fc.assert(
    fc.property(fc.constantFrom('brume/v1', 'iofog.org/v3'), header, (apiVersion, rest) => {
      outcome(stringify({ apiVersion, kind: 'Application', ...rest }))
    }),
    { numRuns: 300 }
  )
  t.pass()
})

test('fuzz - what the file gives, apply takes', (t) => {
  let taken = 0
  fc.assert(
    fc.property(application, ([apiVersion, microservices]) => {
      const metadata = { name: 'hello' }
      const file = { apiVersion, kind: 'Application', metadata, spec: { microservices } }
      const parsed = outcome(stringify(file))
      if (!parsed) return true
      taken++
      return parsed.microservices.every((m) => {
        const copy: unknown = JSON.parse(JSON.stringify(m.spec))
        return isWholeSpec(m.spec) && isWholeSpec(copy)
      })
    }),
    { numRuns: 1000 }
  )
  t.ok(taken > 20, `${taken} of 1000 were applications`)
})
