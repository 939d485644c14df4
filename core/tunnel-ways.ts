/**
 * The ways a data connection can take to a member, tried in this order: TCP to an address of this
 * LAN, then UDX, punched, and where that fails or takes long, through a relay. Who is at the other
 * end is a member, known by the data key it gossips.
 */
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { createKeyPair, fromId, hash, toId, type KeyPair } from './crypto.ts'
import { unreachable } from './channel.ts'
import { DataPort } from './data-port.ts'
import { sentenceOf } from './errors.ts'
import type { NetBody, TunnelBody } from './gossip-records.ts'
import { isOnLan } from './lan.ts'
import { FarLine, NearLine, type Line } from './line.ts'
import type { Logger } from './logger.ts'
import type { Connection, Path } from './swarm.ts'

/** What the swarm does for tunnels. */
export interface WideArea {
  /** Address the data port is bound to: any, or loopback for a mesh of this machine. */
  readonly host: string
  /** Takes connections to `keyPair`. */
  takeData(
    keyPair: KeyPair,
    allows: (key: Buffer) => boolean,
    onConnection: (connection: Connection) => void
  ): void
  /** To the data key of a member, punched where that is needed. */
  dialData(node: string, key: Buffer, keyPair: KeyPair): Connection
  /**
   * Through a relay that is none of `without`, to be never punched, and which; null where none is
   * known or needed.
   */
  dialRelayed(
    node: string,
    key: Buffer,
    keyPair: KeyPair,
    without: readonly string[]
  ): { connection: Connection; relay: string } | null
  pathOf(connection: Connection, node: string): Path
}

export interface WaysOptions {
  /** This node's own. */
  keyPair: KeyPair
  wide: WideArea
  isMember: (node: string) => boolean
  /** What nodes say of their data keys and ports. */
  said: () => ReadonlyMap<string, { body: TunnelBody }>
  saidNet: (node: string) => NetBody | null
  log: Logger
}

/** A data connection to a member. */
export interface Wire {
  node: string
  line: Line
  path(): Path
  /** Another number whenever something shows that the other end is there. */
  heard(): number
  /** Over TCP on a LAN, than which there is no better. */
  near: boolean
}

/** A LAN answers in a millisecond, or is not there. */
const NEAR_MS = 1_000
const FAR_MS = 12_000
/** A punch at random ports takes longer; a relay carries on meanwhile. */
const PUNCH_MS = 40_000
/** A punch that works at all has mostly worked within it. */
const HEAD_START_MS = 1_000
/** A relay that is there has mostly answered within it. */
const RELAY_MS = 3_000
const MAX_RELAYS = 3

export class Ways {
  readonly #options: WaysOptions
  readonly #keys: KeyPair
  readonly #port: DataPort
  readonly #far = new Set<Connection>()
  readonly #onWire: (wire: Wire) => void

