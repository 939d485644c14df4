/** The engines' own `start` events, by their own clocks: where a deploy or a failover ends. */
import { request, type ClientRequest } from 'node:http'
import type { During } from './bench.ts'

export interface Start {
  socket: string
  id: string
  /** Wall ms, of the event's `timeNano`. */
  at: number
  /** The container's labels and name. */
  attributes: Record<string, string>
}

export class Starts {
  readonly #seen: Start[] = []
  readonly #waiting = new Set<() => void>()

  /** Listens from now on. */
  static async watch(sockets: string[], { teardown }: Pick<During, 'teardown'>): Promise<Starts> {
    const starts = new Starts()
    const streams = await Promise.all(sockets.map((socket) => starts.#listen(socket)))
    teardown(() => streams.forEach((stream) => stream.destroy()))
    return starts
  }

  /** Seen so far. */
  get count(): number {
    return this.#seen.length
  }

  /** Resolves with the first `n` that match, seen or to come. @throws after `ms` */
  first(n: number, matches: (start: Start) => boolean, ms = 120_000): Promise<Start[]> {
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
        reject(new Error(`${n} containers did not start in ${ms} ms`))
      }, ms)
      this.#waiting.add(look)
      look()
    })
  }

  #listen(socket: string): Promise<ClientRequest> {
    const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['start'] }))
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
        resolve(sent)
      })
      sent.on('error', reject)
      sent.end()
    })
  }

  #note(socket: string, line: string): void {
    const { Actor, timeNano } = JSON.parse(line) as {
      Actor: { ID: string; Attributes: Record<string, string> }
      timeNano: number
    }
    this.#seen.push({ socket, id: Actor.ID, at: timeNano / 1e6, attributes: Actor.Attributes })
    for (const look of this.#waiting) look()
  }
}
