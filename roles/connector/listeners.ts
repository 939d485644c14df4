/** Listens in place of microservices, and leads whoever connects into a flow. */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { openDatagramPort } from '../../core/datagram-port.ts'
import { sentenceOf } from '../../core/errors.ts'
import { reset } from '../../core/flow-stream.ts'
import type { Logger } from '../../core/logger.ts'
import { keyOf } from './virtual.ts'
import type { Target } from './names.ts'
import type { FlowHead } from './gate.ts'

export interface Wanted {
  target: Target
  port: number
  /** TCP where it is not said. */
  protocol?: FlowHead['protocol']
  /** Whom it is for, where nobody else is told of it; else who connects is known by its address. */
  from?: NonNullable<FlowHead['from']>
  /** Where to listen; on any free port where it does not matter. */
  at?: number
}

export interface ListenersComponents {
  /** Where to listen. */
  address: string
  /** What a container at this address is; null where there is none of ours. */
  askerAt: (address: string) => Promise<FlowHead['from']>
  /** As `Flows.open`. */
  open: (
    target: Target,
    port: number,
    from: FlowHead['from'],
    protocol: FlowHead['protocol']
  ) => Promise<(client: Duplex) => void>
  log: Logger
}

export class Listeners {
  readonly #it: ListenersComponents
  readonly #servers = new Map<string, Listening>()
  readonly #sockets = new Set<net.Socket>()

  constructor(components: ListenersComponents) {
    this.#it = components
  }

  /** For exactly these; flows of others go on, but for those of UDP. Gives the port of each. */
  set(wanted: readonly Wanted[]): Promise<number[]> {
    this.keep(wanted)
    // A microservice can have a port twice.
    const ports = new Map<string, Promise<number>>()
    for (const one of wanted) {
      if (!ports.has(keyFor(one))) ports.set(keyFor(one), this.add(one))
    }
    return Promise.all(wanted.map((one) => ports.get(keyFor(one)) as Promise<number>))
  }

  /** Listens no more for others than these. */
  keep(wanted: readonly Wanted[]): void {
    const keys = new Set(wanted.map(keyFor))
    for (const [key, server] of this.#servers) {
      if (keys.has(key)) continue
      this.#servers.delete(key)
      server.close()
    }
  }

  close(): void {
    this.keep([])
    for (const socket of this.#sockets) socket.destroy()
  }

  /**
   * Gives the port it listens on for this one from now on; where it does so already, that is `at` no
   * matter. @throws as `net` and `dgram` do, EADDRINUSE among it
   */
  async add(wanted: Wanted): Promise<number> {
    const known = this.#servers.get(keyFor(wanted))
    if (known !== undefined) return known.port
    const server = await (wanted.protocol === 'udp' ? this.#openUdp(wanted) : this.#openTcp(wanted))
    this.#servers.set(keyFor(wanted), server)
    return server.port
  }

  async #openTcp(wanted: Wanted): Promise<Listening> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      // Whoever it is joined to hears of it by the close.
      socket.on('error', () => {})
      void this.#lead(socket, socket.remoteAddress ?? '', wanted)
    })
    const port = await listen(server, this.#it.address, wanted.at)
    return { port, close: () => server.close() }
  }

  #openUdp(wanted: Wanted): Promise<Listening> {
    return openDatagramPort({
      address: this.#it.address,
      port: wanted.at ?? 0,
      onClient: (client, address) => void this.#lead(client, address, wanted)
    })
  }

  async #lead(client: Duplex, address: string, wanted: Wanted): Promise<void> {
    const { askerAt, open, log } = this.#it
    const { target, port, protocol = 'tcp', from: known } = wanted
    try {
      const from = known ?? (await askerAt(address))
      if (from === null) return reset(client)
      const attach = await open(target, port, from, protocol)
      attach(client)
    } catch (error) {
      log.debug({ to: keyOf(target), port, error: sentenceOf(error) }, 'nobody took a flow')
      reset(client)
    }
  }
}

interface Listening {
  port: number
  close(): void
}

const keyFor = ({ target, port, protocol = 'tcp', from }: Wanted): string =>
  `${from?.application ?? ''}/${from?.microservice ?? ''} ${keyOf(target)}:${port}/${protocol}`

/** On a free port, unless another is wanted. */
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
