/**
 * Asks of one peer and streams to it: HTTP/2 from Node's core, inside the Noise connection that is
 * there. Flow control, cancelling and half-close come with it. Each end is client of one session.
 */
import http2 from 'node:http2'
import { Duplex, Readable } from 'node:stream'
import c from 'compact-encoding'
import type Protomux from 'protomux'
import type { Channel as MuxChannel } from 'protomux'
import { bootNow } from './clock.ts'
import { fromId } from './crypto.ts'
import { BrumeError, errorText, remoteError, sentenceOf } from './errors.ts'
import type { Link, Links } from './links.ts'
import type { Logger } from './logger.ts'
import { atLeast, type Role } from './state/state.ts'

/** Answers one path. A Readable is streamed; anything else is sent as JSON. */
export type Answer = (from: string, params: unknown, signal: AbortSignal) => Promise<unknown>

export interface ChannelOptions {
  /** This node's id. */
  self: string
  links: Links
  /** What the view says a peer is; null where it is no member. */
  roleOf(node: string): Role | null
  /** Connects to a member that no link leads to; rejects where that fails. */
  reach(node: string): Promise<Link>
  log: Logger
}

const PROTOCOL = 'brume/call/1'
const ASK_TIMEOUT_MS = 10_000
const MAX_BODY_BYTES = 256 * 1024
const MAX_STREAMS = 128

export class Channel {
  readonly #options: ChannelOptions
  readonly #answers = new Map<string, { least: Role; answer: Answer }>()
  readonly #sessions = new Map<Link, http2.ClientHttp2Session>()

  constructor(options: ChannelOptions) {
    this.#options = options
    options.links.on('up', (link) => this.#listen(link))
    options.links.on('down', (link) => {
      this.#sessions.get(link)?.destroy(linkGone())
      this.#sessions.delete(link)
    })
  }

  /** Registers what answers `path`, e.g. `runs`, to members that are at least `least`. */
  answer(path: string, answer: Answer, least: Role = 'viewer'): void {
    this.#answers.set(path, { least, answer })
  }

  /**
   * One question, one JSON answer.
   *
   * @throws BrumeError NODE_UNREACHABLE, or what the other side threw.
   */
  async ask<T>(node: string, path: string, params: unknown): Promise<T> {
    const stream = await this.#request(node, path, params, AbortSignal.timeout(ASK_TIMEOUT_MS))
    return JSON.parse(await readAll(stream)) as T
  }

  /** A question whose answer is a stream of bytes; destroying it ends it over there as well. */
  async open(node: string, path: string, params: unknown, signal: AbortSignal): Promise<Readable> {
    return this.#request(node, path, params, signal)
  }

  async #request(
    node: string,
    path: string,
    params: unknown,
    signal: AbortSignal
  ): Promise<http2.ClientHttp2Stream> {
    const body = Buffer.from(JSON.stringify(params ?? null))
    if (body.length > MAX_BODY_BYTES) throw tooLarge()
    const link = this.#options.links.get(node) ?? (await this.#options.reach(node))
    const request = this.#session(link).request(
      { ':method': 'POST', ':path': `/${path}` },
      { signal }
    )
    inUse(link, request)
    request.end(body)
    return new Promise((resolve, reject) => {
      const lost = (error?: unknown): void => reject(unreachable(node, error))
      request.once('error', lost)
      request.once('close', lost)
      request.once('response', (headers) => {
        request.off('close', lost)
        if (headers[':status'] === 200) return resolve(request)
        readAll(request)
          .then((text) => reject(remoteError(text)))
          .catch(reject)
      })
    })
  }

  #session(link: Link): http2.ClientHttp2Session {
    const old = this.#sessions.get(link)
    if (old !== undefined && !old.destroyed) return old
    const key = fromId(this.#options.self)
    const duplex = muxDuplex(link.mux, key)
    const session = http2.connect('http://peer', { createConnection: () => duplex })
    session.on('error', (error) =>
      this.#options.log.debug({ error: sentenceOf(error) }, 'a call session ended')
    )
    this.#sessions.set(link, session)
    return session
  }

  #listen(link: Link): void {
    const server = http2.createServer({ settings: { maxConcurrentStreams: MAX_STREAMS } })
    server.on('stream', (stream, headers) => {
      stream.on('error', () => stream.destroy())
      inUse(link, stream)
      void this.#serve(link.id, stream, String(headers[':path']).slice(1))
    })
    server.on('sessionError', (error) =>
      this.#options.log.debug({ error: sentenceOf(error) }, 'a call session ended')
    )
    const key = fromId(link.id)
    link.mux.pair({ protocol: PROTOCOL, id: key }, () => {
      server.emit('connection', muxDuplex(link.mux, key))
    })
  }

  async #serve(from: string, stream: http2.ServerHttp2Stream, path: string): Promise<void> {
    const aborted = new AbortController()
    stream.once('close', () => aborted.abort())
    try {
      const params = JSON.parse(await readAll(stream)) as unknown
      const known = this.#answers.get(path)
      if (known === undefined) {
        throw new BrumeError('UNKNOWN_CALL', `this node does not know the call "${path}"`)
      }
      const role = this.#options.roleOf(from)
      if (role === null || !atLeast(role, known.least)) {
        throw new BrumeError('FORBIDDEN', `the call "${path}" is not a ${role ?? 'stranger'}'s`)
      }
      const value = await known.answer(from, params, aborted.signal)
      if (stream.destroyed) {
        if (value instanceof Readable) value.destroy()
        return
      }
      stream.respond({ ':status': 200 })
      if (!(value instanceof Readable)) return void stream.end(JSON.stringify(value ?? null))
      value.once('error', () => stream.destroy())
      stream.once('close', () => value.destroy())
      value.pipe(stream)
    } catch (error) {
      if (stream.destroyed || stream.headersSent) return
      stream.respond({ ':status': 500 })
      stream.end(errorText(error))
    }
  }
}

/** A link with calls on it is not let go. */
function inUse(link: Link, stream: http2.Http2Stream): void {
  link.calls++
  stream.once('close', () => {
    link.calls--
    link.calledAt = bootNow()
  })
}

/** A protomux channel as a plain byte stream, with back-pressure both ways. */
function muxDuplex(mux: Protomux, id: Buffer | null): Duplex {
  let drained: (() => void) | null = null
  const channel: MuxChannel | null = mux.createChannel({
    protocol: PROTOCOL,
    id,
    // With an error: a stream cut short must not look like one that ended.
    onclose: () => void duplex.destroy(linkGone()),
    ondrain: () => {
      const go = drained
      drained = null
      go?.()
    }
  })
  const bytes = channel?.addMessage<Buffer>({
    encoding: c.raw,
    onmessage: (chunk) => void duplex.push(chunk)
  })
  const duplex: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      if (channel === null || channel.closed) return done(linkGone())
      if (bytes?.send(chunk) === true) return done()
      drained = () => done()
    },
    final(done) {
      channel?.close()
      done()
    },
    destroy(error, done) {
      channel?.close()
      done(error)
    }
  })
  if (channel === null) duplex.destroy(linkGone())
  else channel.open()
  return duplex
}

const linkGone = (): Error => new Error('the link is gone')

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

const tooLarge = (): BrumeError =>
  new BrumeError('TOO_LARGE', `a call is larger than ${MAX_BODY_BYTES / 1024} KiB`)

export const unreachable = (node: string, cause?: unknown): BrumeError =>
  new BrumeError('NODE_UNREACHABLE', `node ${node.slice(0, 8)} cannot be reached now`, {
    next: 'see `brume nodes` for who is alive',
    cause
  })
