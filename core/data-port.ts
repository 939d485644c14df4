/**
 * The data port: TLS over TCP, for flows between nodes of one LAN, where it carries many times what
 * UDX does. Who is at the other end is known by its key before a byte of a flow goes over: Noise says
 * so and gives the secret that TLS then runs on, with no certificates. Noise alone would do, but its
 * stream is JavaScript, and its cipher none that processors have instructions for.
 */
import { constants, createCipheriv } from 'node:crypto'
import net, { type Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import type { KeyPair } from './crypto.ts'
import type { Address } from './dht.ts'
import { sentenceOf } from './errors.ts'
import { greet, greeted } from './greeting.ts'
import type { Logger } from './logger.ts'

export interface DataConnection {
  /** Who is at the other end. */
  key: Buffer
  socket: TLSSocket
}

export interface DataPortOptions {
  keyPair: KeyPair
  /** Whether a key is a member's; others are hung up on. */
  allows: (key: Buffer) => boolean
  onConnection: (connection: DataConnection) => void
  log: Logger
}

/** From the first byte to the last of a handshake. */
const GREETING_MS = 3_000
/** Handshakes under way with whoever knocks. */
const MAX_GREETINGS = 32
/** Encrypted, to know the faster cipher here: less than a millisecond, fifteen on the smallest. */
const TRIED_BYTES = 64 * 1024
const TRIES = 5
const AEAD = { authTagLength: 16 } as object
/** How long the socket is silent before the system asks whether anybody is there. */
const KEEP_ALIVE_MS = 10_000

export class DataPort {
  readonly #options: DataPortOptions
  readonly #server: net.Server
  readonly #greeting = new Set<Socket>()
  readonly #connections = new Set<DataConnection>()

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
  async dial(address: Address, key: Buffer, signal: AbortSignal): Promise<TLSSocket> {
    signal.throwIfAborted()
    const socket = net.connect({ host: address.host, port: address.port, noDelay: true })
    const abort = (): void => void socket.destroy(new Error('nobody answered in time'))
    signal.addEventListener('abort', abort, { once: true })
    try {
      const connection = await this.#open(socket, async () => {
        const secret = await greet(socket, this.#options.keyPair, key)
        return { key, socket: await encryptDialled(socket, secret) }
      })
      return connection.socket
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Hangs up on who is allowed no more. */
  check(): void {
    for (const { key, socket } of this.#connections) {
      if (!this.#options.allows(key)) socket.destroy()
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#greeting) socket.destroy()
    for (const { socket } of this.#connections) socket.destroy()
    await closed
  }

  #onSocket(socket: Socket): void {
    const { keyPair, allows, onConnection, log } = this.#options
    if (this.#greeting.size >= MAX_GREETINGS) return void socket.destroy()
    this.#greeting.add(socket)
    this.#open(socket, async () => {
      const { key, secret } = await greeted(socket, keyPair, allows)
      return { key, socket: await encryptTaken(socket, secret) }
    })
      .then((secure) => onConnection(secure))
      .catch((error: unknown) => log.debug({ error: sentenceOf(error) }, 'a greeting failed'))
      .finally(() => this.#greeting.delete(socket))
  }

  async #open(socket: Socket, greeting: () => Promise<DataConnection>): Promise<DataConnection> {
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    // Told by its close.
    socket.on('error', () => {})
    const tooLong = (): void => void socket.destroy(new Error('its greeting takes too long'))
    const timer = setTimeout(tooLong, GREETING_MS)
    try {
      const connection = await greeting()
      if (connection.socket.destroyed) throw new Error('it hung up')
      this.#connections.add(connection)
      connection.socket.once('close', () => this.#connections.delete(connection))
      return connection
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Each proves itself by the secret alone: no certificate is believed, whoever signed it. */
const TLS = {
  minVersion: 'TLSv1.3',
  ca: [],
  ALPNProtocols: ['brume-flows']
} satisfies tls.TlsOptions
const IDENTITY = 'brume'

async function encryptDialled(raw: Socket, psk: Buffer): Promise<TLSSocket> {
  const socket = tls.connect({
    ...TLS,
    ciphers: ciphers(),
    socket: raw,
    pskCallback: () => ({ psk, identity: IDENTITY }),
    // Both for who shows a certificate instead. The first, whatever the environment allows.
    rejectUnauthorized: true,
    checkServerIdentity: () => new Error('it does not know the secret')
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.on('error', reject)
    socket.once('close', () => reject(raw.errored ?? new Error('it hung up')))
  })
  return socket
}

async function encryptTaken(raw: Socket, psk: Buffer): Promise<TLSSocket> {
  const server = tls.createServer({
    ...TLS,
    ciphers: ciphers(),
    // An end that is slow with AES says so by its order, and has its way.
    secureOptions: constants.SSL_OP_PRIORITIZE_CHACHA,
    pskCallback: () => psk
  })
  return new Promise((resolve, reject) => {
    server.once('secureConnection', (socket) => {
      socket.on('error', reject)
      resolve(socket)
    })
    server.once('tlsClientError', reject)
    raw.once('close', () => reject(raw.errored ?? new Error('it hung up')))
    server.emit('connection', raw)
  })
}

let order: string | null = null

/** Where processors know AES it is the faster one; where they do not, by far the slower. */
function ciphers(): string {
  const [aes, chacha] = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']
  order ??=
    msOf('aes-128-gcm', 16) < msOf('chacha20-poly1305', 32)
      ? `${aes}:${chacha}`
      : `${chacha}:${aes}`
  return `${order}:PSK`
}

/** The least of a few tries, for what else the machine does. */
function msOf(name: string, keyBytes: number): number {
  const bytes = Buffer.alloc(TRIED_BYTES)
  const tries = Array.from({ length: TRIES }, () => {
    const from = performance.now()
    createCipheriv(name, Buffer.alloc(keyBytes), Buffer.alloc(12), AEAD).update(bytes)
    return performance.now() - from
  })
  return Math.min(...tries)
}
