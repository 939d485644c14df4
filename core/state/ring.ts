/** A bounded list in the view: entries in the order they came; the oldest go, and are counted. */
import type { ViewBatch, ViewReader } from './apply.ts'
import { keys } from './keys.ts'

export interface Ring {
  name: string
  /** Entries that are kept. */
  max: number
}

interface RingRecord {
  /** No entry has a smaller number. */
  first: number
  next: number
  /** Those between that were not released. */
  held: number
  dropped: number
}

const EMPTY: RingRecord = { first: 0, next: 0, held: 0, dropped: 0 }

/** The new entry's number, and what had to go for it, oldest first. */
export async function push<T>(
  view: ViewBatch,
  ring: Ring,
  entry: T
): Promise<{ n: number; evicted: T[] }> {
  const record = { ...((await view.get<RingRecord>(keys.ring(ring.name))) ?? EMPTY) }
  const n = record.next++
  await view.put(keys.ringEntry(ring.name, n), entry)
  record.held++
  const evicted: T[] = []
  while (record.held > ring.max) {
    const key = keys.ringEntry(ring.name, record.first++)
    const oldest = await view.get<T>(key)
    if (oldest === null) continue
    evicted.push(oldest)
    await view.del(key)
    record.held--
    record.dropped++
  }
  await view.put(keys.ring(ring.name), record)
  return { n, evicted }
}

/** Takes an entry out before its time; `dropped` where that loses something. */
export async function release(
  view: ViewBatch,
  ring: Ring,
  n: number,
  dropped = false
): Promise<void> {
  const record = await view.get<RingRecord>(keys.ring(ring.name))
  if (record === null || (await view.get(keys.ringEntry(ring.name, n))) === null) return
  await view.del(keys.ringEntry(ring.name, n))
  await view.put(keys.ring(ring.name), {
    ...record,
    held: record.held - 1,
    dropped: record.dropped + (dropped ? 1 : 0)
  })
}

/** How many entries went because there were too many. */
export const droppedOf = async (view: ViewReader, ring: Ring): Promise<number> =>
  (await view.get<RingRecord>(keys.ring(ring.name)))?.dropped ?? 0
