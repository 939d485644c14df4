/** HTTP on a unix socket: routes in, JSON, lines or events out. Knows no route by itself. */
import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import net from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import createRouter from 'find-my-way'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { ErrorJson, ProgressJson } from '../api.ts'
import { makeSocketDir } from '../paths.ts'
import { FLOW_PROTOCOL, VERSION } from '../version.ts'

export interface Route {
  method: 'GET' | 'POST' | 'DELETE'
  /** find-my-way's: `/applications/:application`. */
  path: string
  handle(request: ApiRequest): Promise<ApiAnswer>
}

export interface ApiRequest {
  params: Record<string, string>
  query: URLSearchParams
  /** @throws BrumeError BAD_REQUEST: not JSON; BODY_TOO_LARGE: more than 4 MiB. */
  json: <T>() => Promise<T>
  body: Readable
  /** Aborted when the client goes or the server closes. */
  signal: AbortSignal
}

export interface ServerEvent {
  event: string
  data: unknown
}

export interface LinesAnswer {
  /** Sent as application/x-ndjson, one a line, no faster than the client reads. */
  lines: AsyncIterable<unknown>
}

export interface EventsAnswer {
  /** Sent as text/event-stream, no faster than the client reads. */
  events: AsyncIterable<ServerEvent>
}

export interface FlowAnswer {
  /** Takes the connection of a client that asked for an upgrade to `brume-flow`, as bare bytes. */
  attach(client: Duplex): void
}

/** Anything else is the JSON of a 200. */
export type ApiAnswer =
  LinesAnswer | EventsAnswer | FlowAnswer | object | string | number | boolean | null

export interface ServeOptions {
  mode: number
  /** gid the socket is given to. */
  group?: number
  log: { error(fields: object, message: string): void }
  version?: string
  keepAliveMs?: number
}

export interface Server {
  /** Ends the streams, lets short answers finish, removes the socket. */
  close(): Promise<void>
}

const KEEP_ALIVE_MS = 15_000
const CLOSE_GRACE_MS = 1_000
const MAX_JSON_BYTES = 4 * 1024 * 1024

/**
 * Makes the socket's directory too.
 *
 * @throws BrumeError ALREADY_RUNNING: a daemon answers there; SOCKET_FAILED: the path cannot be
 * used; SOCKET_DIR_UNSAFE: others may write where it lies.
 */
export async function serve(path: string, routes: Route[], options: ServeOptions): Promise<Server> {
  const closing = new AbortController()
  const find = createFinder(routes)
  const server = http.createServer((request, response) => {
    // A connection kept alive for the client's next request must not keep a closing server.
    response.on('close', () => {
      if (closing.signal.aborted) setImmediate(() => server.closeIdleConnections())
    })
    void answer(request, response, find, closing.signal, options)
  })
  server.on('upgrade', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    void upgrade(request, client, head, find, closing.signal, options)
  })
  makeSocketDir(path, options)
  await removeStale(path)
  await listen(server, path, options)
  return {
    async close() {
      closing.abort(new Error('the daemon is stopping'))
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const force = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS)
      await closed
      clearTimeout(force)
    }
  }
}

/**
 * A progress stream: `run`'s reports as `progress`, then its value as `result`. What it throws
 * becomes the `error` event.
 */
export function withProgress<T>(
  run: (report: (message: string) => void) => Promise<T>
): EventsAnswer {
  return { events: progressEvents(run) }
}

async function* progressEvents<T>(
  run: (report: (message: string) => void) => Promise<T>
): AsyncGenerator<ServerEvent, void> {
  const waiting: ProgressJson[] = []
  let wake: () => void = () => {}
  let ended = false
  const work = run((message) => {
    waiting.push({ message })
    wake()
  }).finally(() => {
    ended = true
    wake()
  })
  // Seen here at once, thrown below in its turn: reports that came before it are sent first.
  work.catch(() => {})
  for (;;) {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      yield { event: 'progress', data: next }
    }
    if (ended) break
    await new Promise<void>((resolve) => {
      wake = resolve
      if (ended || waiting.length > 0) resolve()
    })
  }
  yield { event: 'result', data: await work }
}

interface Found {
  route: Route
  params: Record<string, string>
}

/** @throws BrumeError ROUTE_NOT_FOUND */
type Find = (method: string, path: string) => Found

