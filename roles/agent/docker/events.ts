import type { EngineEvent, Owner } from '../engine.ts'
import type { Connection } from './connection.ts'
import { ownLabels } from './container.ts'
import { brumeErrorOf, unreachable } from './refusal.ts'
import { eachJson } from './streams.ts'

/** Events of the owner's containers, until `signal` aborts or the connection is closed: as `Engine` says. */
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
    filters: JSON.stringify({
      type: ['container'],
      event: ['start', 'die', 'destroy'],
      label: ownLabels(owner)
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
      const event = engineEventOf(value)
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

const EVENTS: Record<string, EngineEvent['kind'] | undefined> = {
  start: 'started',
  die: 'died',
  destroy: 'removed'
}

function engineEventOf(value: unknown): EngineEvent | null {
  const { Action, Actor } = value as { Action?: string; Actor?: { ID?: string } }
  const kind = EVENTS[Action ?? '']
  return kind && Actor?.ID ? { kind, id: Actor.ID } : null
}
