/**
 * Takes HTTP requests from outside to replicas, by host and path: each over a flow of its own, so that
 * each finds a replica that serves. Nothing is sent twice.
 */
import http, { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { join, reset } from '../../core/flow-stream.ts'
import type { Logger } from '../../core/logger.ts'
import { hostOf, pathOf, ruleFor, ruleKey, type Rule } from './exposed.ts'
import { pair } from './pair.ts'

export interface HttpProxyComponents {
  /** Of this port, now. */
  rules: () => readonly Rule[]
  /** As `Flows.open`. */
  open: (rule: Rule) => Promise<(client: Duplex) => void>
  log: Logger
}

/** What a request has to send in time, and how much of it. */
export const HTTP_LIMITS = {
  maxHeaderSize: 16 * 1024,
  /** Bodies take as long as they take, while they move. */
  requestTimeout: 0,
  keepAliveTimeout: 60_000,
  /** How often heads that take too long are looked for. */
  connectionsCheckingInterval: 1_000
}
/** Nothing goes over a connection for so long: it is ended. */
export const IDLE_MS = 300_000

/** Lets a server of `node:http` or `node:https` answer. */
export function serveHttp(server: Server, it: HttpProxyComponents): void {
  server.timeout = IDLE_MS
  server.on('request', (request, response) => void answer(request, response, it))
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {})
    if (request.headers.upgrade?.toLowerCase() === 'websocket') {
      void upgrade(request, { socket, head }, it)
    } else {
      ignoreUpgrade(request, socket, it)
    }
  })
}

/** What is said in place of a replica: status and one sentence. */
type Refusal = [status: number, sentence: string]

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  it: HttpProxyComponents
): Promise<void> {
  const refuse = ([status, sentence]: Refusal): void => {
    if (response.headersSent) return void response.destroy()
    // What is left of the request is not waited for.
    response.writeHead(status, { ...TEXT, connection: 'close' }).end(`${sentence}\n`)
  }
  const found = await reach(request, it)
  if ('refusal' in found) return refuse(found.refusal)
  const { rule, flow } = found
  if (response.destroyed) return reset(flow)
  const asked = ask(request, flow, bodyHeaders(request))
  if (asked === null) return refuse(BAD_REQUEST)
  asked.on('error', (error) => {
    it.log.debug({ to: ruleKey(rule), error: sentenceOf(error) }, 'a request came to nothing')
    refuse([502, `${ruleKey(rule)} did not answer`])
  })
  asked.once('response', (answered) => {
    response.writeHead(statusOf(answered), answered.statusMessage, throughHeaders(answered))
    pipeline(answered, response, (error) => {
      if (error) response.destroy()
    })
  })
  asked.once('close', () => {
    // It may have answered before it was told all.
    request.unpipe(asked)
    request.resume()
  })
  response.once('close', () => {
    if (!response.writableFinished) asked.destroy()
  })
  request.once('error', () => asked.destroy())
  request.pipe(asked)
}

async function upgrade(
  request: IncomingMessage,
  { socket, head }: { socket: Duplex; head: Buffer },
  it: HttpProxyComponents
): Promise<void> {
  const refuse = ([status, sentence]: Refusal): void => {
    const lines = [...Object.entries(TEXT), ['connection', 'close']].map((pair) => pair.join(': '))
    socket.end(`${statusLine(status)}${lines.join('\r\n')}\r\n\r\n${sentence}\n`)
  }
  const found = await reach(request, it)
  if ('refusal' in found) return refuse(found.refusal)
  const { rule, flow } = found
  if (socket.destroyed) return reset(flow)
  const wish = ['Connection', 'Upgrade', 'Upgrade', 'websocket']
  const asked = ask(request, flow, wish)
  if (asked === null) return refuse(BAD_REQUEST)
  const onClose = (): void => void asked.destroy()
  socket.once('close', onClose)
  asked.once('error', () => refuse([502, `${ruleKey(rule)} did not answer`]))
  asked.once('response', (answered) => {
    answered.once('end', () => socket.off('close', onClose))
    const headers = [...throughHeaders(answered), 'Connection', 'close']
    socket.write(`${statusLine(statusOf(answered), answered.statusMessage)}${asLines(headers)}\r\n`)
    pipeline(answered, socket, () => {})
  })
  asked.once('upgrade', (answered, inner, innerHead) => {
    socket.off('close', onClose)
    if ('setTimeout' in socket) (socket as typeof request.socket).setTimeout(0)
    inner.on('error', () => {})
    socket.write(`${statusLine(101, answered.statusMessage)}${asLines(answered.rawHeaders)}\r\n`)
    if (innerHead.length > 0) socket.write(innerHead)
    if (head.length > 0) inner.write(head)
    join(socket, inner)
  })
  asked.end()
}

