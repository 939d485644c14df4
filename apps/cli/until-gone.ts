/** Waits until replicas are gone, and shows which are left. */
import { setTimeout as delay } from 'node:timers/promises'
import { BrumeError } from '../../core/errors.ts'
import type { ReplicaJson } from '../api.ts'
import { commandFor } from '../client.ts'
import { replicaName } from './print.ts'
import type { Context } from './verb.ts'

export interface Leaving {
  /** What they are of, as errors begin. */
  what: string
  /** `removing`: what goes on when the person leaves. */
  doing: string
  isOne: (replica: ReplicaJson) => boolean
  /** Gives up when nothing has changed for so long, ms. */
  timeoutMs: number
  /** Whether those left stay, now that nothing has changed for `quietMs`; missing: none does. */
  stays?: (left: readonly ReplicaJson[], quietMs: number) => boolean
}

const LOOK_MS = 100
const NAMED = 3

/**
 * Gives what stays. All replicas are looked at, and not by reference: one that is removed is a
 * reference to nothing. @throws BrumeError TIMEOUT (exit code 3), INTERRUPTED (130): it goes on.
 */
export async function untilGone(
  { what, doing, isOne, timeoutMs, stays = () => false }: Leaving,
  context: Context
): Promise<ReplicaJson[]> {
  const { client, dataDir, err } = context
  const look = commandFor(dataDir, 'ps')
  const interrupt = context.interrupt()
  let seen = ''
  let changedMs = performance.now()
  for (;;) {
    const left = (await client.get<ReplicaJson[]>('/replicas')).filter(isOne)
    if (left.length === 0) return []
    const now = left.map((r) => `${replicaName(r)} on ${r.node ?? 'no node'} is ${r.state}`)
    if (now.join() !== seen) {
      seen = now.join()
      changedMs = performance.now()
      if (err.isTTY) err.write(`${left.length} left: ${now[0]}\n`)
    }
    const quietMs = performance.now() - changedMs
    if (stays(left, quietMs)) return left
    if (quietMs > timeoutMs) {
      const more = now.length > NAMED ? `, and ${now.length - NAMED} more` : ''
      const rows = `${now.slice(0, NAMED).join(', ')}${more}`
      throw new BrumeError(
        'TIMEOUT',
        `${what}: nothing has changed for ${timeoutMs / 1000} s: ${rows}`,
        { next: look, exitCode: 3 }
      )
    }
    if (interrupt.aborted) {
      throw new BrumeError('INTERRUPTED', `still ${doing}; ${look}`, { exitCode: 130 })
    }
    await delay(LOOK_MS)
  }
}
