/** Talks to the daemon of one data directory over its unix socket. */
import http from 'node:http'
import net from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { BrumeError, sentenceOf } from '../core/errors.ts'
import { decoded, splitLines } from '../core/lines.ts'
import type { ErrorJson, ProgressJson } from './api.ts'
import { checkSocketDir, dataDir, quoted, socketPath } from './paths.ts'
import { compatible, FLOW_PROTOCOL, VERSION } from './version.ts'

export interface ServerEvent {
  event: string
  data: unknown
}

/** How long a daemon may stay silent, streams included: they carry a sign of life every 15 s. */
const SILENT_MS = 60_000

/** What came of asking where nobody is, or where somebody is just leaving. */
const NOBODY = new Set(['DAEMON_NOT_RUNNING', 'DAEMON_LOST'])

export interface RequestOptions {
  signal?: AbortSignal
  /** Longest silence on the line, ms. */
  silentMs?: number
  /** Talks to daemons of other versions too. */
  anyVersion?: boolean
}

/**
 * Every method rejects with the daemon's own BrumeError, or with DAEMON_NOT_RUNNING,
 * DAEMON_FORBIDDEN, DAEMON_VERSION, DAEMON_SILENT or DAEMON_LOST.
 */
export interface Client {
  readonly dataDir: string
  /** The daemon's process, whatever it has to say; null where no daemon runs. */
  hello(): Promise<{ pid: number } | null>
  get<T>(path: string, options?: RequestOptions): Promise<T>
  post<T>(path: string, body?: unknown, options?: RequestOptions): Promise<T>
  delete<T>(path: string, options?: RequestOptions): Promise<T>
  /** POSTs bytes as they are. */
  upload<T>(path: string, type: string, body: Buffer, options?: RequestOptions): Promise<T>
  /** The objects of an answer in lines. */
  lines<T>(path: string, options?: RequestOptions): AsyncGenerator<T, void>
  /** A watch's events; ends when the daemon ends it. */
  events(path: string, options?: RequestOptions): AsyncGenerator<ServerEvent, void>
  /** Bare bytes to and from what the path names. */
  flow(path: string): Promise<Duplex>
  /** POSTs, tells each `progress` event, and gives the `result` event. */
  progress<T>(
    path: string,
    body: unknown,
    onProgress: (message: string) => void,
    options?: RequestOptions
  ): Promise<T>
}

export function createClient(
  dir: string,
  init: { version?: string; socket?: string } = {}
): Client {
  const version = init.version ?? VERSION
  const socket = init.socket ?? socketPath(dir)

  const send = async (message: Message, options: RequestOptions = {}): Promise<Answer> => {
    checkSocketDir(socket)
    const answer = await exchange(socket, dir, message, options)
    if (options.anyVersion !== true) checkVersion(answer.response, version, dir)
    const status = answer.response.statusCode ?? 0
    if (status < 200 || status > 299) throw errorOf(await whole(answer), status)
    return answer
  }
  const json = async <T>(message: Message, options?: RequestOptions): Promise<T> =>
    parse<T>(await whole(await send(message, options)))

  return {
    dataDir: dir,
    async hello() {
      try {
        checkSocketDir(socket)
        const answer = await exchange(socket, dir, { method: 'GET', path: '/' }, {})
        await whole(answer)
        checkVersion(answer.response, version, dir)
        return { pid: Number(answer.response.headers['brume-pid']) }
      } catch (error) {
        if (error instanceof BrumeError && NOBODY.has(error.code)) return null
        throw error
      }
    },

    get: (path, options) => json({ method: 'GET', path }, options),
    post: (path, body, options) => json(jsonMessage(path, body), options),
    delete: (path, options) => json({ method: 'DELETE', path }, options),
    upload: (path, type, body, options) => json({ method: 'POST', path, type, body }, options),

    async *lines<T>(path: string, options?: RequestOptions): AsyncGenerator<T, void> {
      const answer = await send({ method: 'GET', path }, options)
      for await (const line of textLines(answer)) {
        if (line === '') continue
        const value = parse<T>(line)
        if (isErrorJson(value)) throw toError(value)
        yield value
      }
    },

    async *events(path, options) {
      yield* serverEvents(await send({ method: 'GET', path }, options))
    },

    async flow(path) {
      checkSocketDir(socket)
      const answer = await upgrade(socket, dir, path)
      checkVersion(answer.response, version, dir)
      if (answer.flow !== null) return answer.flow
      throw errorOf(await whole(answer), answer.response.statusCode ?? 0)
    },

    async progress<T>(
      path: string,
      body: unknown,
      onProgress: (message: string) => void,
      options?: RequestOptions
    ): Promise<T> {
      for await (const { event, data } of serverEvents(
        await send(jsonMessage(path, body), options)
      )) {
        if (event === 'progress') onProgress((data as ProgressJson).message)
        if (event === 'result') return data as T
      }
      throw lost(dir)
    }
  }
}

/** A path with its query; values that are undefined are left out. */
export function withQuery(path: string, query: Record<string, string | undefined>): string {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) params.set(name, value)
  }
  const text = params.toString()
  return text === '' ? path : `${path}?${text}`
}

/** As a person would type it: with the data directory, unless a plain command means the same one. */
export function commandFor(dir: string, command: string): string {
  return dataDir() === dir ? `brume ${command}` : `brume ${command} --data ${quoted(dir)}`
}

interface Message {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  type?: string
  body?: Buffer
}

interface Answer {
  response: Readable & { statusCode?: number; headers: http.IncomingHttpHeaders }
  /** What a failure in the middle of the answer means. */
  explain: (error: unknown) => unknown
}

