/**
 * Concurrent edits. The later op in the order stands; what stood there, unseen by its author and
 * by somebody else, is kept as its rival until somebody who has seen both decides.
 *
 * Which edits are left is the same in every order: all but those that a later one has seen. Only
 * which of them stands depends on the order.
 */
import { contentHash } from '../crypto.ts'
import type { ApplyContext, ViewBatch, ViewReader } from './apply.ts'
import { forget, kept, remember, sideOf, type Edit, type Side, type Thing } from './history.ts'
import { keys } from './keys.ts'
import type { OpId, Written } from './records.ts'
import { droppedOf, push, release, type Ring } from './ring.ts'
import { list, nullable, optional, text } from './shape.ts'

/** Kept in the whole mesh; older ones go and are counted. */
export const MAX_RIVALS = 500
/** Kept of one thing. */
export const MAX_RIVALS_OF_THING = 8
/** Removals whose op is known; of older ones an edit that had not seen them is not told apart. */
export const MAX_REMOVALS = 500

/** Fields of every op that sets or removes a thing. */
export const seenFields = {
  /** The op whose value (or removal) the author saw; null where it saw none. */
  over: nullable(text(80)),
  /** Rivals of that one that the author saw as well: this op decides about them. */
  beside: optional(list(text(80), 16)),
  /** The edit whose value this puts back. */
  keeps: optional(text(80))
}

export interface Seen {
  over: OpId | null
  beside: OpId[]
}

/** Of two edits neither of whose authors had seen the other's. */
export interface Conflict extends Thing {
  /** Hash of both ops: the same whichever of the two stands. */
  id: string
  standing: Side
  rival: Side
}

/** What of a thing is not in its own record: that it was removed, and rivals. */
interface AsideRecord extends Thing {
  standing: Side
  rivals: Rival[]
  /** Its place among removals; null while the thing is there. */
  removal: number | null
}

interface Rival extends Side {
  /** Its place among rivals. */
  place: number
}

export type Value = Written & Pick<Edit, 'value' | 'content'>

const RIVALS: Ring = { name: 'rivals', max: MAX_RIVALS }
const REMOVALS: Ring = { name: 'removals', max: MAX_REMOVALS }

/**
 * To be called by an op before it writes or deletes the record: its value stands from here on.
 *
 * @param record What stands; null where the thing is not there.
 */
export async function stand(
  context: ApplyContext,
  edit: Edit,
  record: Value | null
): Promise<void> {
  const { aside, standing, isUnseen } = await before(context, edit, record)
  const mine = sideOf(context, edit)
  if (mine.hash !== standing?.hash || edit.keeps !== undefined) await remember(context, edit)
  const rivals = [...(aside?.rivals ?? []), ...(standing === null ? [] : [standing])]
  await save(context.view, edit.thing, aside, mine, rivals.filter(isUnseen))
}

/** The value is a fact now and nobody's to decide: whatever stood beside it is settled. */
export async function overrule(context: ApplyContext, edit: Edit): Promise<void> {
  await remember(context, edit)
  const aside = await context.view.get<AsideRecord>(keys.aside(edit.thing))
  if (aside !== null) await settle(context.view, aside)
}

/** Nothing is to be decided any more of things of a noun whose names begin with `name`, up to a `/`. */
export async function withdraw(view: ViewBatch, { noun, name }: Thing): Promise<void> {
  const found = await view.list<AsideRecord>(keys.aside({ noun, name }))
  for (const { value } of found) await settle(view, value)
}

/**
 * The op came too late to stand, by no fault of its author: it is kept as a rival of what stands.
 *
 * @returns Whether that is so; where the author had seen what stands, nothing was changed.
 */
export async function loseTo(
  context: ApplyContext,
  edit: Edit,
  record: Value | null
): Promise<boolean> {
  const { aside, standing, isUnseen } = await before(context, edit, record)
  if (standing === null || !isUnseen(standing)) return false
  const rivals = [...(aside?.rivals ?? []).filter(isUnseen), sideOf(context, edit)]
  await save(context.view, edit.thing, aside, standing, rivals)
  return true
}

/**
 * The op was meant for another state of things and decides nothing; it is kept as a rival all the
 * same, because its author may have been told that it stands.
 *
 * @returns Whether there was anything that stands; if not, nothing was changed.
 */
export async function keepVoid(
  context: ApplyContext,
  edit: Edit,
  record: Value | null
): Promise<boolean> {
  const { aside, standing } = await before(context, edit, record)
  if (standing === null) return false
  const rivals = [...(aside?.rivals ?? []), sideOf(context, edit)]
  await save(context.view, edit.thing, aside, standing, rivals)
  return true
}

/** What an op that changes the thing now has to carry. `record` is what its author saw. */
export async function seen(
  view: ViewReader,
  thing: Thing,
  record: { op: OpId } | undefined
): Promise<Seen> {
  const aside = await view.get<AsideRecord>(keys.aside(thing))
  if (record === undefined) {
    const removed = aside?.standing.value === null
    return removed ? { over: aside.standing.op, beside: opsOf(aside) } : { over: null, beside: [] }
  }
  const isSame = aside?.standing.op === record.op
  return { over: record.op, beside: isSame ? opsOf(aside) : [] }
}

/** Things of a noun whose names begin with `name` and that were removed, or have rivals. */
export async function thingsAside(view: ViewReader, { noun, name }: Thing): Promise<Thing[]> {
  const found = await view.list<AsideRecord>(keys.aside({ noun, name }))
  return found.map(({ value }) => nounAndName(value))
}

