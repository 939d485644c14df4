/** Docker as the engine. The only file that knows dockerode. */
import { Agent } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { finished, pipeline } from 'node:stream'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type Docker from 'dockerode'
import { BrumeError } from '../../core/errors.ts'
import type {
  ContainerSpec,
  Engine,
  EngineContainer,
  EngineEvent,
  EngineInfo,
  EngineVolume,
  LogLine,
  Owner
} from './engine.ts'
import {
  bodyOf,
  engineContainerOf,
  LABEL,
  labelsOf,
  nameOf,
  ownLabels
} from './docker/container.ts'
import { demultiplexer } from './docker/demux.ts'
import { AppNetworks, isNetworkMissing } from './docker/networks.ts'
import { brumeErrorOf, noAnswer, refusalOf, unreachable } from './docker/refusal.ts'
import { ensureVolumes, listVolumes } from './docker/volumes.ts'

/** A plain call that takes longer was sent to a dead or frozen engine. */
const ANSWER_MS = 15_000
/** A start on a small board under load unpacks, mounts and forks. */
const START_MS = 60_000
/** How often to ask for a container whose name is taken and which is not there yet. */
const BEING_MADE_TRIES = 30
/** What `exec` keeps of a command's output. */
const OUTPUT_CHARS = 64 * 1024

/**
 * `socketPath` defaults to DOCKER_HOST (`unix://…`), else /var/run/docker.sock. Loads dockerode,
 * 17 MiB of RSS, at the first call and not before. `answerMs`: how long a plain call may take.
 *
 * @throws BrumeError ENGINE_UNREACHABLE, ENGINE_FORBIDDEN
 */
export async function openDocker(
  owner: Owner,
  options: { socketPath?: string; answerMs?: number } = {}
): Promise<Engine> {
  const connection = await connect(options.socketPath ?? defaultSocket())
  const engine = new DockerEngine(owner, connection, options.answerMs ?? ANSWER_MS)
  try {
    await engine.ping()
  } catch (error) {
    await engine.close()
    throw error
  }
  return engine
}

/**
 * Makes image `name` of the files in `tar`. `changes` are Dockerfile lines: `CMD ["/bin/sh"]`.
 *
 * @throws BrumeError ENGINE_UNREACHABLE, ENGINE_FORBIDDEN, ENGINE_FAILED
 */
export async function importImage(
  socketPath: string,
  tar: Readable,
  name: string,
  changes: string[] = []
): Promise<void> {
  const connection = await connect(socketPath)
  const [repo, tag] = repositoryAndTag(name)
  try {
    const options = { repo, tag, changes }
    const progress = await connection.docker.importImage(tar, options)
    await drainProgress(progress)
  } catch (error) {
    tar.destroy()
    throw await brumeErrorOf(error, `import image ${name}`, socketPath)
  } finally {
    connection.agent.destroy()
  }
}

/** Whether the engine behind `socketPath` answers, and has image `name`. */
export async function hasImage(socketPath: string, name: string): Promise<boolean> {
  const engine = await openDocker({ mesh: '', node: '' }, { socketPath })
  try {
    return await engine.hasImage(name)
  } finally {
    await engine.close()
  }
}

interface Connection {
  docker: Docker
  agent: Agent
  socketPath: string
}

class DockerEngine implements Engine {
  readonly kind = 'docker'
  private readonly owner: Owner
  private readonly docker: Docker
  private readonly agent: Agent
  private readonly socketPath: string
  private readonly answerMs: number
  /** Containers known to carry our labels, with their application: verbs on these need no look first. */
  private readonly ours = new Map<string, string>()
  private readonly networks: AppNetworks
  private readonly closed = new AbortController()

  constructor(owner: Owner, connection: Connection, answerMs: number) {
    this.owner = owner
    this.answerMs = answerMs
    this.docker = connection.docker
    this.agent = connection.agent
    this.socketPath = connection.socketPath
    this.networks = new AppNetworks(owner, this.docker, (...call) => this.ask(...call))
  }

