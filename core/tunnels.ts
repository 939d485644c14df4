/**
 * Tunnels: one data connection to each node that flows go to, opened by the first of them and apart
 * from replication, so that neither holds up the other. Every flow is a stream of its session
 * (`core/mux.ts`). While flows go over a lesser way, a better one is
 * looked for.
 */
import type { Duplex } from 'node:stream'
import { bootNow } from './clock.ts'
import { unreachable } from './channel.ts'
import { BrumeError, errorText, remoteError, sentenceOf } from './errors.ts'
import { join, reset } from './flow-stream.ts'
import type { TunnelBody } from './gossip-records.ts'
import { MAX_BODY_BYTES, Mux, Refused, type Flow } from './mux.ts'
import type { Path } from './swarm.ts'
import { Ways, type WaysOptions, type Wire } from './tunnel-ways.ts'

export type TunnelsOptions = WaysOptions

/** Gives the near end of a flow that comes in. What it throws is told to who asked. */
export type Acceptor = (from: string, head: unknown, signal: AbortSignal) => Promise<Duplex>

/** A data connection, as people see it. */
export interface TunnelReport {
  node: string
  /** Opened by this end. */
  mine: boolean
  path: Path
  /** Under way. */
  flows: number
  sinceMs: number
}

const MAX_FLOWS = 4_096
const MAX_HEAD_BYTES = 6 * 1024
const MAX_REASON_CHARS = 2_000
/** Until who was asked for a flow says yes or no; it dials what is near it, and may be far off. */
const ANSWER_MS = 20_000
const PING_MS = 2_000
/** A connection is over when a ping is unanswered for so many looks, and nothing else heard meanwhile. */
const SILENT_LOOKS = 4
const LOOK_MS = 1_000
/** Without a flow. */
const IDLE_MS = 120_000
const BETTER_EVERY_MS = 15_000

interface Tunnel {
  wire: Wire
  mux: Mux
  /** Boot ms. */
  since: number
}

interface Outgoing extends Tunnel {
  /** When a better way was last looked for; Infinity while that goes on. */
  soughtAt: number
  /** A ping is under way. */
  isPinged: boolean
}

export class Tunnels {
  readonly #options: TunnelsOptions
  readonly #ways: Ways
  /** Where new flows go, by node. */
  readonly #out = new Map<string, Promise<Outgoing>>()
  /** Those that ended but for their last flows among them. */
  readonly #outgoing = new Set<Outgoing>()
  readonly #incoming = new Set<Tunnel>()
  #accept: Acceptor | null = null
  #tick: NodeJS.Timeout | null = null
  #closed = false

  constructor(options: TunnelsOptions) {
    this.#options = options
    this.#ways = new Ways(options, (wire) => this.#serve(wire))
  }

  /** What to gossip, so that others find it. */
  async listen(wantedPort: number): Promise<TunnelBody> {
    this.#tick = setInterval(() => this.#onTick(), PING_MS)
    this.#tick.unref()
    return this.#ways.listen(wantedPort)
  }

  /** Registers what opens the near ends of flows that come in. Until then they are refused. */
  answer(accept: Acceptor): void {
    this.#accept = accept
  }

  /**
   * A flow to a node. `head` tells its acceptor what it is for: JSON, at most 6 KiB.
   *
   * @throws BrumeError NODE_UNREACHABLE, TOO_LARGE, or what the acceptor threw.
   */
  async open(node: string, head: unknown): Promise<Duplex> {
    const text = Buffer.from(JSON.stringify(head))
    if (text.length > MAX_HEAD_BYTES) {
      throw new BrumeError('TOO_LARGE', 'what a flow is for takes more than 6 KiB to say')
    }
    const isOld = this.#out.has(node)
    const tunnel = await this.#tunnelTo(node)
    try {
      return await this.#begin(tunnel, text)
    } catch (error) {
      if (error instanceof BrumeError) throw error
      this.#drop(tunnel)
      if (!isOld) throw unreachable(node, error)
    }
    // It may have been dead for long, with no flow on it to notice.
    try {
      return await this.#begin(await this.#tunnelTo(node), text)
    } catch (error) {
      throw error instanceof BrumeError ? error : unreachable(node, error)
    }
  }