/** Who asks for another protocol than we speak is answered in HTTP, as it has to expect. */
function ignoreUpgrade(request: IncomingMessage, socket: Duplex, it: HttpProxyComponents): void {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(request.socket)
  response.once('finish', () => socket.end())
  const { 'content-length': length = '0', 'transfer-encoding': coded } = request.headers
  if (length === '0' && coded === undefined) return void answer(request, response, it)
  const sentence = 'of all upgrades only that to websocket is done'
  response.writeHead(501, { ...TEXT, connection: 'close' }).end(`${sentence}\n`)
}

/** A flow to whoever a request is for. */
async function reach(
  { url = '', headers: { host = '' } }: IncomingMessage,
  { rules, open, log }: HttpProxyComponents
): Promise<{ refusal: Refusal } | { rule: Rule; flow: Duplex }> {
  const path = pathOf(url)
  if (path === null) return { refusal: BAD_REQUEST }
  const rule = ruleFor(rules(), hostOf(host), path)
  if (rule === null) return { refusal: [404, 'nothing is exposed here for this host and path'] }
  try {
    const attach = await open(rule)
    const [flow, end] = pair()
    flow.on('error', () => {})
    end.on('error', () => {})
    attach(end)
    return { rule, flow }
  } catch (error) {
    const key = ruleKey(rule)
    log.debug({ to: key, error: sentenceOf(error) }, 'nobody took a request')
    const code = error instanceof BrumeError ? error.code : ''
    if (code === 'NO_REPLICA' || code === 'UNKNOWN_SERVICE') {
      return { refusal: [503, `no replica of ${key} is up and healthy now`] }
    }
    return { refusal: [502, `no replica of ${key} can be reached now`] }
  }
}

/** null where that is no request that could be sent. */
function ask(
  request: IncomingMessage,
  flow: Duplex,
  more: readonly string[]
): http.ClientRequest | null {
  const { method = 'GET', url = '/', socket } = request
  const { host = '' } = request.headers
  const headers = [
    ...['Host', host, ...throughHeaders(request), ...more],
    ...['X-Forwarded-For', socket.remoteAddress?.replace(/^::ffff:/, '') ?? ''],
    ...['X-Forwarded-Proto', 'encrypted' in socket ? 'https' : 'http', 'X-Forwarded-Host', host]
  ]
  try {
    return http.request({ method, path: url, headers, createConnection: () => flow })
  } catch {
    reset(flow)
    return null
  }
}

/** How long its body is, in words of our own: what it said of its connection is no business of them. */
function bodyHeaders({ method = 'GET', headers }: IncomingMessage): string[] {
  if (headers['transfer-encoding'] !== undefined) return ['Transfer-Encoding', 'chunked']
  const length = headers['content-length']
  if (length !== undefined) return ['Content-Length', length]
  return ['POST', 'PUT', 'PATCH'].includes(method) ? ['Content-Length', '0'] : []
}

/** Of one connection, or ours to say. */
const OWN = [
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade', 'expect', 'forwarded'],
  ...['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']
]
const OWN_OF_REQUESTS = [...OWN, 'host', 'content-length']

/** Names and values in turn. */
function throughHeaders(message: IncomingMessage): string[] {
  const named = (message.headers.connection ?? '').toLowerCase().split(',')
  const own = message.method === undefined || message.method === null ? OWN : OWN_OF_REQUESTS
  const mine = new Set([...own, ...named.map((name) => name.trim())])
  if (own === OWN) mine.delete('content-length')
  const { rawHeaders } = message
  const through: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [rawHeaders[i], rawHeaders[i + 1]]
    if (!mine.has(name.toLowerCase())) through.push(name, value)
  }
  return through
}

const BAD_REQUEST: Refusal = [400, 'this is no request for a path']
const TEXT = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' }

const statusOf = ({ statusCode = 502 }: IncomingMessage): number => statusCode

const statusLine = (status: number, message = http.STATUS_CODES[status] ?? ''): string =>
  `HTTP/1.1 ${status} ${message}\r\n`

function asLines(headers: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`
  return lines
}
