/** Listens for what virtual addresses stand for, and leads whoever connects into a flow. */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { sentenceOf } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { keyOf } from './virtual.ts'
import type { Target } from './names.ts'
import type { FlowHead } from './gate.ts'

export interface Wanted {
  target: Target
  port: number
}

export interface ListenersComponents {
  /** Where to listen. */
  address: string
  /** What a container at this address is; null where there is none of ours. */
  askerAt: (address: string) => Promise<FlowHead['from']>
  /** As `Flows.open`. */
  open: (target: Target, port: number, from: FlowHead['from']) => Promise<(client: Duplex) => void>
  log: Logger
}

export class Listeners {
  readonly #it: ListenersComponents
  readonly #servers = new Map<string, { server: net.Server; port: number }>()
  readonly #sockets = new Set<net.Socket>()

  constructor(components: ListenersComponents) {
    this.#it = components
  }

  /** For exactly these; flows of others go on. Gives the port of each. */
  async set(wanted: readonly Wanted[]): Promise<number[]> {
    const keys = new Set(wanted.map(keyFor))
    for (const [key, { server }] of this.#servers) {
      if (keys.has(key)) continue
      this.#servers.delete(key)
      server.close()
    }
    // A microservice can have a port twice.
    const ports = new Map<string, Promise<number>>()
    for (const one of wanted) {
      if (!ports.has(keyFor(one))) ports.set(keyFor(one), this.#listen(one))
    }
    return Promise.all(wanted.map((one) => ports.get(keyFor(one)) as Promise<number>))
  }

  async close(): Promise<void> {
    await this.set([])
    for (const socket of this.#sockets) socket.destroy()
  }

  async #listen(wanted: Wanted): Promise<number> {
    const known = this.#servers.get(keyFor(wanted))
    if (known !== undefined) return known.port
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      // Whoever it is joined to hears of it by the close.
      socket.on('error', () => {})
      void this.#lead(socket, wanted)
    })
    const port = await listen(server, this.#it.address)
    this.#servers.set(keyFor(wanted), { server, port })
    return port
  }

  async #lead(socket: net.Socket, { target, port }: Wanted): Promise<void> {
    const { askerAt, open, log } = this.#it
    try {
      const from = await askerAt(socket.remoteAddress ?? '')
      if (from === null) return void socket.resetAndDestroy()
      const attach = await open(target, port, from)
      attach(socket)
    } catch (error) {
      log.debug({ to: keyOf(target), port, error: sentenceOf(error) }, 'nobody took a flow')
      socket.resetAndDestroy()
    }
  }
}

const keyFor = ({ target, port }: Wanted): string => `${keyOf(target)}:${port}`

/** On a free port. */
export function listen(server: net.Server, address: string, wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(wanted, address, () => {
      server.off('error', reject)
      server.on('error', () => {})
      resolve((server.address() as net.AddressInfo).port)
    })
  })
}
