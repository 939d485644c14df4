/** Our own application file, `apiVersion: brume/v1`. */
import * as z from 'zod'
import { LABEL_KEY } from '../../core/state/names.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import { readAllow } from './allow.ts'
import { readCommand } from './command.ts'
import { readConstraints } from './constraints.ts'
import { readDevices } from './devices.ts'
import { readDependsOn, wrongDependencies } from './depends-on.ts'
import { readEnv, readText } from './env.ts'
import { exposuresFor, readExpose, wrongExposures } from './expose.ts'
import { field, optionalField, readWith } from './fields.ts'
import { readHealthTest } from './healthcheck.ts'
import {
  crowdedPorts,
  duplicateNames,
  imagesByArch,
  readCount,
  readImage,
  type ReadApplication
} from './microservice.ts'
import { readName } from './names.ts'
import { disconnect, placing, placingOf, policiesOf, update } from './policies.ts'
import { readPorts } from './ports.ts'
import { refusedFor, type Problem } from './problems.ts'
import { Refusal, shown } from './refusal.ts'
import { readCpus, readDuration, readMemory } from './units.ts'
import { readVolumes, wrongVolumes } from './volumes.ts'
import type { YamlSource } from './yaml.ts'

/** @throws BrumeError BAD_FILE with a sentence for each problem */
export function readBrume(source: YamlSource): ReadApplication {
  const { metadata, spec } = readWith(file, source, hint)
  const at = (index: number): (string | number)[] => ['spec', 'microservices', index]
  const read = spec.microservices.map((m) => ({ name: m.name, spec: specOf(m), files: m.files }))
  const problems = [
    ...duplicateNames(
      read.map((m) => m.name),
      (index) => [...at(index), 'name']
    ),
    ...spec.microservices.flatMap((m, index) => together(m, at(index))),
    ...read.flatMap((m, index) => wrongVolumes(m.spec, m.files !== null, at(index))),
    ...wrongDependencies(read, at)
  ]
  if (problems.length > 0) throw refusedFor(source, problems)
  const warnings = read.flatMap((m, index) => crowdedPorts(m.spec, at(index)))
  return { application: metadata.name, microservices: read, warnings }
}

const IOFOGS = ['config', 'routes', 'rootHostAccess', 'extraHosts', 'catalogId']

function hint(key: string): string | null {
  if (key === 'depends_on') return 'unknown key `depends_on`: in brume/v1 it is `dependsOn`'
  if (key === 'pull_policy') return 'unknown key `pull_policy`: in brume/v1 it is `pull`'
  if (key === 'container') return 'unknown key `container`: in brume/v1 its keys are beside `image`'
  return IOFOGS.includes(key) ? `unknown key \`${key}\`: brume/v1 has no such thing yet` : null
}

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

const healthcheck = z.strictObject({
  test: field(readHealthTest),
  interval: optionalField((v) => readDuration(v, 100, DAY_MS), 30_000),
  timeout: optionalField((v) => readDuration(v, 100, HOUR_MS), 30_000),
  retries: optionalField((v) => readCount(v, 1, 1000), 3),
  startPeriod: optionalField((v) => readDuration(v, 0, DAY_MS), 0)
})

const image = optionalField(readImage, null)

const microservice = z.strictObject({
  name: field(readName),
  image,
  images: z.strictObject({ amd64: image, arm64: image, arm: image, x86: image }).nullish(),
  pull: optionalField(readPull, 'missing' as const),
  files: optionalField(readFiles, null),
  command: optionalField(readCommandOnly, []),
  replicas: optionalField(readReplicas, 1),
  node: optionalField(readName, null),
  agent: z.strictObject({ name: field(readName) }).nullish(),
  ports: optionalField((v) => readPorts(v), []),
  allow: optionalField(readAllow, []),
  expose: optionalField(readExpose, []),
  devices: optionalField(readDevices, []),
  volumes: optionalField((v) => readVolumes(v), []),
  env: optionalField(readEnv, {}),
  labels: optionalField(readLabels, {}),
  constraints: optionalField(readConstraints, []),
  restart: optionalField(readRestart, 'always' as const),
  resources: z
    .strictObject({
      cpus: optionalField(readCpus, null),
      memory: optionalField(readMemory, null)
    })
    .nullish(),
  healthcheck: healthcheck.nullish(),
  dependsOn: optionalField(readDependsOn, {}),
  update: update.nullish(),
  disconnect: disconnect.nullish(),
  ...placing
})

