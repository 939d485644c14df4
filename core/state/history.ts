/**
 * What a thing was before: the last revisions of what operators wrote. In the view, so that a node
 * that never saw the ops has them too; read on demand, so that they cost nothing else.
 */
import { canonical, contentHash } from '../crypto.ts'
import { written, type ApplyContext, type ViewBatch, type ViewReader } from './apply.ts'
import { keys } from './keys.ts'
import type { OpId, Written } from './records.ts'

/** Kept of one thing: so many revisions, or fewer that have so many bytes together. */
export const MAX_REVISIONS = 50
export const MAX_HISTORY_BYTES = 256 * 1024
/** Of a larger value its hash is kept. */
export const MAX_VALUE_BYTES = 64 * 1024

/** What a record of the view is about: `{ noun: 'microservice', name: 'hello/web' }`. */
export interface Thing {
  noun: string
  name: string
}

/** A value with who wrote it, as it is kept beside the record itself. */
export interface Side extends Written {
  /** null: removed. Missing where it was too large to be kept. */
  value?: unknown
  /** Of the value. */
  hash: string
  /** Of the value as canonical JSON. */
  bytes: number
}

export interface Revision extends Side {
  /** Position in the history of its thing, from 1 on. */
  n: number
  over: OpId | null
  /** The edit whose value this puts back; null for a value of its own. */
  keeps: OpId | null
}

/** What an op does to a thing. */
export interface Edit {
  thing: Thing
  /** The op whose value the author saw; null where it saw none. */
  over: OpId | null
  /** Edits beside that one that the author saw as well. */
  beside?: OpId[] | undefined
  keeps?: OpId | undefined
  at: number
  /** All that people set of it, as JSON has it; null removes it. */
  value: unknown
}

interface HistoryRecord {
  first: number
  next: number
  bytes: number
}

/** INVARIANT: never called with a secret; what is remembered is shown to everybody. */
export async function remember(context: ApplyContext, edit: Edit): Promise<void> {
  const { view } = context
  const { thing, over, keeps } = edit
  const key = keys.historyRecord(thing)
  const record = { ...((await view.get<HistoryRecord>(key)) ?? { first: 1, next: 1, bytes: 0 }) }
  const n = record.next++
  const revision: Revision = { n, over, keeps: keeps ?? null, ...sideOf(context, edit) }
  await view.put(keys.revision(thing, n), revision)
  record.bytes += storedBytes(revision)
  while (
    record.first < n &&
    (n - record.first >= MAX_REVISIONS || record.bytes > MAX_HISTORY_BYTES)
  ) {
    const oldest = keys.revision(thing, record.first++)
    const old = await view.get<Revision>(oldest)
    if (old !== null) record.bytes -= storedBytes(old)
    await view.del(oldest)
  }
  await view.put(key, record)
}

export async function forget(view: ViewBatch, thing: Thing): Promise<void> {
  for (const { key } of await view.list(keys.revisions(thing))) await view.del(key)
  await view.del(keys.historyRecord(thing))
}

/** Oldest first; empty for a thing nobody wrote, or that was removed too long ago. */
export async function historyOf(view: ViewReader, thing: Thing): Promise<Revision[]> {
  const found = await view.list<Revision>(keys.revisions(thing))
  return found.map(({ value }) => value)
}

/** Things under a name that have a history, removed ones too: `hello/` of microservices. */
export async function thingsUnder(
  view: ViewReader,
  noun: string,
  prefix: string
): Promise<Thing[]> {
  const start = keys.historyRecord({ noun, name: prefix })
  const found = await view.list(start)
  return found.map(({ key }) => ({ noun, name: prefix + key.slice(start.length) }))
}

export function sideOf(context: ApplyContext, { at, value }: Edit): Side {
  return { ...written(context, at), ...kept(value) }
}

/** A value with its hash; without itself where it is too large. */
export function kept(value: unknown): Pick<Side, 'value' | 'hash' | 'bytes'> {
  const bytes = Buffer.byteLength(canonical(value))
  const hash = contentHash(value)
  return bytes > MAX_VALUE_BYTES ? { hash, bytes } : { value, hash, bytes }
}

const storedBytes = ({ value, bytes }: Side): number => (value === undefined ? 0 : bytes)