function createFinder(routes: Route[]): Find {
  const router = createRouter({ ignoreTrailingSlash: true })
  // The router only finds: what it found is in its store.
  for (const route of routes) router.on(route.method, route.path, () => {}, route)
  return (method, path) => {
    const found = router.find(method as Route['method'], path)
    if (found === null) {
      throw new BrumeError('ROUTE_NOT_FOUND', `this daemon has no ${method} ${path}`, {
        next: 'use a command of the same version as the daemon'
      })
    }
    return { route: found.store as Route, params: found.params as Record<string, string> }
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  find: Find,
  closing: AbortSignal,
  options: ServeOptions
): Promise<void> {
  const gone = new AbortController()
  response.on('close', () => gone.abort(new Error('the client went away')))
  response.on('error', () => gone.abort(new Error('the client went away')))
  const signal = AbortSignal.any([gone.signal, closing])
  response.setHeader('brume-version', options.version ?? VERSION)
  response.setHeader('brume-pid', process.pid)
  const method = request.method ?? 'GET'
  const url = new URL(request.url ?? '/', 'http://brume')
  const at = `${method} ${url.pathname}`
  try {
    const { route, params } = find(method, url.pathname)
    const given = await route.handle({
      params,
      query: url.searchParams,
      json: <T>() => readJson(request) as Promise<T>,
      body: request,
      signal
    })
    const keepAliveMs = options.keepAliveMs ?? KEEP_ALIVE_MS
    if (isFlow(given))
      throw new BrumeError('BAD_REQUEST', `${at} wants an upgrade to ${FLOW_PROTOCOL}`)
    if (isLines(given)) await sendLines(response, given, signal, keepAliveMs, at, options.log)
    else if (isEvents(given))
      await sendEvents(response, given, signal, keepAliveMs, at, options.log)
    else sendJson(response, 200, given)
  } catch (error) {
    if (gone.signal.aborted) {
      if (!(error instanceof BrumeError) && error !== signal.reason) {
        options.log.error({ err: error }, `${at} failed after its client went away`)
      }
      return
    }
    const { json, status } = describeError(error, at, options.log)
    await discard(request)
    sendJson(response, status, json)
  }
}

/** A connection that becomes bare bytes; refused, it gets the JSON that says why. */
async function upgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  find: Find,
  closing: AbortSignal,
  options: ServeOptions
): Promise<void> {
  const gone = new AbortController()
  client.on('error', () => gone.abort())
  client.once('close', () => gone.abort())
  closing.addEventListener('abort', () => client.destroy(), { once: true, signal: gone.signal })
  const method = request.method ?? 'GET'
  const url = new URL(request.url ?? '/', 'http://brume')
  const headers = [`brume-version: ${options.version ?? VERSION}`, `brume-pid: ${process.pid}`]
  const say = (status: string, more: string[], body = ''): void => {
    if (client.destroyed) return
    client.write([`HTTP/1.1 ${status}`, ...headers, ...more, '', body].join('\r\n'))
  }
  try {
    const { route, params } = find(method, url.pathname)
    const given = await route.handle({
      params,
      query: url.searchParams,
      json: () => Promise.reject(noFlow()),
      body: request,
      signal: AbortSignal.any([gone.signal, closing])
    })
    if (!isFlow(given)) throw noFlow()
    say('101 Switching Protocols', ['connection: upgrade', `upgrade: ${FLOW_PROTOCOL}`])
    client.unshift(head)
    given.attach(client)
  } catch (error) {
    const { json, status } = describeError(error, `${method} ${url.pathname}`, options.log)
    const body = JSON.stringify(json)
    const length = `content-length: ${Buffer.byteLength(body)}`
    say(`${status} ${http.STATUS_CODES[status] ?? ''}`, ['connection: close', length], body)
    client.end()
  }
}

const noFlow = (): BrumeError =>
  new BrumeError('BAD_REQUEST', `nothing at this path is a ${FLOW_PROTOCOL}`)

/**
 * What is still coming is read and thrown away: a client that is cut off while it writes never
 * reads why. Bounded by the server's own time limit for a request.
 */
function discard(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    request.on('end', resolve)
    request.on('close', resolve)
    request.resume()
  })
}

const isLines = (given: ApiAnswer): given is LinesAnswer =>
  isIterable((given as LinesAnswer | null)?.lines)
const isFlow = (given: ApiAnswer): given is FlowAnswer =>
  typeof (given as FlowAnswer | null)?.attach === 'function'
const isEvents = (given: ApiAnswer): given is EventsAnswer =>
  isIterable((given as EventsAnswer | null)?.events)
const isIterable = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value ?? null))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

type Log = ServeOptions['log']

async function sendLines(
  response: ServerResponse,
  { lines }: LinesAnswer,
  signal: AbortSignal,
  keepAliveMs: number,
  at: string,
  log: Log
): Promise<void> {
  await stream(response, 'application/x-ndjson', lines, signal, {
    keepAliveMs,
    keepAlive: '\n',
    encode: (line) => `${JSON.stringify(line)}\n`,
    fail: (error) => `${JSON.stringify(describeError(error, at, log).json)}\n`
  })
}

