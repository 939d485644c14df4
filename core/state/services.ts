/**
 * Outside services: addresses that only some nodes reach, under a name in the mesh. They are in the
 * namespace of an application and outlive it. Written by operators and admins; since format 2.
 */
import { declare, mayOperate, written } from './apply.ts'
import { stand, wasRemoved, seenFields, type Value } from './conflicts.ts'
import type { Edit, Thing } from './history.ts'
import { keys } from './keys.ts'
import { name } from './names.ts'
import { integer, list, literal, nullable, object, pattern, text, type Infer } from './shape.ts'
import type { NodeRecord, ServiceRecord } from './state.ts'
import { labelsFulfil, readWish } from './wishes.ts'

/** An IPv4 address, or a name that the node resolves which dials it. */
export const HOST = /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/

const port = object({ port: integer(1, 65_535), protocol: literal('tcp', 'udp') })

const spec = object({
  host: pattern(HOST),
  ports: list(port, 32),
  /** Dials it: the node of this name, where there is one. */
  node: nullable(text(64, 1)),
  /** As a microservice has them, over node labels alone. */
  constraints: list(text(256, 1), 32),
  /** Who of other applications may reach it: APP or APP/MICROSERVICE. */
  allow: list(text(127, 1), 64)
})
export type ServiceSpec = Infer<typeof spec>

export const isServiceSpec = (value: unknown): value is ServiceSpec => spec.check(value)

const at = integer(0, Number.MAX_SAFE_INTEGER)

const set = object({
  type: literal('service.set'),
  application: name,
  name,
  spec,
  ...seenFields,
  at
})
export type ServiceSet = Infer<typeof set>

const rm = object({ type: literal('service.rm'), application: name, name, ...seenFields, at })
export type ServiceRm = Infer<typeof rm>

export const serviceOps = {
  'service.set': declare<ServiceSet>({
    shape: set,
    since: 2,
    audit: nameOf,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not deploy'
      const key = keys.service(op.application, op.name)
      const current = await view.get<ServiceRecord>(key)
      await stand(context, editOf(op, op.spec), asValue(current))
      const { application, name, spec } = op
      const record: ServiceRecord = { application, name, spec, ...written(context, op.at) }
      await view.put(key, record)
      return null
    }
  }),

  'service.rm': declare<ServiceRm>({
    shape: rm,
    since: 2,
    audit: nameOf,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not remove services'
      const key = keys.service(op.application, op.name)
      const current = await view.get<ServiceRecord>(key)
      if (current === null && !(await wasRemoved(view, serviceThing(op)))) {
        return 'there is no such service'
      }
      await stand(context, editOf(op, null), asValue(current))
      await view.del(key)
      return null
    }
  })
}

export const serviceThing = (named: { application: string; name: string }): Thing => ({
  noun: 'service',
  name: nameOf(named)
})

/** Whether it is this node's to dial it. */
export function isGateway(
  { node, constraints }: Pick<ServiceSpec, 'node' | 'constraints'>,
  of: Pick<NodeRecord, 'displayName' | 'labels' | 'state'>
): boolean {
  if (of.state !== 'member' || (node !== null && node !== of.displayName)) return false
  return constraints.every((constraint) => {
    const wish = readWish(constraint)
    return wish !== null && labelsFulfil(wish, of.labels)
  })
}

function nameOf({ application, name }: { application: string; name: string }): string {
  return `${application}/${name}`
}

const editOf = (op: Omit<ServiceRm, 'type'>, value: ServiceSpec | null): Edit => ({
  ...op,
  thing: serviceThing(op),
  value
})

const asValue = (record: ServiceRecord | null): Value | null =>
  record === null ? null : { ...record, value: record.spec }
