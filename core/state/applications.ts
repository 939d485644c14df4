/** Applications: a name over microservices. Removing one removes what is under it. */
import { contentHash } from '../crypto.ts'
import { declare, mayOperate, written, type ApplyContext, type ViewReader } from './apply.ts'
import {
  keepVoid,
  seen,
  seenFields,
  stand,
  thingsAside,
  wasRemoved,
  type Seen
} from './conflicts.ts'
import type { Thing } from './history.ts'
import { keys } from './keys.ts'
import { name } from './names.ts'
import type { OpId, Written } from './records.ts'
import {
  integer,
  list,
  literal,
  map,
  object,
  optional,
  pattern,
  text,
  type Infer
} from './shape.ts'
import type { ApplicationRecord, MicroserviceRecord } from './state.ts'
import { microserviceThing, removeMicroservice } from './microservices.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const set = object({
  type: literal('application.set'),
  name,
  ...seenFields,
  /** Counts only while the application is the one this names: see `applicationRev`. */
  ifRev: optional(pattern(/^[0-9a-f]{16}$/)),
  at
})
export type ApplicationSet = Infer<typeof set>

/** Microservices whose ops a removal can name. */
export const MAX_UNDER = 1024

const rm = object({
  type: literal('application.rm'),
  name,
  ...seenFields,
  /** What its author saw of each microservice: its op, or that of its removal, and rivals. */
  under: map(name, list(text(80), 16), MAX_UNDER),
  at
})
export type ApplicationRm = Infer<typeof rm>

export const applicationOps = {
  'application.set': declare<ApplicationSet>({
    shape: set,
    audit: (op) => op.name,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not deploy'
      const current = await view.get<ApplicationRecord>(keys.application(op.name))
      const edit = { ...op, thing: applicationThing(op), value: {} }
      if (op.ifRev !== undefined && op.ifRev !== (await revNow(op.name, current, view))) {
        const voided = { ...edit, value: { onlyOver: op.ifRev } }
        const isKept = await keepVoid(context, voided, asValue(current))
        return isKept ? null : 'the application is not the one it was meant for'
      }
      await stand(context, edit, asValue(current))
      const record: ApplicationRecord = { name: op.name, ...written(context, op.at) }
      await view.put(keys.application(op.name), record)
      return null
    }
  }),

  'application.rm': declare<ApplicationRm>({
    shape: rm,
    audit: (op) => op.name,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not remove applications'
      const thing = applicationThing(op)
      const current = await view.get<ApplicationRecord>(keys.application(op.name))
      if (current === null && !(await wasRemoved(view, thing))) {
        return 'there is no such application'
      }
      await removeUnder(op, context)
      await stand(context, { ...op, thing, value: null }, asValue(current))
      await view.del(keys.application(op.name))
      return null
    }
  })
}

export const applicationThing = ({ name }: { name: string }): Thing => ({
  noun: 'application',
  name
})

/**
 * Names an application as it is: another one after every change to it or to a microservice of it,
 * by whomever. What a deploy may demand to find.
 */
export function applicationRev(
  application: { op: OpId },
  microservices: { name: string; op: OpId }[]
): string {
  const ops = microservices.map(({ name, op }) => [name, op])
  return contentHash([application.op, Object.fromEntries(ops)])
}

async function revNow(
  name: string,
  current: ApplicationRecord | null,
  view: ViewReader
): Promise<string | null> {
  if (current === null) return null
  const under = await view.list<MicroserviceRecord>(keys.microservicesOf(name))
  return applicationRev(
    current,
    under.map(({ value }) => value)
  )
}

/** What a removal of the application, if it is there, has to carry. */
export async function seenOfAll(
  view: ViewReader,
  application: string,
  record: { op: OpId } | undefined
): Promise<Seen & Pick<ApplicationRm, 'under'>> {
  const under: ApplicationRm['under'] = {}
  const found = await view.list<MicroserviceRecord>(keys.microservicesOf(application))
  const there = new Map(found.map(({ value }) => [value.name, value]))
  const removed = await thingsAside(view, microserviceThing({ application, name: '' }))
  const names = [...there.keys(), ...removed.map(nameIn)]
  for (const name of [...new Set(names)].slice(0, MAX_UNDER)) {
    const thing = microserviceThing({ application, name })
    const { over, beside } = await seen(view, thing, there.get(name))
    if (over !== null) under[name] = [over, ...beside]
  }
  return { ...(await seen(view, applicationThing({ name: application }), record)), under }
}

const nameIn = ({ name }: Thing): string => name.slice(name.indexOf('/') + 1)

/** What is there, and what was, where another removal came before this one. */
async function removeUnder(
  { name: application, under, at }: ApplicationRm,
  context: ApplyContext
): Promise<void> {
  const { view } = context
  const found = await view.list<MicroserviceRecord>(keys.microservicesOf(application))
  const there = new Map(found.map(({ value }) => [value.name, value]))
  for (const name of new Set([...there.keys(), ...Object.keys(under)])) {
    const record = there.get(name) ?? null
    const thing = microserviceThing({ application, name })
    if (record === null && !(await wasRemoved(view, thing))) continue
    const [over = null, ...beside] = Object.hasOwn(under, name) ? (under[name] ?? []) : []
    await removeMicroservice({ application, name, over, beside, at }, record, context)
  }
}

/** All that there is to say of one is that it is there. */
const asValue = (record: ApplicationRecord | null): (Written & { value: unknown }) | null =>
  record === null ? null : { ...record, value: {} }