async function sendEvents(
  response: ServerResponse,
  { events }: EventsAnswer,
  signal: AbortSignal,
  keepAliveMs: number,
  at: string,
  log: Log
): Promise<void> {
  const encode = ({ event, data }: ServerEvent): string =>
    `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
  await stream(response, 'text/event-stream', events, signal, {
    keepAliveMs,
    keepAlive: ': \n\n',
    encode,
    fail: (error) => encode({ event: 'error', data: describeError(error, at, log).json })
  })
}

interface Encoding<T> {
  keepAliveMs: number
  keepAlive: string
  encode: (value: T) => string
  /** The last thing sent. Logs what is not a BrumeError. */
  fail: (error: unknown) => string
}

async function stream<T>(
  response: ServerResponse,
  type: string,
  values: AsyncIterable<T>,
  signal: AbortSignal,
  encoding: Encoding<T>
): Promise<void> {
  response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' })
  response.flushHeaders()
  const timer = setInterval(() => {
    // A client that does not read gets no keepalive either: nothing may pile up for it.
    if (!response.writableNeedDrain) response.write(encoding.keepAlive)
  }, encoding.keepAliveMs)
  const iterator = values[Symbol.asyncIterator]()
  const stopped = aborted(signal)
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), stopped.promise])
      if (next === 'aborted' || next.done === true) break
      if (!response.write(encoding.encode(next.value))) await drained(response, signal)
    }
  } catch (error) {
    if (!signal.aborted) response.write(encoding.fail(error))
  } finally {
    clearInterval(timer)
    stopped.forget()
    // Not awaited: a generator that waits for its next value ends only when that comes.
    iterator.return?.().then(undefined, encoding.fail)
    response.end()
  }
}

function aborted(signal: AbortSignal): { promise: Promise<'aborted'>; forget: () => void } {
  let listener: () => void = () => {}
  const promise = new Promise<'aborted'>((resolve) => {
    listener = () => resolve('aborted')
    if (signal.aborted) resolve('aborted')
    else signal.addEventListener('abort', listener)
  })
  return { promise, forget: () => signal.removeEventListener('abort', listener) }
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (signal.aborted || !response.writableNeedDrain) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    response.on('drain', done)
    signal.addEventListener('abort', done)
  })
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Not destroyed on the way out: the client shall read why it was refused.
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_JSON_BYTES) {
      throw new BrumeError(
        'BODY_TOO_LARGE',
        `the request is larger than ${MAX_JSON_BYTES / 1024 / 1024} MiB`
      )
    }
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
  } catch (cause) {
    throw new BrumeError('BAD_REQUEST', `the request is not JSON: ${sentenceOf(cause)}`, { cause })
  }
}

function describeError(error: unknown, at: string, log: Log): { json: ErrorJson; status: number } {
  if (error instanceof BrumeError) {
    const { code, message, next, exitCode } = error
    return { json: { error: { code, message, next, exitCode } }, status: statusOf(error) }
  }
  log.error({ err: error }, `${at} failed`)
  return {
    status: 500,
    json: {
      error: {
        code: 'INTERNAL',
        message: `the daemon failed at ${at}: ${sentenceOf(error)}`,
        next: 'the daemon log in its data directory says where',
        exitCode: 1
      }
    }
  }
}

/** First match wins. People and the CLI go by `code`; the status is for other HTTP clients. */
const STATUSES: [RegExp, number][] = [
  [/^INTERNAL$/, 500],
  [/TOO_LARGE/, 413],
  [/NOT_FOUND|UNKNOWN_/, 404],
  [/FORBIDDEN|DENIED|NOT_ALLOWED/, 403],
  [/ALREADY|TAKEN|CONFLICT|AMBIGUOUS|NO_MESH|NOT_JOINED/, 409],
  [/UNREACHABLE|OFFLINE|NOT_READY|UPGRADE_NEEDED/, 503],
  [/TIMEOUT|TIMED_OUT/, 504]
]

function statusOf(error: BrumeError): number {
  const known = STATUSES.find(([code]) => code.test(error.code))
  if (known) return known[1]
  return error.exitCode === 3 ? 504 : 400
}

/** The file of a daemon that was killed is in the way; that of one that runs is its own. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat) return
  if (!stat.isSocket()) {
    throw new BrumeError('SOCKET_FAILED', `${path} is in the way of the socket: it is no socket`, {
      next: `look what it is, and remove it`
    })
  }
  if (await answers(path)) {
    throw new BrumeError('ALREADY_RUNNING', `a brume daemon already runs on ${path}`)
  }
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      else reject(socketFailed(path, error))
    })
  })
}

async function listen(server: http.Server, path: string, options: ServeOptions): Promise<void> {
  const ready = new Promise<void>((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new BrumeError('ALREADY_RUNNING', `a brume daemon already runs on ${path}`)
          : socketFailed(path, error)
      )
    )
    server.on('listening', () => resolve())
  })
  // Node binds before `listen` returns: nobody can connect between that and the chmod.
  const mask = process.umask(0o177)
  try {
    server.listen(path)
  } finally {
    process.umask(mask)
  }
  await ready
  server.on('error', (error) => options.log.error({ err: error }, `the socket ${path} failed`))
  try {
    if (options.group !== undefined) chownSync(path, -1, options.group)
    chmodSync(path, options.mode)
  } catch (error) {
    server.close()
    throw socketFailed(path, error)
  }
}

function socketFailed(path: string, cause: unknown): BrumeError {
  return new BrumeError('SOCKET_FAILED', `cannot open the socket ${path}: ${sentenceOf(cause)}`, {
    cause
  })
}
