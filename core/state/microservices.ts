/** Microservices: what to run, how, and how often. Written by operators and admins. */
import { contentHash } from '../crypto.ts'
import { declare, mayOperate, written, type ApplyContext, type ViewBatch } from './apply.ts'
import { keepVoid, loseTo, seenFields, stand, wasRemoved, type Value } from './conflicts.ts'
import { devicesOf } from './devices.ts'
import type { Edit, Thing } from './history.ts'
import { keys } from './keys.ts'
import { labelKey, name } from './names.ts'
import { policies, type Policies } from './policies.ts'
import { beginRollout, carryOn, isUnderWay } from './rollouts.ts'
import {
  bool,
  either,
  integer,
  list,
  literal,
  map,
  nullable,
  number,
  object,
  optional,
  pattern,
  text,
  type Infer,
  type Shape
} from './shape.ts'
import type { OpId } from './records.ts'
import type {
  ApplicationRecord,
  MicroserviceRecord,
  MoveRecord,
  PlacementRecord,
  RolloutRecord
} from './state.ts'
import { volumesOf } from './volumes.ts'

const port = object({
  /** The port inside the container, or the number a process is told about. */
  container: integer(1, 65535),
  /** A fixed port of the node, or null for a free one. */
  host: nullable(integer(1, 65535)),
  protocol: literal('tcp', 'udp')
})

const bundle = object({
  /** sha-256 of the tar, hex. */
  digest: pattern(/^[0-9a-f]{64}$/),
  bytes: integer(0, 32 * 1024 * 1024),
  /** Where its blocks are: any node that holds them can serve them. */
  core: pattern(/^[0-9a-f]{64}$/),
  blockOffset: integer(0, Number.MAX_SAFE_INTEGER),
  blockLength: integer(0, Number.MAX_SAFE_INTEGER),
  byteOffset: integer(0, Number.MAX_SAFE_INTEGER)
})

const healthcheck = object({
  /** The command run inside the container; exit code 0 is healthy. */
  command: list(text(4096), 64),
  /** `command` has one element, which a shell runs. */
  shell: bool,
  intervalMs: integer(100, 86_400_000),
  timeoutMs: integer(100, 3_600_000),
  retries: integer(1, 1000),
  startPeriodMs: integer(0, 86_400_000)
})

const spec = object({
  image: nullable(text(512, 1)),
  /** Another image for one architecture (`amd64`, `arm64`, `arm`), as ioFog's `images`. */
  images: map(pattern(/^[a-z0-9]{1,16}$/), text(512, 1), 8),
  files: nullable(bundle),
  /** Empty: the image's own. */
  command: list(text(4096), 256),
  env: map(text(256, 1), text(32_768), 512),
  labels: map(labelKey, text(256), 64),
  ports: list(port, 128),
  resources: object({
    /** Cores. */
    cpus: nullable(number(0.01, 1024)),
    memoryBytes: nullable(integer(1024 * 1024, Number.MAX_SAFE_INTEGER))
  }),
  /** How many, or one on every node that fits. */
  replicas: either(integer(0, 1000), literal('all')),
  /** Pins to the node of this name. */
  node: nullable(text(64, 1)),
  /** `key=value` or `key!=value`, over node labels. */
  constraints: list(text(256, 1), 32),
  restart: literal('always', 'on-failure', 'no'),
  healthcheck: nullable(healthcheck)
})

export type Port = Infer<typeof port>
export type Bundle = Infer<typeof bundle>
export type Healthcheck = Infer<typeof healthcheck>
export type MicroserviceSpec = Infer<typeof spec> & Policies

/** What apply asks of a spec; policies it does not look at (see `policies.ts`). */
export const microserviceSpec = spec as Shape<MicroserviceSpec>
/** What is asked of one before it is appended. */
export const isWholeSpec = (value: unknown): value is MicroserviceSpec =>
  microserviceSpec.check(value) && policies.check(value)

const at = integer(0, Number.MAX_SAFE_INTEGER)
/** So many ops before it, its author set the application; it counts only where that one stands. */
const after = optional(integer(1, 10_000))

const set = object({
  type: literal('microservice.set'),
  application: name,
  name,
  spec: microserviceSpec,
  ...seenFields,
  after,
  at
})
export type MicroserviceSet = Infer<typeof set>

const rm = object({
  type: literal('microservice.rm'),
  application: name,
  name,
  ...seenFields,
  after,
  at
})
export type MicroserviceRm = Infer<typeof rm>

export const microserviceOps = {
  'microservice.set': declare<MicroserviceSet>({
    shape: set,
    audit: microserviceName,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not deploy'
      const key = keys.microservice(op.application, op.name)
      const current = await view.get<MicroserviceRecord>(key)
      const application = await view.get<ApplicationRecord>(keys.application(op.application))
      const edit = editOf(op, op.spec)
      if (!isAfter(op, application, context)) {
        return (await keepVoid(context, edit, asValue(current))) ? null : VOID
      }
      if (application === null) {
        const isKept = await loseTo(context, edit, asValue(current))
        return isKept ? null : 'there is no such application'
      }
      await stand(context, edit, asValue(current))
      const record: MicroserviceRecord = {
        application: op.application,
        name: op.name,
        spec: op.spec,
        revision: revisionOf(op.spec, context.format),
        ...written(context, op.at)
      }
      await view.put(key, record)
      await noteRollout(context, current, record)
      if (op.spec.replicas !== 'all') {
        await dropPlacements(view, op.application, op.name, op.spec.replicas)
      }
      return null
    }
  }),

  'microservice.rm': declare<MicroserviceRm>({
    shape: rm,
    audit: microserviceName,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not remove microservices'
      const current = await view.get<MicroserviceRecord>(keys.microservice(op.application, op.name))
      if (current === null && !(await wasRemoved(view, microserviceThing(op)))) {
        return 'there is no such microservice'
      }
      const application = await view.get<ApplicationRecord>(keys.application(op.application))
      if (!isAfter(op, application, context)) {
        return (await keepVoid(context, editOf(op, null), asValue(current))) ? null : VOID
      }
      await removeMicroservice(op, current, context)
      return null
    }
  })
}

