/**
 * What administrators set: of edits made without sight of each other all but one are listed as
 * conflicts; what a removed node wrote after its removal is listed as dropped. Asked of acknowledged
 * edits whose authors had the right to them all along.
 */
import { auditOf } from '../../../../core/state/audit.ts'
import type { Op } from '../../../../core/state/index.ts'
import { conflictsOf } from '../../../../core/state/conflicts.ts'
import { keys } from '../../../../core/state/keys.ts'
import type { DroppedRecord } from '../../../../core/state/state.ts'
import type { ViewReader } from '../../../../core/state/apply.ts'
import type { OpId } from '../../../../core/state/records.ts'
import type { Mesh } from '../../../../core/mesh.ts'
import type { Host } from '../host.ts'
import type { Acknowledged, Given, World } from '../world.ts'
import { isIn } from './index.ts'

interface Thing {
  noun: string
  name: string
}

interface Aside {
  standing: { op: OpId; hash: string }
  rivals: { op: OpId; hash: string }[]
}

/** All in the part have the same view: one answers for them. */
export async function edits(world: World, part: Host[]): Promise<string[]> {
  const [first] = part
  if (first === undefined) return []
  const { mesh } = first
  const order = await mesh.oplog.order()
  const given = world.acknowledged.filter(
    ({ id, author }) => world.founders.has(author.id) && isIn(order, id)
  )
  return mesh.oplog.look(async (view) => [
    ...(await listed(world, view, given, part)),
    ...(await dropped(world, view, given, first))
  ])
}

async function listed(
  world: World,
  view: ViewReader,
  acknowledged: Acknowledged[],
  part: Host[]
): Promise<string[]> {
  const { given, demoted, expelled } = world
  const conflicts = new Set((await conflictsOf(view)).conflicts.map(({ rival }) => rival.op))
  const found: string[] = []
  for (const edit of acknowledged) {
    const thing = thingOf(edit.op)
    if (thing === null || demoted.has(edit.author.id) || expelled.has(edit.author.id)) continue
    if (given.some((other) => hasSeen(other, edit, thing))) continue
    const aside = await view.get<Aside>(keys.aside(thing))
    const standing = (await standingOf(view, thing)) ?? aside?.standing.op
    if (standing === edit.id || conflicts.has(edit.id)) continue
    // The same as what stands is no conflict.
    const rival = aside?.rivals.find(({ op }) => op === edit.id)
    if (rival !== undefined && rival.hash === aside?.standing.hash) continue
    if (fellWithOthers(world, edit) && part.some(({ mesh }) => isRefused(mesh, edit))) continue
    found.push(`nobody hears of what ${edit.author.name} set unseen by others: ${edit.what}`)
  }
  return found
}

/** Of a node that was removed: each edit counts, or is listed as one that does not. */
async function dropped(
  { demoted }: World,
  view: ViewReader,
  acknowledged: Acknowledged[],
  { mesh }: Host
): Promise<string[]> {
  const audit = new Set((await auditOf(view)).map(({ op }) => op))
  const found: string[] = []
  for (const { op, id, author, what } of acknowledged) {
    if (mesh.state.nodes.get(author.id)?.state !== 'removed') continue
    if (thingOf(op) === null || demoted.has(author.id) || audit.has(id)) continue
    const list = await view.list<DroppedRecord>(keys.droppedOf(author.id))
    // It may also have meant what was gone: then it was refused aloud.
    if (list.some(({ value }) => value.op === id) || isRefused(mesh, { id })) continue
    found.push(`${author.name} was removed, and nobody hears of its ${what}`)
  }
  return found
}

const isRefused = ({ oplog }: Mesh, { id }: { id: OpId }): boolean => oplog.refused.has(id)

/** Its application was made by nodes alone that were removed then: there is nothing it could stand in. */
function fellWithOthers({ given, expelled }: World, { op }: Given): boolean {
  if (op.type !== 'microservice.set' && op.type !== 'microservice.rm') return false
  return given.every(
    ({ op: { type, ...made }, author }) =>
      type !== 'application.set' ||
      !('name' in made && made.name === op.application) ||
      expelled.has(author.id)
  )
}

/** What an edit is about; null where an op is none. */
function thingOf(op: Op): Thing | null {
  switch (op.type) {
    case 'application.set':
    case 'application.rm':
      return { noun: 'application', name: op.name }
    case 'microservice.set':
    case 'microservice.rm':
      return { noun: 'microservice', name: `${op.application}/${op.name}` }
    default:
      return null
  }
}

/** Whether the author of `other` had seen the edit, also where nobody knows if `other` counts. */
function hasSeen(other: Given, edit: Acknowledged, thing: Thing): boolean {
  const [over, ...beside] = seenOf(other.op, thing)
  if (over === undefined) return false
  const isLater = other.id === null || lengthOf(other.id) > lengthOf(edit.id)
  if (other.author === edit.author && isLater && other !== edit) return true
  return over === edit.id || beside.includes(edit.id)
}

/** What an op says it saw of a thing that it changes; empty where it does not change it. */
function seenOf(op: Op, thing: Thing): (OpId | null)[] {
  const own = thingOf(op)
  if (own?.noun === thing.noun && own.name === thing.name && 'over' in op) {
    return [op.over, ...('beside' in op ? (op.beside ?? []) : [])]
  }
  const [application, name = ''] = thing.name.split('/')
  if (op.type !== 'application.rm' || thing.noun !== 'microservice') return []
  return op.name === application ? (op.under[name] ?? [null]) : []
}

const lengthOf = (id: OpId): number => Number(id.slice(id.lastIndexOf('.') + 1))

async function standingOf(view: ViewReader, { noun, name }: Thing): Promise<OpId | undefined> {
  const [application = '', microservice = ''] = name.split('/')
  const key =
    noun === 'application'
      ? keys.application(application)
      : keys.microservice(application, microservice)
  return (await view.get<{ op: OpId }>(key))?.op
}