  /** `onWire` gets what others opened. */
  constructor(options: WaysOptions, onWire: (wire: Wire) => void) {
    this.#options = options
    this.#onWire = onWire
    // What it is dialled at for flows is never the key of its links.
    this.#keys = createKeyPair(hash('data', options.keyPair.secretKey))
    this.#port = new DataPort({
      keyPair: this.#keys,
      allows: (key) => this.#memberOf(key) !== null,
      onConnection: ({ key, socket }) => {
        const node = this.#memberOf(key)
        if (node === null) socket.destroy()
        else onWire(nearWire(node, socket))
      },
      log: options.log
    })
  }

  /** What to gossip. */
  async listen(wantedPort: number): Promise<TunnelBody> {
    const { wide } = this.#options
    const port = await this.#port.listen(wide.host, wantedPort)
    wide.takeData(
      this.#keys,
      (key) => this.#memberOf(key) !== null,
      (connection) => this.#onFar(connection)
    )
    return { key: toId(this.#keys.publicKey), port }
  }

  /**
   * `only` leaves out ways: all but the LAN, or those through relays.
   *
   * @throws BrumeError NODE_UNREACHABLE
   */
  async dial(node: string, only: 'near' | 'direct' | 'any' = 'any'): Promise<Wire> {
    const { isMember, said, log } = this.#options
    const body = said().get(node)?.body
    const key = body === undefined ? null : fromId(body.key)
    if (body === undefined || key === null || !isMember(node)) throw unreachable(node)
    try {
      return nearWire(node, await this.#dialNear(node, key, body.port))
    } catch (error) {
      if (only === 'near') throw unreachable(node, error)
      log.debug({ node, error: sentenceOf(error) }, 'no data connection on the LAN')
    }
    try {
      const connection = await (only === 'direct'
        ? opened(this.#options.wide.dialData(node, key, this.#keys), PUNCH_MS)
        : this.#dialFar(node, key))
      return this.#farWire(node, connection)
    } catch (error) {
      throw unreachable(node, error)
    }
  }

  /** Hangs up on who is no member any more. */
  review(): void {
    this.#port.check()
    for (const connection of this.#far) {
      if (this.#memberOf(connection.remotePublicKey) === null) connection.destroy()
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#far) connection.destroy()
    await this.#port.close()
  }

  #memberOf(key: Buffer): string | null {
    const id = toId(key)
    for (const [node, { body }] of this.#options.said()) {
      if (body.key === id) return this.#options.isMember(node) ? node : null
    }
    return null
  }

  /** All its addresses on this LAN at once; the first that answers is taken. */
  async #dialNear(node: string, key: Buffer, port: number | null): Promise<TLSSocket> {
    const interfaces = networkInterfaces()
    const hosts = (this.#options.saidNet(node)?.addresses ?? [])
      .map((address) => address.slice(0, address.lastIndexOf(':')))
      .filter((host) => isOnLan(host, interfaces))
    if (port === null || hosts.length === 0) throw new Error('it has no address on this LAN')
    const signal = AbortSignal.timeout(NEAR_MS)
    return firstOf(hosts.map((host) => this.#port.dial({ host, port }, key, signal)))
  }

  /** Punched, which has a head start, or through a relay: the first that opens is taken. */
  async #dialFar(node: string, key: Buffer): Promise<Connection> {
    const { wide, log } = this.#options
    const direct = wide.dialData(node, key, this.#keys)
    const punched = opened(direct, FAR_MS)
    const early = Promise.race([punched, sleep(HEAD_START_MS, null, { ref: false })])
    const first = await early.catch((error: unknown) => {
      log.debug({ node, error: sentenceOf(error) }, 'no data connection without a relay')
      return null
    })
    return first ?? firstOf([this.#dialRelayed(node, key), punched])
  }

  /** One that was a relay a moment ago may be gone: where it keeps quiet another is asked as well. */
  async #dialRelayed(node: string, key: Buffer): Promise<Connection> {
    const asked: string[] = []
    const dials: Promise<Connection>[] = []
    while (asked.length < MAX_RELAYS) {
      const next = this.#options.wide.dialRelayed(node, key, this.#keys, asked)
      if (next === null) break
      asked.push(next.relay)
      const dial = opened(next.connection, FAR_MS)
      dials.push(dial)
      const patience = sleep(RELAY_MS, null, { ref: false })
      const soon = Promise.race([dial, Promise.any(dials), patience])
      if ((await soon.catch(() => null)) !== null) break
    }
    if (dials.length === 0) throw new Error('no relay is known')
    return firstOf(dials)
  }

  #onFar(connection: Connection): void {
    const { log } = this.#options
    connection.on('error', (error: Error) =>
      log.debug({ error: sentenceOf(error) }, 'a data connection ended with an error')
    )
    const node = this.#memberOf(connection.remotePublicKey)
    if (node === null) connection.destroy()
    else this.#onWire(this.#farWire(node, connection))
  }

  #farWire(node: string, connection: Connection): Wire {
    this.#far.add(connection)
    connection.once('close', () => this.#far.delete(connection))
    const path = (): Path => this.#options.wide.pathOf(connection, node)
    // Acknowledgements too, of what goes the other way.
    const heard = (): number => connection.rawStream?.packetsReceived ?? 0
    return { node, line: new FarLine(connection), path, heard, near: false }
  }
}

function nearWire(node: string, socket: TLSSocket): Wire {
  const { remoteAddress = '', remotePort = 0 } = socket
  const path: Path = { kind: 'lan', relayKey: null, address: `${remoteAddress}:${remotePort}` }
  // What goes away in bulk shows it as well: for long to nobody it would not.
  const heard = (): number => socket.bytesRead + Math.floor(socket.bytesWritten / BULK_BYTES)
  return { node, line: new NearLine(socket), path: () => path, heard, near: true }
}

const BULK_BYTES = 64 * 1024

/** The first that is there; those that come later are hung up on. @throws why one is not, if none is */
async function firstOf<C extends { destroy(): unknown }>(dials: Promise<C>[]): Promise<C> {
  try {
    const first = await Promise.any(dials)
    for (const dial of dials) {
      const spare = (other: C): void => {
        if (other !== first) other.destroy()
      }
      dial.then(spare, () => {})
    }
    return first
  } catch (error) {
    throw error instanceof AggregateError ? error.errors.at(-1) : error
  }
}

/** Resolves once it can be written to. Rejects where it ends before, or after `ms`. */
async function opened(connection: Connection, ms: number): Promise<Connection> {
  const timer = setTimeout(() => connection.destroy(new Error('no answer')), ms)
  try {
    await new Promise<void>((resolve, reject) => {
      let failure = new Error('it hung up')
      const onClose = (): void => reject(failure)
      connection.on('error', (error: Error) => (failure = error))
      connection.once('close', onClose)
      connection.once('open', () => {
        connection.off('close', onClose)
        resolve()
      })
    })
    return connection
  } finally {
    clearTimeout(timer)
  }
}
