/**
 * Relaying: a member that is openly reachable carries the encrypted packets of two others that
 * cannot reach each other, and sees only their keys and how much they say. Here the choice of a
 * relay, pure, and the service itself. Only members are served.
 */
import { Server as BlindRelayServer } from 'blind-relay'
import type { DhtServer } from 'hyperdht'
import type { Connection } from 'hyperswarm'
import { createKeyPair, hash, type KeyPair } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import type { MeshDht } from './dht.ts'
import { pairRank } from './dialer.ts'
import type { Logger } from './logger.ts'

/**
 * What a node's routers do to its packets: `open` none in the way; `easy` it keeps one port for all
 * peers; `symmetric` another port for each; `unknown` nobody out there has said.
 */
export type NatKind = 'open' | 'easy' | 'symmetric' | 'unknown'

/** The key pair of a node as a relay and towards relays: never that of its links. */
export const relayKeyPair = ({ secretKey }: KeyPair): KeyPair =>
  createKeyPair(hash('relay', secretKey))

export interface RelayChoice {
  id: string
  relayKey: string
  /** A link leads there now. */
  linked: boolean
  /** It says it has a link with the target. */
  linksTarget: boolean
}

/**
 * The relay for a dial, or null where none is needed or known. Two open or neighbouring ends need
 * none; others get one at once, so that a punch that takes long or never works delays nothing.
 */
export function relayFor(
  self: { id: string; nat: NatKind },
  target: { id: string; nat: NatKind; onMyLan: boolean },
  attempts: number,
  relays: readonly RelayChoice[]
): RelayChoice | null {
  const direct = target.onMyLan || self.nat === 'open' || target.nat === 'open'
  if (direct && attempts === 0) return null
  const rank = (relay: RelayChoice): number => Number(relay.linked) * 2 + Number(relay.linksTarget)
  const fit = relays.filter(({ id }) => id !== self.id && id !== target.id)
  const pair = self.id < target.id ? self.id + target.id : target.id + self.id
  fit.sort((a, b) => rank(b) - rank(a) || pairRank(pair, a.id) - pairRank(pair, b.id))
  return fit[0] ?? null
}

/** Streams it carries at once, two a pair. */
const MAX_STREAMS = 256

export interface RelayOptions {
  dht: MeshDht
  keyPair: KeyPair
  /** Whether a relay key belongs to a member. */
  allows: (key: Buffer) => boolean
  log: Logger
}

/** Serves members once started. */
export class Relay {
  readonly #options: RelayOptions
  readonly #relay: BlindRelayServer
  readonly #connections = new Set<Connection>()
  #server: DhtServer | null = null

  constructor(options: RelayOptions) {
    this.#options = options
    const { dht } = options
    this.#relay = new BlindRelayServer({
      createStream: (given) => dht.createRawStream({ ...given, framed: true })
    })
  }

  get serves(): boolean {
    return this.#server !== null
  }

  start(): void {
    if (this.#server !== null) return
    const { dht, keyPair, allows, log } = this.#options
    this.#server = dht.createServer(
      { firewall: (key) => !allows(key) || this.#isFull() },
      (connection) => this.#serve(connection)
    )
    this.#server.listen(keyPair).catch((error: unknown) => {
      log.warn({ error: sentenceOf(error) }, 'this node offers no relay')
      this.#server = null
    })
  }

  /** Hangs up on who is no member any more. */
  check(): void {
    for (const connection of this.#connections) {
      if (!this.#options.allows(connection.remotePublicKey)) connection.destroy()
    }
  }

  stop(): void {
    for (const connection of this.#connections) connection.destroy()
    // It unannounces, which may wait for a DHT that does not answer.
    this.#server?.close().catch((error: unknown) => {
      this.#options.log.debug({ error: sentenceOf(error) }, 'the relay was not unannounced')
    })
    this.#server = null
  }

  #isFull = (): boolean => this.#relay.stats.streams.active >= MAX_STREAMS

  #serve(connection: Connection): void {
    this.#connections.add(connection)
    const quiet = (error: Error): void =>
      this.#options.log.debug({ error: sentenceOf(error) }, 'a relayed connection ended')
    connection.on('error', quiet)
    connection.once('close', () => this.#connections.delete(connection))
    this.#relay.accept(connection, { id: connection.remotePublicKey }).on('error', quiet)
  }
}
