/**
 * Tunnels: one data connection to each node that flows go to, opened by the first of them and apart
 * from replication, so that neither holds up the other. Every flow is a stream of HTTP/2 on it, which
 * brings back-pressure, half-close and reset. While flows go over a lesser way, a better one is
 * looked for.
 */
import http2 from 'node:http2'
import type { Duplex } from 'node:stream'
import { bootNow } from './clock.ts'
import { unreachable } from './channel.ts'
import { BrumeError, errorText, remoteError, sentenceOf } from './errors.ts'
import { endsWhole, goesOut, join, reset } from './flow-stream.ts'
import type { TunnelBody } from './gossip-records.ts'
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

/** Unread bytes of one flow at its receiving end; one that stands still holds up no other. */
const FLOW_WINDOW = 4 * 1024 * 1024
const TUNNEL_WINDOW = 64 * FLOW_WINDOW
const FRAME_BYTES = 256 * 1024
const MAX_FLOWS = 4_096
/** Megabytes. By its own limit node:http2 refuses the three hundredth busy flow. */
const MEMORY_MB = 1_024
const MAX_HEAD_BYTES = 8 * 1024
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
const PATH = '/flow'
const HEAD = 'brume-head'
const REFUSED = 'brume-refused'

const SETTINGS = { initialWindowSize: FLOW_WINDOW, maxFrameSize: FRAME_BYTES }

interface Tunnel {
  wire: Wire
  flows: number
  /** Boot ms. */
  since: number
  usedAt: number
}

interface Outgoing extends Tunnel {
  session: http2.ClientHttp2Session
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
    const text = Buffer.from(JSON.stringify(head)).toString('base64url')
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
    const rowOf = (mine: boolean) => (tunnel: Tunnel) => ({
      node: tunnel.wire.node,
      mine,
      path: tunnel.wire.path(),
      flows: tunnel.flows,
      sinceMs: Math.round(now - tunnel.since)
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
    for (const { session } of this.#outgoing) session.destroy()
    for (const { wire } of this.#incoming) wire.duplex.destroy()
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
    const { node } = wire
    // Before node:http2 notices, by which all flows would end well.
    wire.duplex.once('close', () => session.destroy(new Error('the connection is gone')))
    const session = http2.connect('http://peer', {
      createConnection: () => wire.duplex,
      settings: { ...SETTINGS, enablePush: false },
      maxSessionMemory: MEMORY_MB,
      peerMaxConcurrentStreams: MAX_FLOWS
    })
    session.once('connect', () => session.setLocalWindowSize(TUNNEL_WINDOW))
    const now = bootNow()
    const fresh = { flows: 0, since: now, usedAt: now, soughtAt: -Infinity, isPinged: false }
    const tunnel: Outgoing = { wire, session, ...fresh }
    this.#outgoing.add(tunnel)
    session.on('error', (error) =>
      this.#options.log.debug({ node, error: sentenceOf(error) }, 'a tunnel ended with an error')
    )
    session.once('close', () => this.#drop(tunnel))
    if (this.#closed) session.destroy()
    return tunnel
  }

  #drop(tunnel: Outgoing, why?: Error): void {
    this.#outgoing.delete(tunnel)
    tunnel.session.destroy(why)
    // By itself it is open until what was written has gone over, which it may never do.
    tunnel.wire.duplex.destroy()
    this.#retire(tunnel)
  }

  /** Its flows go on; new ones take another. */
  #retire(tunnel: Outgoing): void {
    const { node } = tunnel.wire
    const current = this.#out.get(node)
    void current?.then((used) => {
      if (used === tunnel) this.#forget(node, current)
    })
    if (!tunnel.session.destroyed) tunnel.session.close()
  }

  #forget(node: string, which: Promise<Outgoing>): void {
    if (this.#out.get(node) === which) this.#out.delete(node)
  }

  #onTick(): void {
    const now = bootNow()
    for (const tunnel of this.#outgoing) {
      const idleMs = tunnel.flows > 0 ? 0 : now - tunnel.usedAt
      if (idleMs === 0) this.#ping(tunnel)
      if (idleMs < BETTER_EVERY_MS) this.#seekBetter(tunnel, now)
      else if (idleMs > IDLE_MS) this.#retire(tunnel)
    }
  }

  /**
   * One at a time: on a slow line it waits for what was written before it, and is no sign of death as
   * long as that goes over.
   */
  #ping(tunnel: Outgoing): void {
    const { session, wire } = tunnel
    if (tunnel.isPinged || session.destroyed || session.connecting) return
    tunnel.isPinged = true
    let heard = wire.heard()
    // Looks and no clock: this process may stand still itself.
    let silent = 0
    const timer = setInterval(() => {
      silent = wire.heard() === heard ? silent + 1 : 0
      heard = wire.heard()
      if (silent < SILENT_LOOKS) return
      clearInterval(timer)
      this.#drop(tunnel, new Error('nobody answers any more'))
    }, LOOK_MS)
    timer.unref()
    session.ping(() => {
      clearInterval(timer)
      tunnel.isPinged = false
    })
  }

  #seekBetter(tunnel: Outgoing, now: number): void {
    const { wire } = tunnel
    const { node } = wire
    if (wire.near || tunnel.session.closed || now - tunnel.soughtAt < BETTER_EVERY_MS) return
    tunnel.soughtAt = Infinity
    this.#ways
      .dial(node, wire.path().kind === 'relayed' ? 'direct' : 'near')
      .then((better) => {
        if (this.#closed) return void better.duplex.destroy()
        this.#retire(tunnel)
        this.#out.set(node, Promise.resolve(this.#take(better)))
      })
      .catch((error: unknown) =>
        this.#options.log.debug({ node, error: sentenceOf(error) }, 'no better way for a tunnel')
      )
      .finally(() => (tunnel.soughtAt = bootNow()))
  }

  /** @throws BrumeError what the acceptor threw; any other error: the tunnel is of no use. */
  #begin(tunnel: Outgoing, head: string): Promise<Duplex> {
    const { session } = tunnel
    if (session.destroyed || session.closed) return Promise.reject(new Error('the tunnel closed'))
    const headers = { ':method': 'POST', ':path': PATH, [HEAD]: head }
    const flow = session.request(headers, { endStream: false, waitForTrailers: true })
    endsWhole(flow)
    goesOut(flow, tunnel.wire.outlet)
    tunnel.flows++
    flow.once('close', () => {
      tunnel.flows--
      tunnel.usedAt = bootNow()
    })
    this.#ping(tunnel)
    return new Promise((resolve, reject) => {
      const lost = (error?: Error): void => {
        clearTimeout(timer)
        reject(error ?? new Error('the tunnel closed'))
      }
      const timer = setTimeout(() => {
        // Whether anybody is there is not for one flow to say.
        lost(unreachable(tunnel.wire.node, new Error('no answer')))
        reset(flow)
      }, ANSWER_MS)
      flow.on('error', lost)
      flow.once('close', lost)
      flow.once('response', (headers) => {
        clearTimeout(timer)
        flow.off('close', lost)
        if (headers[':status'] === 200) return resolve(flow)
        reset(flow)
        const said = Buffer.from(String(headers[REFUSED] ?? ''), 'base64url')
        reject(remoteError(said.toString()))
      })
    })
  }