const file = z.strictObject({
  apiVersion: z.unknown(),
  kind: z.unknown(),
  metadata: z.strictObject({ name: field(readName) }),
  spec: z.strictObject({ microservices: z.array(microservice) })
})

type Read = z.output<typeof microservice>

function specOf(m: Read): MicroserviceSpec {
  const expose = exposuresFor(m.expose, m.ports)
  return {
    image: m.image,
    images: imagesByArch(m.images ?? {}),
    files: null,
    command: m.command,
    env: m.env,
    labels: m.labels,
    ports: m.ports,
    resources: {
      cpus: m.resources?.cpus ?? null,
      memoryBytes: m.resources?.memory ?? null
    },
    replicas: m.replicas,
    node: m.node ?? m.agent?.name ?? null,
    constraints: m.constraints,
    restart: m.restart,
    healthcheck: healthcheckOf(m.healthcheck ?? null),
    ...(m.pull === 'never' && { pull: m.pull }),
    ...(m.allow.length > 0 && { allow: m.allow }),
    ...(expose.length > 0 && { expose }),
    ...(m.devices.length > 0 && { devices: m.devices }),
    ...(m.volumes.length > 0 && { volumes: m.volumes }),
    ...(Object.keys(m.dependsOn).length > 0 && { dependsOn: m.dependsOn }),
    ...policiesOf(m.update ?? null, m.disconnect ?? null),
    ...placingOf(m)
  }
}

function healthcheckOf(read: z.output<typeof healthcheck> | null): MicroserviceSpec['healthcheck'] {
  if (!read?.test) return null
  return {
    command: read.test.command,
    shell: read.test.shell,
    intervalMs: read.interval,
    timeoutMs: read.timeout,
    retries: read.retries,
    startPeriodMs: read.startPeriod
  }
}

/** What is wrong with keys that are each right alone. */
function together(m: Read, path: (string | number)[]): Problem[] {
  const problems = wrongExposures(m.expose, m.ports, path)
  const images = Object.keys(imagesByArch(m.images ?? {})).length
  if (m.image === null && images === 0 && m.command.length === 0) {
    const message = 'expected an `image`, or `files` and the `command` that runs them'
    problems.push({ path, message })
  }
  if (m.node !== null && m.agent && m.agent.name !== m.node) {
    const message = `expected one node, got ${m.node} and the agent ${m.agent.name}`
    problems.push({ path: [...path, 'node'], message })
  }
  return problems
}

function readCommandOnly(value: unknown): string[] {
  return readCommand(value)
}

function readFiles(value: unknown): string {
  if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value
  throw new Refusal(`expected a directory, relative to this file, got ${shown(value)}`)
}

function readPull(value: unknown): 'missing' | 'never' {
  if (value === 'missing' || value === 'never') return value
  throw new Refusal(`expected missing or never, got ${shown(value)}`)
}

function readReplicas(value: unknown): number | 'all' {
  return value === 'all' ? value : readCount(value, 0, 1000, ' or all')
}

function readRestart(value: unknown): 'always' | 'on-failure' | 'no' {
  // A bare `no` is text in YAML 1.2, and some editors make it false.
  if (value === false) return 'no'
  if (value === 'always' || value === 'on-failure' || value === 'no') return value
  throw new Refusal(`expected always, on-failure or no, got ${shown(value)}`)
}

const MOST_LABELS = 64

function readLabels(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected a map of labels, got ${shown(value)}`)
  }
  const entries = Object.entries(value)
  if (entries.length > MOST_LABELS) {
    throw new Refusal(`expected at most ${MOST_LABELS} labels, got ${entries.length}`)
  }
  const labels: Record<string, string> = {}
  for (const [key, text] of entries) {
    if (!LABEL_KEY.test(key)) {
      throw new Refusal(`expected a label such as zone or site/rack, got ${shown(key)}`, [key])
    }
    labels[key] = readText(text, 256, [key])
  }
  return labels
}
