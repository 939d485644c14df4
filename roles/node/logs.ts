/** What peers may ask of this node’s roles: what runs, and what it logs. */
import { Transform, type Readable } from 'node:stream'
import { BrumeError } from '../../core/errors.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { AgentActor } from '../agent/machine.ts'
import { agentRuns } from '../agent/machine/context.ts'
import { openLogs } from '../agent/streams.ts'

export function answerPeers(mesh: Mesh, agent: () => AgentActor | undefined): void {
  mesh.channel.answer('runs', async (_from, params) => {
    const { slot, placement } = params as { slot: string; placement: string }
    const context = agent()?.getSnapshot().context
    return context !== undefined && agentRuns(context, slot, placement)
  })
  mesh.channel.answer('logs', async (from, params) => {
    if (mesh.state.nodes.get(from)?.state !== 'member') {
      throw new BrumeError('FORBIDDEN', 'only members may read logs')
    }
    const { slot, follow, tail } = params as { slot: string; follow: boolean; tail: number | null }
    return logsOf(agent(), slot, { follow, tail })
  })
}

export async function logsOf(
  agent: AgentActor | undefined,
  slot: string,
  options: { follow: boolean; tail: number | null }
): Promise<Readable> {
  const context = agent?.getSnapshot().context ?? { engine: null, containers: null }
  const lines = await openLogs(context, slot, options)
  const encode = new Transform({
    writableObjectMode: true,
    transform: (line: unknown, _encoding, done) => done(null, `${JSON.stringify(line)}\n`)
  })
  lines.once('error', (error: Error) => encode.destroy(error))
  encode.once('close', () => lines.destroy())
  return lines.pipe(encode)
}