export const microserviceThing = (named: { application: string; name: string }): Thing => ({
  noun: 'microservice',
  name: microserviceName(named)
})

/** With its placements; one that was seen by nobody else's removal stays known as a rival. */
export async function removeMicroservice(
  op: Removal,
  current: MicroserviceRecord | null,
  context: ApplyContext
): Promise<void> {
  const { application, name } = op
  await stand(context, editOf(op, null), asValue(current))
  await dropPlacements(context.view, application, name, 0)
  await context.view.del(keys.microservice(application, name))
  await context.view.del(keys.rollout(application, name))
}

/** What it was before stands again: the leader's word, who saw that what stands now does not run. */
export async function putBackRevision(
  context: ApplyContext,
  current: MicroserviceRecord,
  { spec, revision, op }: { spec: MicroserviceSpec; revision: string; op: OpId },
  at: number
): Promise<void> {
  const { application, name } = current
  const seen = { application, name, over: current.op, keeps: op, at }
  await stand(context, editOf(seen, spec), asValue(current))
  await context.view.put(keys.microservice(application, name), {
    application,
    name,
    spec,
    revision,
    ...written(context, at)
  })
  if (spec.replicas !== 'all') {
    await dropPlacements(context.view, application, name, spec.replicas)
  }
}

/** Another revision has a rollout; the same one set again keeps that which is under way. */
async function noteRollout(
  { view, format }: ApplyContext,
  current: MicroserviceRecord | null,
  record: MicroserviceRecord
): Promise<void> {
  if (format < 2 || current === null) return
  const key = keys.rollout(record.application, record.name)
  const before = await view.get<RolloutRecord>(key)
  if (current.revision !== record.revision) {
    await view.put(key, beginRollout(before, current, record))
  } else if (before !== null && isUnderWay(before)) {
    await view.put(key, carryOn(before, record))
  }
}

/**
 * Names what a container is made of: replicas, placing, restarts and health checks are the
 * Agent's and the Controller's affair and change no container.
 */
export function revisionOf(spec: MicroserviceSpec, format: number): string {
  const { image, images, files, command, env, labels, ports, resources, generation } = spec
  const devices = devicesOf(spec)
  const volumes = volumesOf(spec)
  return contentHash({
    image,
    images,
    files: files?.digest ?? null,
    command,
    env,
    labels,
    ports,
    resources,
    // Older versions take no notice of them.
    ...(format >= 2 && devices.length > 0 && { devices }),
    ...(format >= 2 && volumes.length > 0 && { volumes }),
    ...(format >= 2 && generation !== undefined && { generation })
  })
}

/** What a file asks for, over what stands: it knows nothing of restarts, and to forget one is another. */
export function withRestarts(
  asked: MicroserviceSpec,
  stands: MicroserviceSpec | undefined
): MicroserviceSpec {
  const generation = asked.generation ?? stands?.generation
  return generation === undefined ? asked : { ...asked, generation }
}

/** The image for an architecture (`amd64`, `arm64`, …); null where the record names none. */
export const imageFor = (spec: MicroserviceSpec, arch: string): string | null =>
  Object.hasOwn(spec.images, arch) ? (spec.images[arch] ?? null) : spec.image

const VOID = 'the application is not the one it was meant for'

type Removal = Pick<MicroserviceRm, 'application' | 'name' | 'over' | 'beside' | 'keeps' | 'at'>

const editOf = (op: Removal, value: MicroserviceSpec | null): Edit => ({
  ...op,
  thing: microserviceThing(op),
  value,
  content: contentOf(value)
})

function microserviceName({ application, name }: { application: string; name: string }): string {
  return `${application}/${name}`
}

const asValue = (record: MicroserviceRecord | null): Value | null =>
  record === null ? null : { ...record, value: record.spec, content: contentOf(record.spec) }

/** Where a bundle lies is no part of what people set. */
const contentOf = (spec: MicroserviceSpec | null): unknown =>
  spec === null ? null : { ...spec, files: spec.files?.digest ?? null }

function isAfter(
  { after }: { after?: number | undefined },
  application: ApplicationRecord | null,
  { op }: { op: OpId }
): boolean {
  return after === undefined || application?.op === opBefore(op, after)
}

/** The op that its author wrote so many before this one. */
function opBefore(op: OpId, count: number): OpId {
  const dot = op.lastIndexOf('.')
  return `${op.slice(0, dot)}.${Number(op.slice(dot + 1)) - count}`
}

async function dropPlacements(
  view: ViewBatch,
  application: string,
  microservice: string,
  fromSlot: number
): Promise<void> {
  const placed = await view.list<PlacementRecord>(keys.placementsOf(application, microservice))
  for (const { key, value } of placed) if (value.slot >= fromSlot) await view.del(key)
  const wishes = await view.list<MoveRecord>(keys.movesOf(application, microservice))
  for (const { key, value } of wishes) if (value.slot >= fromSlot) await view.del(key)
}