function jsonMessage(path: string, body: unknown): Message {
  if (body === undefined) return { method: 'POST', path }
  return { method: 'POST', path, type: 'application/json', body: Buffer.from(JSON.stringify(body)) }
}

function exchange(
  socket: string,
  dir: string,
  message: Message,
  options: RequestOptions
): Promise<Answer> {
  const silentMs = options.silentMs ?? SILENT_MS
  let silent = false
  const explain = (error: unknown): unknown => {
    if (options.signal?.aborted === true) return options.signal.reason
    if (silent) return tooSilent(dir, silentMs)
    return unreachable(error, dir, socket)
  }
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath: socket,
      method: message.method,
      path: message.path,
      agent: false,
      headers: {
        host: 'brume',
        ...(message.type === undefined ? {} : { 'content-type': message.type }),
        ...(message.method === 'POST' ? { 'content-length': message.body?.length ?? 0 } : {})
      },
      ...(options.signal ? { signal: options.signal } : {})
    })
    request.setTimeout(silentMs, () => {
      silent = true
      request.destroy(new Error('silent'))
    })
    request.on('error', (error) => reject(asError(explain(error))))
    request.on('response', (response) => resolve({ response, explain }))
    request.end(message.body)
  })
}

/** `flow` is null where the daemon refuses, which it says in the answer. */
function upgrade(
  socketPath: string,
  dir: string,
  path: string
): Promise<Answer & { flow: Duplex | null }> {
  const explain = (error: unknown): unknown => unreachable(error, dir, socketPath)
  return new Promise((resolve, reject) => {
    const request = http.request({
      method: 'GET',
      path,
      headers: { host: 'brume', connection: 'upgrade', upgrade: FLOW_PROTOCOL },
      // An end of one way is not the end of both. With an agent this would not be asked.
      createConnection: () => net.connect({ path: socketPath, allowHalfOpen: true })
    })
    request.on('error', (error) => reject(asError(explain(error))))
    request.on('response', (response) => resolve({ response, explain, flow: null }))
    request.on('upgrade', (response, flow: Duplex, head) => {
      flow.unshift(head)
      resolve({ response, explain, flow })
    })
    request.end()
  })
}

async function whole(answer: Answer): Promise<string> {
  let text = ''
  for await (const chunk of textChunks(answer)) text += chunk
  return text
}

async function* textChunks({ response, explain }: Answer): AsyncGenerator<string, void> {
  try {
    yield* decoded(response as AsyncIterable<Buffer>)
  } catch (error) {
    throw asError(explain(error))
  } finally {
    response.destroy()
  }
}

const textLines = (answer: Answer): AsyncGenerator<string, void> => splitLines(textChunks(answer))

async function* serverEvents(answer: Answer): AsyncGenerator<ServerEvent, void> {
  let event = 'message'
  let data = ''
  for await (const line of textLines(answer)) {
    if (line.startsWith('event: ')) event = line.slice(7)
    else if (line.startsWith('data: ')) data += line.slice(6)
    else if (line === '' && data !== '') {
      const value = parse<unknown>(data)
      if (event === 'error' && isErrorJson(value)) throw toError(value)
      yield { event, data: value }
      event = 'message'
      data = ''
    }
  }
}

function parse<T>(text: string): T {
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new BrumeError('DAEMON_GARBLED', 'the daemon sent an answer that is not JSON', { cause })
  }
}

function isErrorJson(value: unknown): value is ErrorJson {
  const error = (value as Partial<ErrorJson> | null)?.error
  return typeof error === 'object' && error !== null && typeof error.message === 'string'
}

export function toError({ error }: ErrorJson): BrumeError {
  return new BrumeError(error.code, error.message, {
    exitCode: error.exitCode,
    ...(error.next === null ? {} : { next: error.next })
  })
}

function errorOf(text: string, status: number): BrumeError {
  const value = parse<unknown>(text)
  if (isErrorJson(value)) return toError(value)
  return new BrumeError('DAEMON_GARBLED', `the daemon answered ${status} without saying why`)
}

function checkVersion(response: Answer['response'], own: string, dir: string): void {
  const theirs = response.headers['brume-version']
  if (typeof theirs === 'string' && compatible(theirs, own)) return
  response.destroy()
  throw new BrumeError(
    'DAEMON_VERSION',
    `the daemon of ${dir} is brume ${String(theirs ?? 'of an unknown version')}, this command is brume ${own}`,
    { next: `${commandFor(dir, 'down')} && ${commandFor(dir, 'up')}` }
  )
}

function unreachable(error: unknown, dir: string, socket: string): BrumeError {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR') {
    return new BrumeError('DAEMON_NOT_RUNNING', `no brume daemon runs for ${dir}`, {
      next: commandFor(dir, 'up'),
      cause: error
    })
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new BrumeError(
      'DAEMON_FORBIDDEN',
      `no permission to talk to the daemon of ${dir}: its socket ${socket} is for its owner, or for root and the group brume`,
      { next: 'sudo usermod -aG brume $USER and log in again, or use sudo', cause: error }
    )
  }
  return lost(dir, error)
}

function lost(dir: string, cause?: unknown): BrumeError {
  const why = cause === undefined ? '' : ` (${sentenceOf(cause)})`
  return new BrumeError('DAEMON_LOST', `the daemon of ${dir} went away mid-answer${why}`, {
    next: commandFor(dir, 'up'),
    cause
  })
}

function tooSilent(dir: string, silentMs: number): BrumeError {
  return new BrumeError(
    'DAEMON_SILENT',
    `the daemon of ${dir} has said nothing for ${Math.round(silentMs / 1000)} s`,
    { next: commandFor(dir, 'status'), exitCode: 3 }
  )
}

const asError = (value: unknown): Error =>
  value instanceof Error ? value : new Error(String(value))
