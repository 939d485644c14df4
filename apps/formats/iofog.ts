/**
 * ioFog's own `Application` files (`iofog.org/v1` to `v3`), as far as our microservices go.
 * What ioFog knows and we do not do is a warning; what ioFog does not know is a problem.
 */
import * as z from 'zod'
import type { MicroserviceSpec, Port } from '../../core/state/microservices.ts'
import type { Volume } from '../../core/state/volumes.ts'
import { readCommand } from './command.ts'
import { readEnv } from './env.ts'
import { field, optionalField, readWith } from './fields.ts'
import { exposureOf, publicWarnings, readPublic, type PublicPort } from './iofog-public.ts'
import { duplicateNames, imagesByArch, readImage, type ReadApplication } from './microservice.ts'
import { readName, suggestName } from './names.ts'
import { portOf, readPorts } from './ports.ts'
import { refusedFor, type Path, type Problem } from './problems.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'
import { readIofogVolume, readVolumes, sharedVolumes } from './volumes.ts'
import type { YamlSource } from './yaml.ts'

/** @throws BrumeError BAD_FILE with a sentence for each problem */
export function readIofog(source: YamlSource): ReadApplication {
  const read = readWith(file, source, hintOurs)
  const listed = read.spec.microservices ?? []
  const problems = listed.flatMap((m, i) => together(m, at(i)))
  const microservices = listed.map((m) => ({
    name: m.name.name,
    spec: specOf(m, read.metadata.name.name, read.spec.isActivated !== false),
    files: null
  }))
  const names = microservices.map((m) => m.name)
  problems.push(...duplicateNames(names, (i) => [...at(i), 'name']))
  const { template } = read.spec
  if (!nothing(template ?? null) && microservices.length === 0) {
    const message =
      'an application made from a template is not done yet: write its microservices here'
    problems.push({ path: ['spec', 'template'], message })
  }
  if (problems.length > 0) throw refusedFor(source, problems)
  const warnings = [
    ...warningsOf(read, source.value as z.input<typeof file>),
    ...sharedVolumes(microservices, at)
  ]
  return { application: read.metadata.name.name, microservices, warnings }
}

const at = (index: number): (string | number)[] => ['spec', 'microservices', index]

/** A key of ioFog's that we do not act on; `harmless` says when that makes no difference. */
type Later = Record<string, (value: unknown) => boolean>

const nothing = (value: unknown): boolean =>
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value).length === 0)
const never = (): boolean => true

const laterFile: Later = { namespace: (v) => nothing(v) || v === 'default', tags: nothing }

const laterSpec: Later = {
  // What `iofogctl describe` prints beside the name.
  name: never,
  id: never,
  description: never,
  isSystem: nothing,
  routes: nothing,
  template: nothing,
  natsConfig: nothing
}

const laterMicroservice: Later = {
  uuid: never,
  config: nothing,
  rebuild: nothing,
  routes: nothing,
  logSize: nothing,
  imageSnapshot: nothing,
  schedule: (v) => nothing(v) || v === 50,
  serviceAccount: nothing,
  natsConfig: nothing,
  natsEnabled: nothing,
  models: nothing,
  knowledge: nothing,
  template: nothing
}

/** In version 1, and in the first files of version 2, these are the microservice's own keys. */
const laterFlat: Later = { rootHostAccess: nothing, extraHosts: nothing }

const laterContainer: Later = {
  ...laterFlat,
  ...Object.fromEntries(
    [
      'hostNetworkMode',
      'isPrivileged',
      'pidMode',
      'ipcMode',
      'cpuSetCpus',
      'cpus',
      'memoryLimit',
      'memoryReservation',
      'memorySwap',
      'shmSize',
      'healthCheck',
      'annotations',
      'capAdd',
      'capDrop',
      'cdiDevices',
      'devices',
      'runAsUser',
      'runAsGroup',
      'readOnlyRootFilesystem',
      'platform',
      'runtime',
      'sysctls',
      'ulimits',
      'tmpfs',
      'workingDir',
      'entrypoint'
    ].map((key) => [key, nothing])
  )
}

const laterImages: Later = {
  registry: (v) => nothing(v) || v === 'remote' || v === 1,
  catalogId: (v) => nothing(v) || v === 0
}

const laterPort: Later = {
  // Public ports have warnings of their own.
  public: never,
  host: never,
  publicMode: nothing,
  publicLink: nothing,
  proxy: nothing
}

const laterVolume: Later = { type: (v) => v !== 'volumeMount' }

const laterEnv: Later = { valueFromSecret: nothing, valueFromConfigMap: nothing }

const unread = <const K extends string>(keys: readonly K[]) =>
  Object.fromEntries(keys.map((key) => [key, z.unknown().optional()])) as Record<
    K,
    z.ZodOptional<z.ZodUnknown>
  >
const known = (later: Later) => unread(Object.keys(later))

/** Lists we ignore, but whose misspelt keys ioFog would not take. */
const routes = z.array(z.strictObject(unread(['name', 'from', 'to']))).nullish()
const hosts = z.array(z.strictObject(unread(['name', 'address']))).nullish()

