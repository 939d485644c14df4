import type { Readable } from 'node:stream'
import { BrumeError } from '../../../core/errors.ts'
import { linesOf } from '../../../core/lines.ts'
import type { LogLine } from '../../../roles/agent/engine.ts'
import { slotKey } from '../../../core/state/state.ts'
import type { LogJson } from '../../api.ts'
import type { Daemon, Member } from '../daemon.ts'
import { matches, resolve } from '../references.ts'
import type { Route } from '../socket.ts'

export const logs = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/logs',
    async handle({ query, signal }) {
      const member = daemon.member()
      const { state } = member.mesh
      const ref = resolve(state, query.get('ref') ?? '')
      const tail = query.get('tail')
      const options = {
        follow: query.get('follow') === '1',
        tail: tail === null ? null : Number(tail)
      }
      const placed = [...state.placements.values()].filter((row) => matches(ref, row))
      if (placed.length === 0) {
        throw new BrumeError('LOGS_NONE', 'no replica of it is placed yet, so there is no log', {
          next: 'brume ps'
        })
      }
      const results = await Promise.allSettled(
        placed.map(async (placement) => ({
          placement,
          stream: await open(member, placement.node, slotKey(placement), options, signal)
        }))
      )
      const opened = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []))
      const failed = results.find((r) => r.status === 'rejected')
      if (opened.length === 0 && failed !== undefined) throw failed.reason
      return {
        lines: merge(
          opened.map(({ placement: { application, microservice, slot, node }, stream }) => ({
            from: {
              application,
              microservice,
              slot,
              node: state.nodes.get(node)?.displayName ?? node
            },
            stream
          }))
        )
      }
    }
  }
]

function open(
  { mesh, node }: Member,
  on: string,
  slot: string,
  options: { follow: boolean; tail: number | null },
  signal: AbortSignal
): Promise<Readable> {
  if (on === mesh.self) return node.logs(slot, options)
  return mesh.channel.open(on, 'logs', { slot, ...options }, signal)
}

/** Lines as they come; no source is read further ahead than its own stream buffers. */
async function* merge(
  sources: { from: Omit<LogJson, 'stream' | 'line'>; stream: Readable }[]
): AsyncGenerator<LogJson, void> {
  const readers = sources.map(({ from, stream }) => ({
    from,
    stream,
    lines: linesOf(stream)
  }))
  const next = new Map(readers.map((reader) => [reader, pull(reader)]))
  try {
    while (next.size > 0) {
      const { reader, result } = await Promise.race(
        [...next].map(async ([reader, promise]) => ({ reader, result: await promise }))
      )
      if (result.done === true) {
        next.delete(reader)
        continue
      }
      next.set(reader, pull(reader))
      const { stream, line } = JSON.parse(result.value) as LogLine
      yield { ...reader.from, stream, line }
    }
  } finally {
    for (const promise of next.values()) promise.catch(() => undefined)
    for (const { stream } of sources) stream.destroy()
  }
}

/** The one that is open when nobody listens any more ends with its stream. */
function pull({
  lines
}: {
  lines: AsyncGenerator<string, void>
}): Promise<IteratorResult<string, void>> {
  const next = lines.next()
  next.catch(() => {})
  return next
}
