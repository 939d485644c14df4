/**
 * The data port: Noise over TCP, for flows between nodes of one LAN, where it carries four times
 * what UDX does. Who is at the other end is known by its key before a byte of a flow goes over. The
 * only door to secret-stream.
 */
import net, { type Socket } from 'node:net'
import NoiseSecretStream from '@hyperswarm/secret-stream'
import type { KeyPair } from './crypto.ts'
import type { Address } from './dht.ts'
import { sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'

export type NoiseConnection = NoiseSecretStream

export interface DataPortOptions {
  keyPair: KeyPair
  /** Whether a key is a member's; others are hung up on. */
  allows: (key: Buffer) => boolean
  onConnection: (connection: NoiseConnection) => void
  log: Logger
}

/** From the first byte to the last of a handshake. */
const GREETING_MS = 3_000
/** Handshakes under way with whoever knocks. */
const MAX_GREETINGS = 32
/** How long the socket is silent before the system asks whether anybody is there. */
const KEEP_ALIVE_MS = 10_000

export class DataPort {
  readonly #options: DataPortOptions
  readonly #server: net.Server
  readonly #greeting = new Set<Socket>()
  readonly #connections = new Set<NoiseConnection>()

  constructor(options: DataPortOptions) {
    this.#options = options
    this.#server = net.createServer({ noDelay: true }, (socket) => this.#onSocket(socket))
  }

  /** Binds `wanted`, or another port where that is taken. null where none can be had. */
  async listen(host: string, wanted: number): Promise<number | null> {
    for (const port of [wanted, 0]) {
      try {
        await new Promise<void>((resolve, reject) => {
          this.#server.once('error', reject)
          this.#server.listen(port, host, () => {
            this.#server.off('error', reject)
            resolve()
          })
        })
        this.#server.on('error', (error) =>
          this.#options.log.warn({ error: sentenceOf(error) }, 'the data port failed')
        )
        return (this.#server.address() as net.AddressInfo).port
      } catch (error) {
        this.#options.log.debug({ port, error: sentenceOf(error) }, 'a data port cannot be had')
      }
    }
    this.#options.log.warn({ host }, 'no port for data connections: they take UDP alone')
    return null
  }

  /** Rejects where nobody answers in time, or another than who has `key`. */
  async dial(address: Address, key: Buffer, signal: AbortSignal): Promise<NoiseConnection> {
    signal.throwIfAborted()
    const socket = net.connect({ host: address.host, port: address.port, noDelay: true })
    const abort = (): void => void socket.destroy(new Error('nobody answered in time'))
    signal.addEventListener('abort', abort, { once: true })
    try {
      const connection = await this.#greet(socket, true)
      if (!connection.remotePublicKey.equals(key)) {
        connection.destroy()
        throw new Error('another node answered')
      }
      return connection
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Hangs up on who is allowed no more. */
  check(): void {
    for (const connection of this.#connections) {
      if (!this.#options.allows(connection.remotePublicKey)) connection.destroy()
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#greeting) socket.destroy()
    for (const connection of this.#connections) connection.destroy()
    await closed
  }

  #onSocket(socket: Socket): void {
    const { allows, onConnection, log } = this.#options
    if (this.#greeting.size >= MAX_GREETINGS) return void socket.destroy()
    this.#greeting.add(socket)
    this.#greet(socket, false)
      .then((connection) => {
        if (allows(connection.remotePublicKey)) onConnection(connection)
        else connection.destroy()
      })
      .catch((error: unknown) => log.debug({ error: sentenceOf(error) }, 'a greeting failed'))
      .finally(() => this.#greeting.delete(socket))
  }

  async #greet(socket: Socket, isInitiator: boolean): Promise<NoiseConnection> {
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    const connection = new NoiseSecretStream(isInitiator, socket, {
      keyPair: this.#options.keyPair
    })
    let failure: Error = new Error('it hung up')
    connection.on('error', (error: Error) => (failure = error))
    const timer = setTimeout(
      () => connection.destroy(new Error('its greeting takes too long')),
      GREETING_MS
    )
    const opened = await connection.opened
    clearTimeout(timer)
    if (!opened) throw failure
    this.#connections.add(connection)
    connection.once('close', () => this.#connections.delete(connection))
    return connection
  }
}