  /** Of those to one node that this end opened, the first is what new flows take. */
  report(): TunnelReport[] {
    const now = bootNow()
    const rowOf =
      (mine: boolean) =>
      ({ wire, mux, since }: Tunnel) => ({
        node: wire.node,
        mine,
        path: wire.path(),
        flows: mux.size,
        sinceMs: Math.round(now - since)
      })
    const outgoing = [...this.#outgoing].reverse()
    return [...outgoing.map(rowOf(true)), ...[...this.#incoming].map(rowOf(false))]
  }

  /** Hangs up on who is no member any more. */
  review(): void {
    this.#ways.review()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#tick !== null) clearInterval(this.#tick)
    for (const { mux } of [...this.#outgoing, ...this.#incoming]) mux.destroy()
    await this.#ways.close()
  }

  #tunnelTo(node: string): Promise<Outgoing> {
    const known = this.#out.get(node)
    if (known !== undefined) return known
    const opening = this.#ways.dial(node).then((wire) => this.#take(wire))
    this.#out.set(node, opening)
    opening.catch(() => this.#forget(node, opening))
    return opening
  }

  #take(wire: Wire): Outgoing {
    const mux = new Mux({
      line: wire.line,
      isInitiator: true,
      // Who dialled asks.
      onOpen: (flow) =>
        refuse(flow, new BrumeError('NO_FLOWS', 'flows are asked for by who dialled')),
      onClose: (error) => {
        this.#log(wire, error)
        this.#drop(tunnel)
      }
    })
    const tunnel: Outgoing = { wire, mux, since: bootNow(), soughtAt: -Infinity, isPinged: false }
    this.#outgoing.add(tunnel)
    if (this.#closed) mux.destroy()
    return tunnel
  }

  #log({ node }: Wire, error: Error): void {
    this.#options.log.debug({ node, error: sentenceOf(error) }, 'a tunnel ended')
  }

  #drop(tunnel: Outgoing, why?: Error): void {
    this.#outgoing.delete(tunnel)
    this.#retire(tunnel)
    tunnel.mux.destroy(why)
  }

  /** Its flows go on; new ones take another. */
  #retire(tunnel: Outgoing): void {
    const { node } = tunnel.wire
    const current = this.#out.get(node)
    void current?.then((used) => {
      if (used === tunnel) this.#forget(node, current)
    })
    tunnel.mux.end()
  }

  #forget(node: string, which: Promise<Outgoing>): void {
    if (this.#out.get(node) === which) this.#out.delete(node)
  }

  #onTick(): void {
    const now = bootNow()
    for (const tunnel of this.#outgoing) {
      const idleMs = tunnel.mux.size > 0 ? 0 : now - tunnel.mux.usedAt
      if (idleMs === 0) this.#ping(tunnel)
      if (idleMs < BETTER_EVERY_MS) this.#seekBetter(tunnel, now)
      else if (idleMs > IDLE_MS) this.#retire(tunnel)
    }
  }

  /**
   * One at a time: on a slow line it waits for what is under way already, and is no sign of death as
   * long as that goes over.
   */
  #ping(tunnel: Outgoing): void {
    const { mux, wire } = tunnel
    if (tunnel.isPinged || mux.closed) return
    tunnel.isPinged = true
    let heard = wire.heard()
    // Looks and no clock: this process may stand still itself.
    let silent = 0
    const timer = setInterval(() => {
      silent = wire.heard() === heard ? silent + 1 : 0
      heard = wire.heard()
      if (silent < SILENT_LOOKS && !mux.closed) return
      clearInterval(timer)
      this.#drop(tunnel, new Error('nobody answers any more'))
    }, LOOK_MS)
    timer.unref()
    mux.ping(() => {
      clearInterval(timer)
      tunnel.isPinged = false
    })
  }

  #seekBetter(tunnel: Outgoing, now: number): void {
    const { wire, mux } = tunnel
    const { node } = wire
    if (wire.near || mux.isEnding || now - tunnel.soughtAt < BETTER_EVERY_MS) return
    tunnel.soughtAt = Infinity
    this.#ways
      .dial(node, wire.path().kind === 'relayed' ? 'direct' : 'near')
      .then((better) => {
        if (this.#closed) return better.line.destroy()
        this.#retire(tunnel)
        this.#out.set(node, Promise.resolve(this.#take(better)))
      })
      .catch((error: unknown) =>
        this.#options.log.debug({ node, error: sentenceOf(error) }, 'no better way for a tunnel')
      )
      .finally(() => (tunnel.soughtAt = bootNow()))
  }

  /** @throws BrumeError what the acceptor threw; any other error: the tunnel is of no use. */
  async #begin(tunnel: Outgoing, head: Buffer): Promise<Duplex> {
    const late = new AbortController()
    const timer = setTimeout(() => {
      // Whether anybody is there is not for one flow to say.
      late.abort(unreachable(tunnel.wire.node, new Error('no answer')))
    }, ANSWER_MS)
    const flow = tunnel.mux.open(head, late.signal)
    this.#ping(tunnel)
    try {
      return await flow
    } catch (error) {
      throw error instanceof Refused ? remoteError(error.said.toString()) : error
    } finally {
      clearTimeout(timer)
    }
  }

  #serve(wire: Wire): void {
    if (this.#closed) return wire.line.destroy()
    /** Their askers may have gone meanwhile. */
    let answering = 0
    const mux = new Mux({
      line: wire.line,
      isInitiator: false,
      onOpen: (flow, head) => {
        // Its other end hears of it by `join`.
        flow.on('error', () => {})
        if (Math.max(mux.size, answering) > MAX_FLOWS) {
          return refuse(flow, new BrumeError('TOO_MANY_FLOWS', 'there are too many flows'))
        }
        answering++
        void this.#serveFlow(wire.node, flow, head).finally(() => answering--)
      },
      onClose: (error) => {
        this.#incoming.delete(tunnel)
        this.#log(wire, error)
      }
    })
    const tunnel = { wire, mux, since: bootNow() }
    this.#incoming.add(tunnel)
  }

  async #serveFlow(from: string, flow: Flow, head: Buffer): Promise<void> {
    const gone = new AbortController()
    const abort = (): void => gone.abort()
    flow.once('close', abort)
    try {
      if (!this.#options.isMember(from)) {
        throw new BrumeError('FORBIDDEN', 'only members open flows')
      }
      if (this.#accept === null) throw new BrumeError('NO_FLOWS', 'this node takes no flows yet')
      const end = await this.#accept(from, readHead(head), gone.signal)
      flow.off('close', abort)
      if (flow.destroyed) return reset(end)
      flow.accept()
      join(flow, end)
    } catch (error) {
      if (!flow.destroyed) refuse(flow, error)
    }
  }
}

const refuse = (flow: Flow, error: unknown): void =>
  flow.refuse(Buffer.from(errorText(error, MAX_REASON_CHARS)).subarray(0, MAX_BODY_BYTES))

function readHead(head: Buffer): unknown {
  try {
    return JSON.parse(head.toString()) as unknown
  } catch {
    throw new BrumeError('BAD_FLOW', 'what a flow is for cannot be read')
  }
}