/** Whether this edit is kept as one that does not stand. */
export const isRival = async (view: ViewReader, thing: Thing, op: OpId): Promise<boolean> =>
  (await view.get<AsideRecord>(keys.aside(thing)))?.rivals.some((r) => r.op === op) === true

/** Whether a thing that is not there was removed, as far back as removals are known. */
export const wasRemoved = async (view: ViewReader, thing: Thing): Promise<boolean> =>
  (await view.get(keys.aside(thing))) !== null

/** Oldest first, and how many more there were than are kept. */
export async function conflictsOf(
  view: ViewReader
): Promise<{ conflicts: Conflict[]; dropped: number }> {
  const asides = await view.list<AsideRecord>(keys.asides)
  const conflicts = asides
    .flatMap(({ value }) => value.rivals.map((rival) => ({ aside: value, rival })))
    .filter(({ aside, rival }) => rival.hash !== aside.standing.hash)
    .sort((a, b) => a.rival.place - b.rival.place)
    .map(({ aside: { noun, name, standing }, rival }) => ({
      id: conflictId(standing.op, rival.op),
      noun,
      name,
      standing,
      rival
    }))
  return { conflicts, dropped: await droppedOf(view, RIVALS) }
}

export const conflictId = (a: OpId, b: OpId): string => contentHash([a, b].sort())

const opsOf = ({ rivals }: AsideRecord): OpId[] => rivals.map(({ op }) => op)

async function before(
  { view, author }: ApplyContext,
  edit: Edit,
  record: Value | null
): Promise<{
  aside: AsideRecord | null
  standing: Side | null
  isUnseen: (side: Side) => boolean
}> {
  const aside = await view.get<AsideRecord>(keys.aside(edit.thing))
  const standing = record === null ? (aside?.standing ?? null) : sideOfRecord(record, aside)
  const known = new Set([edit.over, ...(edit.beside ?? [])])
  // An author has seen its own ops.
  return { aside, standing, isUnseen: ({ op, by }) => !known.has(op) && by !== author?.id }
}

function sideOfRecord({ op, by, at, value, content }: Value, aside: AsideRecord | null): Side {
  if (aside?.standing.op === op) return aside.standing
  return { op, by, at, ...kept(value, content) }
}

async function settle(view: ViewBatch, aside: AsideRecord): Promise<void> {
  for (const { place } of aside.rivals) await release(view, RIVALS, place)
  if (aside.removal !== null) await release(view, REMOVALS, aside.removal)
  await view.del(keys.aside(aside))
}

async function save(
  view: ViewBatch,
  thing: Thing,
  old: AsideRecord | null,
  standing: Side,
  unseen: Side[]
): Promise<void> {
  const rivals = await placed(view, thing, old?.rivals ?? [], unseen)
  const removal = await placedRemoval(view, thing, old, standing)
  if (removal === null && rivals.length === 0) return view.del(keys.aside(thing))
  const { noun, name } = thing
  await view.put(keys.aside(thing), { noun, name, standing, rivals, removal })
}

/** Rivals with their places; those that are none any more, and too old ones, give theirs up. */
async function placed(
  view: ViewBatch,
  thing: Thing,
  old: Rival[],
  unseen: Side[]
): Promise<Rival[]> {
  const places = new Map(old.map(({ op, place }) => [op, place]))
  const kept = unseen.slice(-MAX_RIVALS_OF_THING)
  for (const { op, place } of old) {
    if (kept.some((side) => side.op === op)) continue
    await release(
      view,
      RIVALS,
      place,
      unseen.some((side) => side.op === op)
    )
  }
  const rivals: Rival[] = []
  const gone = new Set<OpId>()
  for (const side of kept) {
    const known = places.get(side.op)
    if (known !== undefined) {
      rivals.push({ ...side, place: known })
      continue
    }
    const entry: RivalEntry = { ...nounAndName(thing), op: side.op }
    const { n, evicted } = await push(view, RIVALS, entry)
    rivals.push({ ...side, place: n })
    for (const other of evicted) {
      if (isSame(other, thing)) gone.add(other.op)
      else await evictRival(view, other)
    }
  }
  return rivals.filter(({ op }) => !gone.has(op))
}

type RivalEntry = Thing & { op: OpId }

async function evictRival(view: ViewBatch, { op, ...thing }: RivalEntry): Promise<void> {
  const key = keys.aside(thing)
  const aside = await view.get<AsideRecord>(key)
  if (aside === null) return
  const rivals = aside.rivals.filter((rival) => rival.op !== op)
  if (rivals.length === 0 && aside.removal === null) await view.del(key)
  else await view.put(key, { ...aside, rivals })
}

async function placedRemoval(
  view: ViewBatch,
  thing: Thing,
  old: AsideRecord | null,
  standing: Side
): Promise<number | null> {
  if (standing.value === null && old?.standing.op === standing.op) return old.removal
  if (old !== null && old.removal !== null) await release(view, REMOVALS, old.removal)
  if (standing.value !== null) return null
  const { n, evicted } = await push(view, REMOVALS, nounAndName(thing))
  for (const other of evicted) await evictRemoval(view, other)
  return n
}

/** What was removed so long ago has no history any more either. */
async function evictRemoval(view: ViewBatch, thing: Thing): Promise<void> {
  const aside = await view.get<AsideRecord>(keys.aside(thing))
  for (const { place } of aside?.rivals ?? []) await release(view, RIVALS, place, true)
  await view.del(keys.aside(thing))
  await forget(view, thing)
}

const nounAndName = ({ noun, name }: Thing): Thing => ({ noun, name })
const isSame = (a: Thing, b: Thing): boolean => a.noun === b.noun && a.name === b.name