  async ping(): Promise<void> {
    await this.ask('ping', () => this.docker.ping())
  }

  async info(): Promise<EngineInfo> {
    const [version, info] = await Promise.all([
      this.ask('tell its version', () => this.docker.version()),
      this.ask('tell its capacity', () => this.docker.info() as Promise<unknown>)
    ])
    const { NCPU, MemTotal } = info as { NCPU: number; MemTotal: number }
    return {
      kind: 'docker',
      version: version.Version,
      arch: version.Arch,
      cpus: NCPU,
      memoryBytes: MemTotal
    }
  }

  async hasImage(image: string): Promise<boolean> {
    try {
      await this.ask(`look for image ${image}`, () => this.docker.getImage(image).inspect(), {
        raw: true
      })
      return true
    } catch (error) {
      if (refusalOf(error).status === 404) return false
      throw await brumeErrorOf(error, `look for image ${image}`, this.socketPath)
    }
  }

  async pull(image: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    try {
      const options = { abortSignal: this.untilClosed(signal) }
      await drainProgress(await this.docker.pull(image, options))
    } catch (error) {
      signal?.throwIfAborted()
      const refusal = refusalOf(error)
      if (refusal.status === null) throw await brumeErrorOf(error, 'pull', this.socketPath)
      throw new BrumeError(
        'IMAGE_MISSING',
        `image ${image} is not on this node and could not be fetched: ${refusal.sentence}`,
        { next: NO_IMAGE, cause: error }
      )
    }
  }

  /** One call where nothing is in the way, and two for each named volume. */
  async create(spec: ContainerSpec): Promise<string> {
    const name = nameOf(this.owner, spec)
    if (spec.image === null) {
      throw new BrumeError('IMAGE_MISSING', 'Docker needs `image`', {
        next: 'give `image` in the application file'
      })
    }
    const { image } = spec
    try {
      await ensureVolumes(this.docker, (...call) => this.ask(...call), this.owner, spec)
      const container = await this.networks.using(spec.application, (network) => {
        const body = { _query: { name }, _body: bodyOf(this.owner, spec, image, network) }
        return this.ask(
          `create ${name}`,
          (abortSignal) => this.docker.createContainer({ ...body, abortSignal }),
          { raw: true }
        )
      })
      this.ours.set(container.id, spec.application)
      return container.id
    } catch (error) {
      const { status, sentence } = refusalOf(error)
      if (status !== null && status !== 409) await this.networks.tidy(spec.application)
      if (status === 409) return this.adopt(name, spec, error)
      if (status === 404 && /image/i.test(sentence)) {
        throw new BrumeError('IMAGE_MISSING', `image ${spec.image} is not on this node`, {
          next: NO_IMAGE,
          cause: error
        })
      }
      throw await brumeErrorOf(error, `create ${name}`, this.socketPath)
    }
  }

  async start(id: string): Promise<void> {
    await this.mustBeOurs(id)
    const doing = `start container ${short(id)}`
    try {
      await this.ask(doing, (abortSignal) => this.docker.getContainer(id).start({ abortSignal }), {
        raw: true,
        ms: START_MS
      })
    } catch (error) {
      if (refusalOf(error).status === 304) return
      const failure = await brumeErrorOf(error, doing, this.socketPath)
      // Somebody removed its network: it can start no more, and is made anew.
      if (isNetworkMissing(error)) await this.remove(id)
      throw failure
    }
  }

  async stop(id: string, graceMs: number): Promise<void> {
    if (!(await this.isOurs(id))) return
    const t = Math.ceil(graceMs / 1000)
    const ms = t * 1000 + this.answerMs
    await this.unless([304, 404], `stop container ${short(id)}`, ms, (abortSignal) =>
      this.docker.getContainer(id).stop({ t, abortSignal })
    )
  }

