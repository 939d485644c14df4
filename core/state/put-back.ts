/** The ops that decide a conflict: one of its two edits becomes a new one, made in sight of both. */
import { applicationThing, seenOfAll } from './applications.ts'
import type { ViewReader } from './apply.ts'
import { seen, type Conflict } from './conflicts.ts'
import { historyOf, type Side } from './history.ts'
import type { Op } from './index.ts'
import { keys } from './keys.ts'
import type { MicroserviceSpec } from './microservices.ts'
import type { NodeSet } from './nodes.ts'
import type { OpId } from './records.ts'
import type { ServiceSpec } from './services.ts'
import type { ApplicationRecord, NodeField } from './state.ts'

/** Fields that say what the new edit has seen, and what it puts back. */
interface Decision {
  over: OpId
  beside: OpId[]
  keeps: OpId
  at: number
}

/** By noun: ops that set a thing to a value, or remove it where that is null. */
const WRITERS: Record<
  string,
  (name: string, value: unknown, decision: Decision, view: ViewReader) => Promise<Op[]>
> = {
  application: putApplication,
  microservice: putMicroservice,
  service: putService,
  node: putNode
}

/**
 * @returns The ops, or why there are none: `value-lost` where the value was too large to be kept.
 */
export async function putBack(
  view: ViewReader,
  { noun, name, standing, rival }: Conflict,
  which: 'standing' | 'rival',
  at: number
): Promise<Op[] | 'value-lost' | 'unknown-noun'> {
  const write = WRITERS[noun]
  if (write === undefined) return 'unknown-noun'
  const side = which === 'standing' ? standing : rival
  const value = await valueOf(view, { noun, name }, side)
  if (value === undefined) return 'value-lost'
  const decision = { over: standing.op, beside: [rival.op], keeps: side.op, at }
  return write(name, value, decision, view)
}

async function valueOf(
  view: ViewReader,
  thing: { noun: string; name: string },
  { op, value }: Side
): Promise<unknown> {
  if (value !== undefined) return value
  const revisions = await historyOf(view, thing)
  return revisions.find((revision) => revision.op === op)?.value
}

async function putApplication(
  name: string,
  value: unknown,
  decision: Decision,
  view: ViewReader
): Promise<Op[]> {
  if (value !== null) return [{ type: 'application.set', name, ...decision }]
  const { under } = await seenOfAll(view, name, undefined)
  return [{ type: 'application.rm', name, ...decision, under }]
}

async function putNode(path: string, value: unknown, decision: Decision): Promise<Op[]> {
  const [node = ''] = path.split('/')
  const field = value as Pick<NodeSet, NodeField>
  return [{ type: 'node.set', node, ...field, ...decision }]
}

async function putMicroservice(
  path: string,
  value: unknown,
  decision: Decision,
  view: ViewReader
): Promise<Op[]> {
  const [application = '', name = ''] = path.split('/')
  const named = { application, name }
  if (value === null) return [{ type: 'microservice.rm', ...named, ...decision }]
  const spec = value as MicroserviceSpec
  const set: Op = { type: 'microservice.set', ...named, spec, ...decision }
  const parent = await view.get<ApplicationRecord>(keys.application(application))
  if (parent !== null) return [set]
  const parentSeen = await seen(view, applicationThing({ name: application }), undefined)
  return [{ type: 'application.set', name: application, ...parentSeen, at: decision.at }, set]
}

async function putService(path: string, value: unknown, decision: Decision): Promise<Op[]> {
  const [application = '', name = ''] = path.split('/')
  const named = { application, name }
  if (value === null) return [{ type: 'service.rm', ...named, ...decision }]
  return [{ type: 'service.set', ...named, spec: value as ServiceSpec, ...decision }]
}
