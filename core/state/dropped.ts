/** What nodes that are no members any more wrote: it changes nothing, and the operator sees it. */
import type { ApplyContext } from './apply.ts'
import { keys } from './keys.ts'
import type { DroppedRecord } from './state.ts'

/** Listed ones of one node; the rest is counted. */
export const MAX_DROPPED = 100

export async function drop(
  op: { type: string; at: number },
  { view, author, op: id }: ApplyContext
): Promise<void> {
  if (author === null) return
  const count = (await view.get<number>(keys.droppedCount(author.id))) ?? 0
  await view.put(keys.droppedCount(author.id), count + 1)
  if (count >= MAX_DROPPED) return
  const record: DroppedRecord = { op: id, node: author.id, type: op.type, at: op.at }
  await view.put(keys.dropped(author.id, count), record)
}