  async remove(id: string): Promise<void> {
    if (!(await this.isOurs(id))) return
    // 409: its removal is under way.
    const application = this.ours.get(id)
    await this.unless([404, 409], `remove container ${short(id)}`, START_MS, (abortSignal) =>
      this.docker.getContainer(id).remove({ force: true, v: true, abortSignal } as object)
    )
    this.ours.delete(id)
    if (application !== undefined) await this.networks.tidy(application)
  }

  async list(): Promise<EngineContainer[]> {
    const found = await this.ask('list containers', (abortSignal) =>
      this.docker.listContainers({
        all: true,
        filters: { label: ownLabels(this.owner) },
        abortSignal
      })
    )
    // The list has neither exit codes nor start times.
    const inspected = await Promise.all(found.map(({ Id }) => this.inspect(Id)))
    const containers = inspected.filter((each) => each !== null)
    this.ours.clear()
    const listed = containers.map(engineContainerOf)
    for (const { id, application } of listed) this.ours.set(id, application)
    return listed
  }

  async volumes(): Promise<EngineVolume[]> {
    return listVolumes(this.docker, (...call) => this.ask(...call), this.owner)
  }

  async clear(): Promise<void> {
    await this.networks.clear()
  }

  async logs(
    id: string,
    { follow, tail }: { follow: boolean; tail: number | null }
  ): Promise<Readable> {
    await this.mustBeOurs(id)
    const options = { follow, stdout: true, stderr: true, tail: tail ?? 'all' }
    const response = await this.ask(`read the log of container ${short(id)}`, (signal) =>
      this.openStream(`/containers/${id}/logs?`, options, signal)
    )
    const lines = demultiplexer()
    // Either end's close closes the other; the reader hears of errors through `lines`.
    pipeline(response, lines, () => undefined)
    return lines
  }

  /**
   * Docker cannot end a command it runs inside a container: one that times out may go on there.
   *
   * @throws BrumeError EXEC_TIMEOUT
   */
  async exec(
    id: string,
    command: string[],
    { timeoutMs }: { timeoutMs: number }
  ): Promise<{ exitCode: number; output: string }> {
    await this.mustBeOurs(id)
    const doing = `run ${command.join(' ')} in container ${short(id)}`
    const exec = await this.ask(doing, (abortSignal) =>
      this.docker
        .getContainer(id)
        .exec({ Cmd: command, AttachStdout: true, AttachStderr: true, abortSignal })
    )
    const stream = (await this.ask(doing, (abortSignal) =>
      exec.start({ abortSignal })
    )) as unknown as IncomingMessage
    const output = await collect(stream, timeoutMs, doing)
    const { ExitCode } = await this.ask(doing, () => exec.inspect())
    return { exitCode: ExitCode ?? -1, output }
  }

