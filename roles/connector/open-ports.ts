/** Ports of this machine that are open for microservices, and who comes in by them. */
import http from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import type { SecureContext, Server as TlsServer } from 'node:tls'
import { sentenceOf } from '../../core/errors.ts'
import { reset } from '../../core/flow-stream.ts'
import type { Logger } from '../../core/logger.ts'
import { Certificates, type Certificate } from './certificates.ts'
import { ruleFor, ruleKey, type OpenPort, type Fault, type Rule } from './exposed.ts'
import { HTTP_LIMITS, serveHttp } from './http-proxy.ts'

export interface OpenPortsComponents {
  /** As `Flows.open`, for who is outside. */
  open: (rule: Rule) => Promise<(client: Duplex) => void>
  log: Logger
  /** Where to listen; everywhere where it is missing. */
  address?: string
  /** How long what is under way may go on where a port is closed. */
  drainMs?: number
  /** How long the head of a request may take. */
  headMs?: number
}

/** Of one port; more would let outsiders take all the memory of this node. */
const MAX_CONNECTIONS = 1_000
const HANDSHAKE_MS = 10_000
const HEAD_MS = 10_000
const DRAIN_MS = 10_000
/** Both ends of a connection that says nothing are looked for after so long. */
const KEEP_ALIVE = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }

/** For whom a port is open. */
interface Serves {
  rules: readonly Rule[]
  certificates: ReadonlyMap<Rule, Certificate>
}

interface Door extends Serves {
  kind: string
  server: net.Server
  sockets: Set<net.Socket>
}

export class OpenPorts {
  readonly #it: OpenPortsComponents
  readonly #doors = new Map<number, Door>()
  readonly #certificates = new Certificates()
  #turn = 0

  constructor(components: OpenPortsComponents) {
    this.#it = components
  }

  /**
   * Opens exactly these; what came in by others may go on for a while. Gives what is not open, or not
   * as it should be, and why. Not before the last one has ended.
   */
  async set(wanted: readonly OpenPort[]): Promise<Fault[]> {
    const turn = ++this.#turn
    const faults: Fault[] = []
    const kinds = new Map(wanted.map((one) => [one.port, kindOf(one)]))
    for (const [port, door] of this.#doors) {
      if (kinds.get(port) !== door.kind) this.#shut(port, door)
    }
    for (const one of wanted) {
      const { certificates, problems } = await this.#certify(one)
      faults.push(...problems)
      const rules = one.tls ? one.rules.filter((rule) => certificates.has(rule)) : one.rules
      if (turn !== this.#turn) return faults
      const problem = await this.#openOne(one, { rules, certificates })
      if (problem === null) continue
      faults.push(
        ...rules.map((rule) => ({ port: one.port, rule, open: false, problem, rival: null }))
      )
    }
    this.#certificates.keep(wanted.flatMap(({ rules }) => rules.flatMap(({ tls }) => tls ?? [])))
    return faults
  }

  /** At once, and whoever came in by them with them. */
  close(): void {
    this.#turn++
    for (const [port, door] of this.#doors) {
      this.#shut(port, door)
      for (const socket of door.sockets) socket.destroy()
    }
  }

  /** Gives why it is not open. */
  async #openOne(one: OpenPort, serves: Serves): Promise<string | null> {
    const { port } = one
    const known = this.#doors.get(port)
    if (known !== undefined) {
      if (serves.rules.length === 0) this.#shut(port, known)
      else renew(known, serves)
      return null
    }
    if (serves.rules.length === 0) return null
    const turn = this.#turn
    let now: Serves = serves
    const server = await this.#serverFor(one, serves, () => now)
    const sockets = new Set<net.Socket>()
    const door: Door = { ...serves, kind: kindOf(one), sockets, server }
    now = door
    server.maxConnections = MAX_CONNECTIONS
    server.on('connection', (socket: net.Socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      socket.on('error', () => {})
    })
    try {
      await listen(server, port, this.#it.address)
    } catch (error) {
      return notOpen(port, error as NodeJS.ErrnoException)
    }
    if (turn === this.#turn) this.#doors.set(port, door)
    else server.close()
    return null
  }

  #shut(port: number, { server, sockets }: Door): void {
    this.#doors.delete(port)
    server.close()
    if ('closeIdleConnections' in server) (server as http.Server).closeIdleConnections()
    if (sockets.size === 0) return
    const late = setTimeout(() => {
      for (const socket of sockets) socket.destroy()
    }, this.#it.drainMs ?? DRAIN_MS)
    late.unref()
    server.once('close', () => clearTimeout(late))
  }

  async #certify({
    port,
    rules
  }: OpenPort): Promise<{ certificates: Map<Rule, Certificate>; problems: Fault[] }> {
    const certificates = new Map<Rule, Certificate>()
    const problems: Fault[] = []
    for (const rule of rules) {
      if (rule.tls === null) continue
      const { certificate, problem } = await this.#certificates.load(rule.tls)
      if (certificate !== null) certificates.set(rule, certificate)
      if (problem === null) continue
      const still = certificate === null ? '' : ': the certificate of before is used'
      problems.push({
        port,
        rule,
        open: certificate !== null,
        problem: `${problem}${still}`,
        rival: null
      })
    }
    return { certificates, problems }
  }

