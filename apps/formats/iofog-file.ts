/** The shape of ioFog's `Application` files: every key it knows, and how we read those we act on. */
import * as z from 'zod'
import type { Port } from '../../core/state/microservices.ts'
import type { Volume } from '../../core/state/volumes.ts'
import { readCommand } from './command.ts'
import { readEnv } from './env.ts'
import { field, optionalField } from './fields.ts'
import { readPublic, type PublicPort } from './iofog-public.ts'
import { readImage } from './microservice.ts'
import { readName, suggestName } from './names.ts'
import { portOf, readPorts } from './ports.ts'
import { onlyKeys, Refusal, shown, within } from './refusal.ts'
import { readIofogVolume, readVolumes } from './volumes.ts'

/** A key of ioFog's that we do not act on; `harmless` says when that makes no difference. */
export type Later = Record<string, (value: unknown) => boolean>

export const nothing = (value: unknown): boolean =>
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value).length === 0)
const never = (): boolean => true

export const laterFile: Later = { namespace: (v) => nothing(v) || v === 'default', tags: nothing }

export const laterSpec: Later = {
  // What `iofogctl describe` prints beside the name.
  name: never,
  id: never,
  description: never,
  isSystem: nothing,
  routes: nothing,
  template: nothing,
  natsConfig: nothing
}

export const laterMicroservice: Later = {
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
export const laterFlat: Later = { rootHostAccess: nothing, extraHosts: nothing }

export const laterContainer: Later = {
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

export const laterImages: Later = {
  registry: (v) => nothing(v) || v === 'remote' || v === 1,
  catalogId: (v) => nothing(v) || v === 0
}

export const laterPort: Later = {
  // Public ports have warnings of their own.
  public: never,
  host: never,
  publicMode: nothing,
  publicLink: nothing,
  proxy: nothing
}

export const laterVolume: Later = { type: (v) => v !== 'volumeMount' }

export const laterEnv: Later = { valueFromSecret: nothing, valueFromConfigMap: nothing }

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

export const file = z.strictObject({
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

export type ReadFile = z.output<typeof file>
/** As it was written. */
export type WrittenFile = z.input<typeof file>
export type ReadMicroservice = z.output<typeof microservice>

/** Keys of ours in a file of ioFog's. */
export function hintOurs(key: string): string | null {
  const ours = ['replicas', 'files', 'labels', 'constraints', 'restart', 'resources', 'healthcheck']
  if (![...ours, 'node', 'image', 'dependsOn'].includes(key)) return null
  return `unknown key \`${key}\`: ioFog has none, a file of apiVersion brume/v1 has`
}

export interface IofogName {
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

export function readIofogPort(value: unknown): Port {
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

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readVolume(value: unknown): Volume | null {
  if (isMap(value)) {
    within('hostDestination', () => refuseTemplate(value['hostDestination']))
    within('containerDestination', () => refuseTemplate(value['containerDestination']))
  }
  return readIofogVolume(value)
}