  async watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    if (signal.aborted) return
    const options = {
      // Docker answers a moment before it listens; `since` fills the gap.
      since: `${(Date.now() / 1000).toFixed(3)}000000`,
      // Images have no labels of ours to ask for: those of containers are looked at here.
      filters: JSON.stringify({
        type: ['container', 'image'],
        event: [...Object.keys(EVENTS), ...IMAGE_EVENTS]
      })
    }
    const response = await this.ask('watch', (abort) => this.openStream('/events?', options, abort))
    const stop = (): void => void response.destroy()
    const until = this.untilClosed(signal)
    until.addEventListener('abort', stop, { once: true })
    try {
      // Aborted while Docker was answering.
      if (until.aborted) return
      onReady?.()
      await eachJson(response, (value) => {
        const event = engineEventOf(value, this.owner)
        if (event?.kind === 'removed') this.ours.delete(event.id)
        if (event) onEvent(event)
      })
    } catch (error) {
      if (!until.aborted) throw await brumeErrorOf(error, 'watch', this.socketPath)
    } finally {
      until.removeEventListener('abort', stop)
      response.destroy()
    }
    if (!until.aborted) throw unreachable(this.socketPath, 'it closed the stream of events')
  }

  async close(): Promise<void> {
    this.closed.abort()
    this.agent.destroy()
  }

  private async adopt(name: string, spec: ContainerSpec, cause: unknown): Promise<string> {
    // Docker takes the name before it can tell of the container: its first asker may be a daemon
    // that was killed a moment ago.
    let there = await this.inspect(name)
    for (let tries = 0; there === null && tries < BEING_MADE_TRIES; tries++) {
      await sleep(100)
      there = await this.inspect(name)
    }
    const labels = there?.Config.Labels ?? {}
    const same = Object.entries(labelsOf(this.owner, spec)).every(([k, v]) => labels[k] === v)
    if (there && same) {
      this.ours.set(there.Id, spec.application)
      return there.Id
    }
    throw new BrumeError(
      'ENGINE_FAILED',
      `could not create ${name}: another container has that name`,
      { next: `look at it (\`docker inspect ${name}\`) and remove it`, cause }
    )
  }

  /** null if it is not there (any more). */
  private async inspect(id: string): Promise<Docker.ContainerInspectInfo | null> {
    try {
      return await this.ask(
        `inspect container ${short(id)}`,
        (abortSignal) => this.docker.getContainer(id).inspect({ abortSignal }),
        { raw: true }
      )
    } catch (error) {
      if (refusalOf(error).status === 404) return null
      throw await brumeErrorOf(error, `inspect container ${short(id)}`, this.socketPath)
    }
  }

  private async isOurs(id: string): Promise<boolean> {
    if (this.ours.has(id)) return true
    const labels = (await this.inspect(id))?.Config.Labels ?? {}
    const ours = labels[LABEL.mesh] === this.owner.mesh && labels[LABEL.node] === this.owner.node
    if (ours) this.ours.set(id, labels[LABEL.application] ?? '')
    return ours
  }

  private async mustBeOurs(id: string): Promise<void> {
    if (await this.isOurs(id)) return
    throw new BrumeError('ENGINE_FAILED', `container ${short(id)} is not there (any more)`)
  }

  /** A request whose answer is read as it comes. Its signal ends with the answer's head. */
  private async openStream(
    path: string,
    options: Record<string, unknown>,
    abortSignal: AbortSignal
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = {
        path,
        method: 'GET',
        isStream: true,
        statusCodes: { 200: true, 404: 'not there', 500: 'server error' },
        abortSignal,
        options
      }
      this.docker.modem.dial(request, (error, response) =>
        error ? reject(error) : resolve(response as IncomingMessage)
      )
    })
  }

  /** Makes a call and takes the given statuses as success. */
  private async unless(
    statuses: number[],
    doing: string,
    ms: number,
    call: (signal: AbortSignal) => Promise<unknown>
  ): Promise<void> {
    try {
      await this.ask(doing, call, { raw: true, ms })
    } catch (error) {
      const { status } = refusalOf(error)
      if (status !== null && statuses.includes(status)) return
      throw await brumeErrorOf(error, doing, this.socketPath)
    }
  }

  /** Makes a call that ends within `ms`, whatever the engine does. `raw`: errors as they came. */
  private async ask<T>(
    doing: string,
    call: (signal: AbortSignal) => Promise<T>,
    { raw = false, ms = this.answerMs }: { raw?: boolean; ms?: number } = {}
  ): Promise<T> {
    if (this.closed.signal.aborted) throw unreachable(this.socketPath, 'this engine was closed')
    const abort = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(noAnswer(this.socketPath, doing, ms))
        abort.abort()
      }, ms)
    })
    try {
      return await Promise.race([call(abort.signal), late])
    } catch (error) {
      throw raw ? error : await brumeErrorOf(error, doing, this.socketPath)
    } finally {
      clearTimeout(timer)
    }
  }

  private untilClosed(signal?: AbortSignal): AbortSignal {
    return signal ? AbortSignal.any([signal, this.closed.signal]) : this.closed.signal
  }
}

const NO_IMAGE =
  'check the name; `docker pull` or `docker load` it on the node, or use an image that is there'

