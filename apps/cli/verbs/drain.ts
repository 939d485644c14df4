/** `brume node drain`: sends what a node runs elsewhere, and says what cannot go. */
import type { NodeChange, NodeResult, ReplicaJson } from '../../api.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, duration, waiting, type Waiting } from '../options.ts'
import { oneLine, replicaName } from '../print.ts'
import { untilGone } from '../until-gone.ts'
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

/** What waits for another place this long, without a deadline, waits for a person. */
const STAYS_MS = 5_000

/** Until nothing is left on it; gives what has no other place. */
async function empty(
  name: string,
  { deadlineMs, timeoutMs }: Input,
  context: Context
): Promise<DrainAnswer['stays']> {
  const isHeld = ({ reason }: ReplicaJson): boolean =>
    reason?.includes(`${name} is drained`) === true
  const left = await untilGone(
    {
      ...{ what: name, doing: 'draining' },
      isOne: ({ node, state }) => node === name && state !== 'unknown',
      // What has no other place goes only then.
      timeoutMs: timeoutMs + (deadlineMs ?? 0),
      stays: (left, quietMs) => deadlineMs === null && quietMs > STAYS_MS && left.every(isHeld)
    },
    context
  )
  return left.map((r) => ({ replica: replicaName(r), reason: r.reason ?? '' }))
}
