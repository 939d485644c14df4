import type { EngineEvent, Owner } from '../engine.ts'
import type { Connection } from './connection.ts'
import { LABEL } from './container.ts'
import { brumeErrorOf, unreachable } from './refusal.ts'
import { eachJson } from './streams.ts'

/** Events of the owner's containers, and of images, until `signal` aborts or the connection is closed: as `Engine` says. */
export async function watchEvents(
  connection: Connection,
  owner: Owner,
  onEvent: (event: EngineEvent) => void,
  signal: AbortSignal,
  onReady?: () => void
): Promise<void> {
  if (signal.aborted) return
  const options = {
    // Docker answers a moment before it listens; `since` fills the gap.
    since: `${(Date.now() / 1000).toFixed(3)}000000`,
    // Images have no labels of ours to ask for: those of containers are looked at here.
    filters: JSON.stringify({
      type: ['container', 'image'],
      event: [...Object.keys(EVENTS), ...IMAGE_EVENTS]
    })
  }
  const response = await connection.ask('watch', (abort) =>
    connection.stream('/events?', options, abort)
  )
  const stop = (): void => void response.destroy()
  const until = connection.untilClosed(signal)
  until.addEventListener('abort', stop, { once: true })
  try {
    // Aborted while Docker was answering.
    if (until.aborted) return
    onReady?.()
    await eachJson(response, (value) => {
      const event = engineEventOf(value, owner)
      if (event) onEvent(event)
    })
  } catch (error) {
    if (!until.aborted) throw await brumeErrorOf(error, 'watch', connection.socketPath)
  } finally {
    until.removeEventListener('abort', stop)
    response.destroy()
  }
  if (!until.aborted) throw unreachable(connection.socketPath, 'it closed the stream of events')
}

const EVENTS: Record<string, Exclude<EngineEvent['kind'], 'images'> | undefined> = {
  start: 'started',
  die: 'died',
  destroy: 'removed'
}

/** What Docker and Podman call it when one comes, is named, or goes. */
const IMAGE_EVENTS = [
  ...['pull', 'load', 'loadfromarchive', 'import', 'tag'],
  ...['untag', 'delete', 'remove']
]

function engineEventOf(value: unknown, { mesh, node }: Owner): EngineEvent | null {
  const { Type, Action, Actor } = value as {
    Type?: string
    Action?: string
    Actor?: { ID?: string; Attributes?: Record<string, string> }
  }
  if (Type === 'image') return { kind: 'images' }
  const { [LABEL.mesh]: ofMesh, [LABEL.node]: ofNode } = Actor?.Attributes ?? {}
  if (ofMesh !== mesh || ofNode !== node) return null
  const kind = EVENTS[Action ?? '']
  return kind && Actor?.ID ? { kind, id: Actor.ID } : null
}