const run = {
  ports: optionalField(readIofogPorts, null),
  env: optionalField(readIofogEnv, null),
  commands: optionalField((v) => readCommand(v), null),
  cmd: optionalField((v) => readCommand(v), null),
  volumes: optionalField((v) => readVolumes(v, readVolume), null),
  extraHosts: hosts
}

const image = optionalField((v) => (v === '' ? null : readIofogImage(v)), null)

const microservice = z.strictObject({
  ...known(laterMicroservice),
  ...known(laterFlat),
  ...run,
  name: field(readIofogName),
  application: z.unknown().optional(),
  agent: z
    .strictObject({ name: optionalField(readIofogName, null), config: z.unknown().optional() })
    .nullish(),
  images: z
    .strictObject({ ...known(laterImages), x86: image, amd64: image, arm: image, arm64: image })
    .nullish(),
  container: z.strictObject({ ...known(laterContainer), ...run }).nullish()
})

const file = z.strictObject({
  apiVersion: z.unknown(),
  kind: z.unknown(),
  metadata: z.strictObject({ ...known(laterFile), name: field(readIofogName) }),
  spec: z.strictObject({
    ...known(laterSpec),
    template: z.unknown().optional(),
    routes,
    isActivated: z.boolean().nullish(),
    microservices: z.array(microservice).nullish()
  })
})

type Read = z.output<typeof microservice>

/** Keys of ours in a file of ioFog's. */
function hintOurs(key: string): string | null {
  const ours = ['replicas', 'files', 'labels', 'constraints', 'restart', 'resources', 'healthcheck']
  if (![...ours, 'node', 'image', 'dependsOn'].includes(key)) return null
  return `unknown key \`${key}\`: ioFog has none, a file of apiVersion brume/v1 has`
}

interface IofogName {
  name: string
  /** What the file says, where that is not a name of ours. */
  written: string | null
}

/**
 * Version 1 took any text as a name, and version 3 still takes dots: what has a plain counterpart
 * gets it, with a warning.
 */
function readIofogName(value: unknown): IofogName {
  refuseTemplate(value)
  const plain = typeof value === 'string' && /^[\p{L}\p{M}\p{N} ._-]+$/u.test(value)
  const name = plain ? suggestName(value) : null
  if (!plain || name === null) return { name: readName(value), written: null }
  return { name, written: name === value ? null : value }
}

function readIofogImage(value: unknown): string {
  refuseTemplate(value)
  return readImage(value)
}

