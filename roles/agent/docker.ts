/** Docker as the engine. */
import type { IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { BrumeError } from '../../core/errors.ts'
import type {
  ContainerSpec,
  Engine,
  EngineContainer,
  EngineEvent,
  EngineInfo,
  EngineVolume,
  Owner
} from './engine.ts'
import { connect, defaultSocket, type Connection } from './docker/connection.ts'
import { bodyOf, nameOf } from './docker/container.ts'
import { demultiplexer } from './docker/demux.ts'
import { watchEvents } from './docker/events.ts'
import { isThere } from './docker/images.ts'
import { AppNetworks, isNetworkMissing } from './docker/networks.ts'
import { OwnContainers, short } from './docker/own-containers.ts'
import { brumeErrorOf, refusalOf } from './docker/refusal.ts'
import { collect, drainProgress } from './docker/streams.ts'
import { ensureVolumes, listVolumes } from './docker/volumes.ts'

/** A start on a small board under load unpacks, mounts and forks. */
const START_MS = 60_000

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
  const connection = await connect(options.socketPath ?? defaultSocket(), options.answerMs)
  try {
    await connection.ping()
  } catch (error) {
    connection.close()
    throw error
  }
  return new DockerEngine(owner, connection)
}

class DockerEngine implements Engine {
  readonly kind = 'docker'
  private readonly owner: Owner
  private readonly connection: Connection
  private readonly docker: Docker
  private readonly socketPath: string
  private readonly own: OwnContainers
  private readonly networks: AppNetworks

  constructor(owner: Owner, connection: Connection) {
    this.owner = owner
    this.connection = connection
    this.docker = connection.docker
    this.socketPath = connection.socketPath
    this.own = new OwnContainers(owner, connection)
    this.networks = new AppNetworks(owner, connection)
  }

  async info(): Promise<EngineInfo> {
    const [version, info] = await Promise.all([
      this.connection.ask('tell its version', () => this.docker.version()),
      this.connection.ask('tell its capacity', () => this.docker.info() as Promise<unknown>)
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
    return isThere(this.connection, image)
  }

  async pull(image: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    try {
      const options = { abortSignal: this.connection.untilClosed(signal) }
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
      await ensureVolumes(this.connection, this.owner, spec)
      const container = await this.networks.using(spec.application, (network) => {
        const body = { _query: { name }, _body: bodyOf(this.owner, spec, image, network) }
        return this.connection.ask(
          `create ${name}`,
          (abortSignal) => this.docker.createContainer({ ...body, abortSignal }),
          { raw: true }
        )
      })
      this.own.note(container.id, spec.application)
      return container.id
    } catch (error) {
      const { status, sentence } = refusalOf(error)
      if (status !== null && status !== 409) await this.networks.tidy(spec.application)
      if (status === 409) return this.own.adopt(name, spec, error)
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
    await this.own.mustHave(id)
    const doing = `start container ${short(id)}`
    try {
      await this.connection.ask(
        doing,
        (abortSignal) => this.docker.getContainer(id).start({ abortSignal }),
        { raw: true, ms: START_MS }
      )
    } catch (error) {
      if (refusalOf(error).status === 304) return
      const failure = await brumeErrorOf(error, doing, this.socketPath)
      // Somebody removed its network: it can start no more, and is made anew.
      if (isNetworkMissing(error)) await this.remove(id)
      throw failure
    }
  }

  async stop(id: string, graceMs: number): Promise<void> {
    if (!(await this.own.has(id))) return
    const t = Math.ceil(graceMs / 1000)
    const ms = t * 1000 + this.connection.answerMs
    await this.connection.unless([304, 404], `stop container ${short(id)}`, ms, (abortSignal) =>
      this.docker.getContainer(id).stop({ t, abortSignal })
    )
  }

  async remove(id: string): Promise<void> {
    if (!(await this.own.has(id))) return
    // 409: its removal is under way.
    const application = this.own.applicationOf(id)
    await this.connection.unless(
      [404, 409],
      `remove container ${short(id)}`,
      START_MS,
      (abortSignal) =>
        this.docker.getContainer(id).remove({ force: true, v: true, abortSignal } as object)
    )
    this.own.forget(id)
    if (application !== undefined) await this.networks.tidy(application)
  }

  async list(): Promise<EngineContainer[]> {
    return this.own.list()
  }

  async volumes(): Promise<EngineVolume[]> {
    return listVolumes(this.connection, this.owner)
  }

  async clear(): Promise<void> {
    await this.networks.clear()
  }

  async logs(
    id: string,
    { follow, tail }: { follow: boolean; tail: number | null }
  ): Promise<Readable> {
    await this.own.mustHave(id)
    const options = { follow, stdout: true, stderr: true, tail: tail ?? 'all' }
    const response = await this.connection.ask(`read the log of container ${short(id)}`, (signal) =>
      this.connection.stream(`/containers/${id}/logs?`, options, signal)
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
    await this.own.mustHave(id)
    const doing = `run ${command.join(' ')} in container ${short(id)}`
    const exec = await this.connection.ask(doing, (abortSignal) =>
      this.docker
        .getContainer(id)
        .exec({ Cmd: command, AttachStdout: true, AttachStderr: true, abortSignal })
    )
    const stream = (await this.connection.ask(doing, (abortSignal) =>
      exec.start({ abortSignal })
    )) as unknown as IncomingMessage
    const output = await collect(stream, timeoutMs, doing)
    const { ExitCode } = await this.connection.ask(doing, () => exec.inspect())
    return { exitCode: ExitCode ?? -1, output }
  }

  async watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    await watchEvents(
      this.connection,
      this.owner,
      (event) => {
        if (event.kind === 'removed') this.own.forget(event.id)
        onEvent(event)
      },
      signal,
      onReady
    )
  }

  async close(): Promise<void> {
    this.connection.close()
  }
}

const NO_IMAGE =
  'check the name; `docker pull` or `docker load` it on the node, or use an image that is there'
