/** The connection to one Docker engine, over which every call goes. Here alone dockerode is made. */
import { Agent, type IncomingMessage } from 'node:http'
import { inspect } from 'node:util'
import type Docker from 'dockerode'
import { BrumeError } from '../../../core/errors.ts'
import { brumeErrorOf, noAnswer, refusalOf, unreachable } from './refusal.ts'

/** A plain call that takes longer was sent to a dead or frozen engine. */
const ANSWER_MS = 15_000

/** Asks nothing yet. `answerMs`: how long a plain call may take. */
export async function connect(socketPath: string, answerMs = ANSWER_MS): Promise<Connection> {
  const { default: Client } = await import('dockerode')
  const agent = new QuietAgent({ keepAlive: true, maxFreeSockets: 4 })
  // The types forget that docker-modem takes an agent.
  const options = { socketPath, agent } as Docker.DockerOptions
  return new Connection(new Client(options), agent, socketPath, answerMs)
}

/** The socket of DOCKER_HOST, else Docker's own. @throws BrumeError ENGINE_UNREACHABLE */
export function defaultSocket(): string {
  const host = process.env['DOCKER_HOST']
  if (!host) return '/var/run/docker.sock'
  if (host.startsWith('unix://')) return host.slice('unix://'.length)
  throw new BrumeError('ENGINE_UNREACHABLE', `DOCKER_HOST is ${host}: only unix:// is understood`, {
    next: 'unset DOCKER_HOST, or point it at a socket of this machine'
  })
}

export class Connection {
  readonly docker: Docker
  readonly socketPath: string
  readonly answerMs: number
  readonly #agent: Agent
  readonly #closed = new AbortController()

  constructor(docker: Docker, agent: Agent, socketPath: string, answerMs: number) {
    this.docker = docker
    this.#agent = agent
    this.socketPath = socketPath
    this.answerMs = answerMs
  }

  async ping(): Promise<void> {
    await this.ask('ping', () => this.docker.ping())
  }

  /** Makes a call that ends within `ms`, whatever the engine does. `raw`: errors as they came. */
  async ask<T>(
    doing: string,
    call: (signal: AbortSignal) => Promise<T>,
    { raw = false, ms = this.answerMs }: { raw?: boolean; ms?: number } = {}
  ): Promise<T> {
    if (this.#closed.signal.aborted) throw unreachable(this.socketPath, 'this engine was closed')
    const abort = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(noAnswer(this.socketPath, doing, ms))
        abort.abort()
      }, ms)
    })
    try {
      return await Promise.race([call(abort.signal), late])
    } catch (error) {
      throw raw ? error : await brumeErrorOf(error, doing, this.socketPath)
    } finally {
      clearTimeout(timer)
    }
  }

  /** Makes a call and takes the given statuses as success. */
  async unless(
    statuses: number[],
    doing: string,
    ms: number,
    call: (signal: AbortSignal) => Promise<unknown>
  ): Promise<void> {
    try {
      await this.ask(doing, call, { raw: true, ms })
    } catch (error) {
      const { status } = refusalOf(error)
      if (status !== null && statuses.includes(status)) return
      throw await brumeErrorOf(error, doing, this.socketPath)
    }
  }

  /** A request whose answer is read as it comes. Its signal ends with the answer's head. */
  async stream(
    path: string,
    options: Record<string, unknown>,
    abortSignal: AbortSignal
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = {
        path,
        method: 'GET',
        isStream: true,
        statusCodes: { 200: true, 404: 'not there', 500: 'server error' },
        abortSignal,
        options
      }
      this.docker.modem.dial(request, (error, response) =>
        error ? reject(error) : resolve(response as IncomingMessage)
      )
    })
  }

  /** Aborts with `signal`, and when the connection is closed. */
  untilClosed(signal?: AbortSignal): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#closed.signal]) : this.#closed.signal
  }

  close(): void {
    this.#closed.abort()
    this.#agent.destroy()
  }
}

/** docker-modem inspects its options to full depth before every request, sockets included. */
class QuietAgent extends Agent {
  [inspect.custom](): string {
    return 'Agent'
  }
}
