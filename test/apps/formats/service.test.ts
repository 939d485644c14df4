import test from 'brittle'
import { join } from 'node:path'
import { writeFile } from 'node:fs/promises'
import { BrumeError } from '../../../core/errors.ts'
import { readFiles } from '../../../apps/formats/files.ts'
import { readService } from '../../../apps/formats/service.ts'
import { parseYaml } from '../../../apps/formats/yaml.ts'

const file = (...spec: string[]): string =>
  [
    'apiVersion: brume/v1',
    'kind: Service',
    'metadata: { name: plc, application: plant }',
    'spec:',
    ...spec.map((line) => `  ${line}`),
    ''
  ].join('\n')

const WHOLE = [
  'host: 192.168.0.7',
  'ports: [502, "161/udp"]',
  'node: plant-3',
  'constraints: [site=plant]',
  'allow: [dashboard, bills/reader]'
]

const read = (text: string) => readService(parseYaml(text, 'plc.yaml'))

test('service - a file of one, whole', (t) => {
  t.alike(read(file(...WHOLE)), {
    name: 'plc',
    application: 'plant',
    spec: {
      host: '192.168.0.7',
      ports: [
        { port: 502, protocol: 'tcp' },
        { port: 161, protocol: 'udp' }
      ],
      node: 'plant-3',
      constraints: ['site=plant'],
      allow: ['dashboard', 'bills/reader']
    }
  })
  t.is(read(file('host: nas.local', 'ports: [445]', 'node: attic')).spec.host, 'nas.local')
})

test('service - what is wrong is said with line and path', (t) => {
  const cases: [string[], RegExp][] = [
    [['ports: [502]', 'node: a'], /^plc.yaml:4: spec\.host: missing$/m],
    [
      ['host: a/b', 'ports: [502]', 'node: a'],
      /^plc.yaml:5: spec\.host: expected an IPv4 address/m
    ],
    [['host: a', 'node: a'], /spec\.ports: missing$/m],
    [['host: a', 'ports: []', 'node: a'], /spec\.ports: expected at least one port$/m],
    [
      ['host: a', 'ports: ["80:502"]', 'node: a'],
      /spec\.ports\[0\]: expected one port, such as 502, got 80:502$/m
    ],
    [['host: a', 'ports: [502]'], /^plc.yaml:4: spec: expected a `node`, or `constraints`/m],
    [
      ['host: a', 'ports: [502]', 'constraints: ["arch=arm64"]'],
      /spec\.constraints\[0\]: expected a constraint on a label, got "arch=arm64"$/m
    ],
    [['host: a', 'port: 502', 'node: a'], /unknown key `port`, did you mean `ports`\?/m]
  ]
  for (const [lines, message] of cases) {
    let said = ''
    try {
      read(file(...lines))
    } catch (error) {
      if (error instanceof BrumeError) said = error.message
    }
    t.ok(message.test(said), said)
  }
})

test('service - of a directory each name is there once', async (t) => {
  const dir = await t.tmp()
  await writeFile(join(dir, 'a.yaml'), file(...WHOLE))
  t.is((await readFiles(dir)).services.length, 1)
  await writeFile(join(dir, 'b.yaml'), file(...WHOLE))
  await t.exception(() => readFiles(dir), /describes the service plant\/plc too/)
})
