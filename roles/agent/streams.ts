/** Streams out of this node's containers. */
import type { Readable } from 'node:stream'
import { BrumeError } from '../../core/errors.ts'
import { slotKey } from '../../core/state/state.ts'
import type { Engine, EngineContainer } from './engine.ts'

/**
 * The log of the slot's container here: object mode, LogLine. Where an old and a new copy are
 * there, that of the newer.
 *
 * @throws BrumeError LOGS_NONE where no container of the slot is here.
 */
export async function openLogs(
  from: { engine: Engine | null; containers: readonly EngineContainer[] | null },
  key: string,
  options: { follow: boolean; tail: number | null }
): Promise<Readable> {
  const copies = (from.containers ?? []).filter((container) => slotKey(container) === key)
  const newest = copies.sort((a, b) => (b.startedAt ?? 0) - (a.startedAt ?? 0))[0]
  if (from.engine === null || newest === undefined) {
    throw new BrumeError('LOGS_NONE', `there is no container of ${key} on this node, so no log`, {
      next: `brume ps ${key}`
    })
  }
  return from.engine.logs(newest.id, options)
}