async function connect(socketPath: string): Promise<Connection> {
  const { default: Client } = await import('dockerode')
  const agent = new QuietAgent({ keepAlive: true, maxFreeSockets: 4 })
  // The types forget that docker-modem takes an agent.
  const options = { socketPath, agent } as Docker.DockerOptions
  return { docker: new Client(options), agent, socketPath }
}

/** docker-modem inspects its options to full depth before every request, sockets included. */
class QuietAgent extends Agent {
  [inspect.custom](): string {
    return 'Agent'
  }
}

/** The socket of DOCKER_HOST, else Docker's own. @throws BrumeError ENGINE_UNREACHABLE */
export function defaultSocket(): string {
  const host = process.env['DOCKER_HOST']
  if (!host) return '/var/run/docker.sock'
  if (host.startsWith('unix://')) return host.slice('unix://'.length)
  throw new BrumeError('ENGINE_UNREACHABLE', `DOCKER_HOST is ${host}: only unix:// is understood`, {
    next: 'unset DOCKER_HOST, or point it at a socket of this machine'
  })
}

const EVENTS: Record<string, Exclude<EngineEvent['kind'], 'images'> | undefined> = {
  start: 'started',
  die: 'died',
  destroy: 'removed'
}

/** What Docker and Podman call it when one comes, is named, or goes. */
const IMAGE_EVENTS = [
  ...['pull', 'load', 'loadfromarchive', 'import', 'tag'],
  ...['untag', 'delete', 'remove']
]

function engineEventOf(value: unknown, { mesh, node }: Owner): EngineEvent | null {
  const { Type, Action, Actor } = value as {
    Type?: string
    Action?: string
    Actor?: { ID?: string; Attributes?: Record<string, string> }
  }
  if (Type === 'image') return { kind: 'images' }
  const { [LABEL.mesh]: ofMesh, [LABEL.node]: ofNode } = Actor?.Attributes ?? {}
  if (ofMesh !== mesh || ofNode !== node) return null
  const kind = EVENTS[Action ?? '']
  return kind && Actor?.ID ? { kind, id: Actor.ID } : null
}

function repositoryAndTag(name: string): [string, string] {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/')
    ? [name.slice(0, colon), name.slice(colon + 1)]
    : [name, 'latest']
}

function short(id: string): string {
  return /^[0-9a-f]{64}$/.test(id) ? id.slice(0, 12) : id
}

/** Reads a stream of progress to its end; an error in it is thrown as a refusal. */
async function drainProgress(response: NodeJS.ReadableStream): Promise<void> {
  await eachJson(response, (value) => {
    const { error } = value as { error?: string }
    if (error) throw Object.assign(new Error(error), { statusCode: 500 })
  })
}

/** Calls back with every JSON line until the stream ends. Rejects if it breaks off. */
async function eachJson(
  response: NodeJS.ReadableStream,
  onValue: (value: unknown) => void
): Promise<void> {
  let rest = ''
  response.setEncoding('utf8')
  for await (const chunk of response) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.trim() !== '') onValue(JSON.parse(line))
  }
  if (rest.trim() !== '') onValue(JSON.parse(rest))
}

/** @throws BrumeError EXEC_TIMEOUT */
async function collect(
  response: IncomingMessage,
  timeoutMs: number,
  doing: string
): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = demultiplexer()
    let output = ''
    const timer = setTimeout(() => {
      const error = new BrumeError('EXEC_TIMEOUT', `no end within ${timeoutMs} ms: ${doing}`)
      lines.destroy(error)
    }, timeoutMs)
    lines.on('data', ({ line }: LogLine) => {
      if (output.length < OUTPUT_CHARS) output += `${line}\n`.slice(0, OUTPUT_CHARS)
    })
    finished(lines, (error) => {
      clearTimeout(timer)
      if (error) reject(error)
      else resolve(output)
    })
    pipeline(response, lines, () => undefined)
  })
}
