/** What Docker engines say themselves of their containers, by their own clocks. */
import { request, type ClientRequest } from 'node:http'

/** As Docker names it: asked to stop is `kill`, ended is `die`. */
export type EngineAction = 'create' | 'start' | 'kill' | 'die' | 'destroy'

export interface EngineEvent {
  socket: string
  action: EngineAction
  id: string
  /** Wall ms, of the event's `timeNano`. */
  at: number
  /** The container's labels and name. */
  attributes: Record<string, string>
}

export class EngineEvents {
  readonly #seen: EngineEvent[] = []
  readonly #waiting = new Set<() => void>()
  readonly #streams = new Set<ClientRequest>()
  readonly #actions: readonly EngineAction[]

  private constructor(actions: readonly EngineAction[]) {
    this.#actions = actions
  }

  /** Listens to those events from now on. */
  static async watch(
    sockets: string[],
    { teardown }: { teardown: (fn: () => unknown) => void },
    actions: readonly EngineAction[]
  ): Promise<EngineEvents> {
    const events = new EngineEvents(actions)
    teardown(() => events.#streams.forEach((stream) => stream.destroy()))
    await Promise.all(sockets.map((socket) => events.listen(socket)))
    return events
  }

  /** Seen so far, those of one engine in its order. */
  get seen(): readonly EngineEvent[] {
    return this.#seen
  }

  /** Resolves with the first `n` that match, seen or to come. @throws after `ms` */
  first(n: number, matches: (event: EngineEvent) => boolean, ms = 120_000): Promise<EngineEvent[]> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.#seen.filter(matches)
        if (found.length < n) return
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve(found.slice(0, n))
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        reject(new Error(`no ${n} containers: ${this.#actions.join(', ')}, in ${ms} ms`))
      }, ms)
      this.#waiting.add(look)
      look()
    })
  }

  /** Until the engine ends; then again, once another answers at that socket. */
  listen(socket: string): Promise<void> {
    const filters = encodeURIComponent(
      JSON.stringify({ type: ['container'], event: this.#actions })
    )
    // Docker answers a moment before it listens; `since` fills the gap.
    const path = `/events?since=${Math.floor(Date.now() / 1000)}&filters=${filters}`
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: socket, path }, (response) => {
        let rest = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          const lines = (rest + chunk).split('\n')
          rest = lines.pop() ?? ''
          for (const line of lines) if (line !== '') this.#note(socket, line)
        })
        // The engine was ended.
        response.on('error', () => undefined)
        resolve()
      })
      this.#streams.add(sent)
      sent.once('close', () => this.#streams.delete(sent))
      sent.on('error', reject)
      sent.end()
    })
  }

  #note(socket: string, line: string): void {
    const { Action, Actor, timeNano } = JSON.parse(line) as {
      Action: EngineAction
      Actor: { ID: string; Attributes: Record<string, string> }
      timeNano: number
    }
    this.#seen.push({
      socket,
      action: Action,
      id: Actor.ID,
      at: timeNano / 1e6,
      attributes: Actor.Attributes
    })
    for (const look of this.#waiting) look()
  }
}