  #serve(wire: Wire): void {
    if (this.#closed) return void wire.duplex.destroy()
    const now = bootNow()
    const tunnel = { wire, flows: 0, since: now, usedAt: now }
    this.#incoming.add(tunnel)
    let session: http2.Http2Session | null = null
    wire.duplex.once('close', () => {
      this.#incoming.delete(tunnel)
      session?.destroy(new Error('the connection is gone'))
    })
    const server = http2.createServer({
      settings: { ...SETTINGS, maxConcurrentStreams: MAX_FLOWS },
      maxSessionMemory: MEMORY_MB
    })
    server.on('session', (opened) => {
      session = opened
      opened.setLocalWindowSize(TUNNEL_WINDOW)
    })
    server.on('sessionError', (error) =>
      this.#options.log.debug({ error: sentenceOf(error) }, 'a tunnel ended with an error')
    )
    server.on('stream', (flow, headers) => {
      tunnel.flows++
      flow.once('close', () => tunnel.flows--)
      goesOut(flow, wire.outlet)
      // Its other end hears of it by `join`.
      flow.on('error', () => {})
      void this.#serveFlow(wire.node, flow, headers)
    })
    server.emit('connection', wire.duplex)
  }

  async #serveFlow(
    from: string,
    flow: http2.ServerHttp2Stream,
    headers: http2.IncomingHttpHeaders
  ): Promise<void> {
    const gone = new AbortController()
    const abort = (): void => gone.abort()
    flow.once('close', abort)
    try {
      if (!this.#options.isMember(from)) {
        throw new BrumeError('FORBIDDEN', 'only members open flows')
      }
      if (headers[':path'] !== PATH || this.#accept === null) {
        throw new BrumeError('NO_FLOWS', 'this node takes no flows yet')
      }
      const end = await this.#accept(from, readHead(headers[HEAD]), gone.signal)
      flow.off('close', abort)
      if (flow.destroyed) return reset(end)
      endsWhole(flow)
      flow.respond({ ':status': 200 }, { waitForTrailers: true })
      join(flow, end)
    } catch (error) {
      if (flow.destroyed || flow.headersSent) return
      const refused = Buffer.from(errorText(error, MAX_REASON_CHARS)).toString('base64url')
      flow.respond({ ':status': 503, [REFUSED]: refused }, { endStream: true })
    }
  }
}

function readHead(header: string | string[] | undefined): unknown {
  try {
    if (typeof header !== 'string' || header.length > MAX_HEAD_BYTES) throw new Error()
    return JSON.parse(Buffer.from(header, 'base64url').toString()) as unknown
  } catch {
    throw new BrumeError('BAD_FLOW', 'what a flow is for cannot be read')
  }
}