  async #serverFor(
    { protocol, tls }: OpenPort,
    serves: Serves,
    now: () => Serves
  ): Promise<net.Server> {
    const { open, log } = this.#it
    const proxy = { rules: () => now().rules, open, log }
    const { cert, key } = certificateOf(serves, '') ?? {}
    const secure = {
      cert,
      key,
      handshakeTimeout: HANDSHAKE_MS,
      SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void) =>
        done(null, certificateOf(now(), name)?.context)
    }
    if (protocol === 'http') {
      const options = { ...HTTP_LIMITS, ...KEEP_ALIVE, headersTimeout: this.#it.headMs ?? HEAD_MS }
      const server = tls
        ? (await import('node:https')).createServer({ ...options, ...secure })
        : http.createServer(options)
      serveHttp(server, proxy)
      return server
    }
    const lead = (socket: net.Socket): void => void leadIn(socket, proxy)
    const options = { ...KEEP_ALIVE, allowHalfOpen: true }
    if (!tls) return net.createServer(options, lead)
    const { createServer } = await import('node:tls')
    return createServer({ ...options, ...secure }, lead)
  }
}

const kindOf = ({ protocol, tls }: OpenPort): string => `${protocol}${tls ? ' tls' : ''}`

async function leadIn(
  socket: net.Socket,
  { rules, open, log }: Pick<OpenPortsComponents, 'open' | 'log'> & { rules: () => readonly Rule[] }
): Promise<void> {
  // Whoever it is joined to hears of it by the close.
  socket.on('error', () => {})
  const [rule] = rules()
  if (rule === undefined) return reset(socket)
  try {
    const attach = await open(rule)
    attach(socket)
  } catch (error) {
    log.debug({ to: ruleKey(rule), error: sentenceOf(error) }, 'nobody took a flow from outside')
    reset(socket)
  }
}

/** For a name that a client asks for; for one that asks for none, that of who has no host. */
function certificateOf({ rules, certificates }: Serves, name: string): Certificate | undefined {
  const all = new Map<Rule, Rule>(rules.map((rule) => [{ ...rule, path: null }, rule]))
  const found = ruleFor([...all.keys()], name.toLowerCase(), '/')
  const rule = found === null ? rules[0] : all.get(found)
  return rule && certificates.get(rule)
}

function renew(door: Door, { rules, certificates }: Serves): void {
  Object.assign(door, { rules, certificates })
  const first = certificateOf(door, '')
  if (first === undefined || !('setSecureContext' in door.server)) return
  ;(door.server as TlsServer).setSecureContext({ cert: first.cert, key: first.key })
}

function listen(server: net.Server, port: number, host: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, ...(host !== undefined && { host }) }, () => {
      server.off('error', reject)
      server.on('error', () => {})
      resolve()
    })
  })
}

function notOpen(port: number, error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE') return `another program has port ${port}`
  if (error.code === 'EACCES') return `only root opens port ${port}`
  return `port ${port} cannot be opened: ${sentenceOf(error)}`
}