function refuseTemplate(value: unknown): void {
  if (typeof value !== 'string') return
  if (/\{\{|\{%/.test(value)) {
    throw new Refusal(
      `template expressions are not done yet: write what ${shown(value)} stands for`
    )
  }
  if (/\$\{?\w/.test(value)) {
    throw new Refusal(`write what the shell variable in ${shown(value)} stands for`)
  }
}

interface ReadPorts {
  ports: Port[]
  open: PublicPort[]
}

/** null where there is none. */
function readIofogPorts(value: unknown): ReadPorts | null {
  const open: PublicPort[] = []
  const ports = readPorts(value, (item) => {
    const port = readIofogPort(item)
    const found = readPublic(item as Record<string, unknown>, port)
    if (found === null) return port
    open.push(found)
    // Every node opens it, and so does the one that runs it.
    return port.host === found.port ? { ...port, host: null } : port
  })
  return ports.length === 0 ? null : { ports, open }
}

function readIofogPort(value: unknown): Port {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(`expected { internal, external }, got ${shown(value)}`)
  }
  onlyKeys(value, ['internal', 'external', 'protocol', ...Object.keys(laterPort)])
  const { internal, external, protocol, public: open } = value as Record<string, unknown>
  // Version 2 says here how a public port is reached from outside.
  const outer = !nothing(open ?? null) && (protocol === 'http' || protocol === 'https')
  return portOf(internal, external, outer ? 'tcp' : protocol)
}

/** Without the variables whose values are somewhere else. */
function readIofogEnv(value: unknown): Record<string, string> {
  if (!Array.isArray(value)) return readEnv(value)
  const here = value.map((item: unknown, index): unknown => {
    if (!isMap(item)) return item
    within(index, () => onlyKeys(item, ['key', 'value', ...Object.keys(laterEnv)]))
    const { key, value: text } = item
    return { key, value: text }
  })
  const env = readEnv(here)
  for (const item of value) if (isMap(item) && isElsewhere(item)) delete env[String(item['key'])]
  return env
}

function isElsewhere(item: Record<string, unknown>): boolean {
  return Object.keys(laterEnv).some((key) => !nothing(item[key] ?? null))
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readVolume(value: unknown): Volume | null {
  if (isMap(value)) {
    within('hostDestination', () => refuseTemplate(value['hostDestination']))
    within('containerDestination', () => refuseTemplate(value['containerDestination']))
  }
  return readIofogVolume(value)
}

function specOf(m: Read, application: string, activated: boolean): MicroserviceSpec {
  const c = m.container
  const { ports, open } = filled(c?.ports, m.ports) ?? { ports: [], open: [] }
  const expose = open.map((one) => exposureOf(one, application, m.name.name))
  const { x86, amd64, arm, arm64 } = m.images ?? {}
  const images = imagesByArch({ x86, amd64, arm, arm64 })
  const different = new Set(Object.values(images))
  const onlyX86 = images['arm'] === undefined && images['arm64'] === undefined
  const volumes = filled(c?.volumes, m.volumes)
  const image = onlyX86 || different.size === 1 ? ([...different][0] ?? null) : null
  return {
    image,
    images,
    files: null,
    command: filled(c?.commands, c?.cmd, m.commands, m.cmd) ?? [],
    env: filled(c?.env, m.env) ?? {},
    labels: {},
    ports,
    resources: { cpus: null, memoryBytes: null },
    replicas: activated ? 1 : 0,
    node: m.agent?.name?.name ?? null,
    constraints: [],
    restart: 'always',
    healthcheck: null,
    ...(volumes && { volumes }),
    ...(expose.length > 0 && { expose })
  }
}

function filled<T extends object>(...given: (T | null | undefined)[]): T | null {
  return given.find((v): v is T => Object.keys(v ?? {}).length > 0) ?? null
}

/** What is wrong with keys that are each right alone. */
function together(m: Read, path: Path): Problem[] {
  const problems: Problem[] = []
  const { x86, amd64, arm, arm64 } = m.images ?? {}
  if (Object.keys(imagesByArch({ x86, amd64, arm, arm64 })).length === 0) {
    const message = 'expected an image for x86 or arm (images of a catalog are not done yet)'
    problems.push({ path: m.images ? [...path, 'images'] : path, message })
  }
  for (const key of ['ports', 'env', 'commands', 'cmd', 'volumes'] as const) {
    if (!filled(m[key]) || !filled(m.container?.[key])) continue
    problems.push({ path: [...path, key], message: `given here and in container.${key}` })
  }
  return problems
}

function warningsOf(read: z.output<typeof file>, raw: z.input<typeof file>): Problem[] {
  const warnings: Problem[] = []
  const warn = (path: Path, message: string): void => void warnings.push({ path, message })
  const later = (map: unknown, path: Path, keys: Later): void => {
    if (!isMap(map)) return
    for (const [key, harmless] of Object.entries(keys)) {
      if (map[key] === undefined || harmless(map[key])) continue
      warn([...path, key], 'is not done yet: ignored')
    }
  }
  const renamed = (name: IofogName | null | undefined, path: Path): void => {
    if (!name || name.written === null) return
    warn(path, `${shown(name.written)} is called ${name.name} here`)
  }
  const opens = (port: unknown, name: string, path: Path): void => {
    if (!isMap(port)) return
    const found = readPublic(port, readIofogPort(port))
    const exposure = found && exposureOf(found, read.metadata.name.name, name)
    for (const [key, message] of publicWarnings(port, exposure)) warn([...path, key], message)
  }
  const runs = (run: unknown, name: string, path: Path): void => {
    if (!isMap(run)) return
    const { ports, env, volumes } = run
    if (Array.isArray(volumes)) {
      volumes.forEach((v, i) => later(v, [...path, 'volumes', i], laterVolume))
    }
    if (Array.isArray(ports)) {
      ports.forEach((port: unknown, i) => {
        later(port, [...path, 'ports', i], laterPort)
        opens(port, name, [...path, 'ports', i])
      })
    }
    if (Array.isArray(env)) {
      env.forEach((variable: unknown, i) => {
        later(variable, [...path, 'env', i], laterEnv)
        const text = isMap(variable) ? variable['value'] : variable
        if (typeof text === 'string' && /\{\{|\{%/.test(text)) {
          warn([...path, 'env', i], 'template expressions are not done yet: kept as text')
        }
      })
    }
  }

  renamed(read.metadata.name, ['metadata', 'name'])
  later(raw.metadata, ['metadata'], laterFile)
  later(raw.spec, ['spec'], laterSpec)
  if (read.spec.isActivated === false) {
    warn(['spec', 'isActivated'], 'every microservice gets 0 replicas')
  }
  read.spec.microservices?.forEach((m, i) => {
    const path = at(i)
    const written = raw.spec.microservices?.[i]
    renamed(m.name, [...path, 'name'])
    renamed(m.agent?.name, [...path, 'agent', 'name'])
    const { name, written: spelling } = read.metadata.name
    if (![name, spelling, null].includes((m.application ?? null) as string | null)) {
      warn([...path, 'application'], 'is another application: ignored')
    }
    later(written?.agent, [...path, 'agent'], { config: nothing })
    later(written?.images, [...path, 'images'], laterImages)
    later(written, path, { ...laterMicroservice, ...laterFlat })
    later(written?.container, [...path, 'container'], laterContainer)
    runs(written, m.name.name, path)
    runs(written?.container, m.name.name, [...path, 'container'])
  })
  return warnings
}
