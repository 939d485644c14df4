/** `brume node drain`: sends what a node runs elsewhere, and says what cannot go. */
import { setTimeout as delay } from 'node:timers/promises'
import { BrumeError } from '../../../core/errors.ts'
import type { NodeChange, NodeResult, ReplicaJson } from '../../api.ts'
import { commandFor } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, duration, waiting, type Waiting } from '../options.ts'
import { oneLine, replicaName } from '../print.ts'
import type { Context, Verb } from '../verb.ts'
import { nodeTable } from './nodes.ts'

interface Input extends Waiting {
  node: string
  reason: string
  deadlineMs: number | null
}

export interface DrainAnswer extends NodeResult {
  /** What has no other place. */
  stays: { replica: string; reason: string }[]
}

export const nodeDrain: Verb<Input, DrainAnswer> = {
  describe(command) {
    command
      .argument('<node>', 'name of the node, or the beginning of its id')
      .option('--reason <words>', 'why, for those who ask', '')
      .option('--deadline <duration>', 'after so long what has no other place stops, too')
    addWaiting(command, 'it is empty')
  },

  parse: ([node = ''], { reason, deadline, ...options }) => ({
    node,
    reason: String(reason).trim().slice(0, 200),
    deadlineMs: deadline === undefined ? null : duration(deadline as string, '--deadline'),
    ...waiting(options)
  }),

  async request(input, context) {
    const { client } = context
    const { reason, deadlineMs } = input
    const change: NodeChange = { availability: { mode: 'draining', reason, deadlineMs } }
    const path = `/nodes/${encodeURIComponent(input.node)}`
    const result = await client.post<NodeResult>(path, change)
    const stays = input.detach ? [] : await empty(result.node.name, input, context)
    return { ...result, stays }
  },

  print({ node, offline, stays }, context) {
    context.out.write(nodeTable([node], context.out))
    for (const { replica, reason } of stays) {
      context.err.write(`${replica} stays: ${oneLine(reason)}\n`)
    }
    tellOffline(offline, context)
  },

  exitCode: ({ offline, stays }) => (stays.length > 0 ? 1 : offline.length > 0 ? 4 : 0)
}

const LOOK_MS = 200
/** What waits for another place this long, without a deadline, waits for a person. */
const STAYS_MS = 5_000

/** Until nothing is left on it; gives what has no other place. */
async function empty(
  name: string,
  { deadlineMs, timeoutMs }: Input,
  context: Context
): Promise<DrainAnswer['stays']> {
  const { client, dataDir, err } = context
  const interrupt = context.interrupt()
  let seen = ''
  let changedMs = performance.now()
  for (;;) {
    const all = await client.get<ReplicaJson[]>('/replicas')
    const left = all.filter(({ node, state }) => node === name && state !== 'unknown')
    if (left.length === 0) return []
    const now = left.map((r) => `${replicaName(r)} is ${r.state}`).join()
    if (now !== seen) {
      seen = now
      changedMs = performance.now()
      if (err.isTTY) err.write(`${left.length} left: ${now.split(',')[0]}\n`)
    }
    const quietMs = performance.now() - changedMs
    const held = left.filter(({ reason }) => reason?.includes(`${name} is drained`) === true)
    if (deadlineMs === null && held.length === left.length && quietMs > STAYS_MS) {
      return held.map((r) => ({ replica: replicaName(r), reason: r.reason ?? '' }))
    }
    if (quietMs > Math.max(timeoutMs, deadlineMs ?? 0)) {
      throw new BrumeError(
        'TIMEOUT',
        `${name}: nothing has changed for ${Math.round(quietMs / 1000)} s, ${left.length} are left`,
        { next: commandFor(dataDir, 'ps'), exitCode: 3 }
      )
    }
    if (interrupt.aborted) {
      throw new BrumeError('INTERRUPTED', `still draining; ${commandFor(dataDir, 'ps')}`, {
        exitCode: 130
      })
    }
    await delay(LOOK_MS)
  }
}
