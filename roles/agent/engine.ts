/**
 * What runs containers, in our words. Docker is the engine users have (`docker.ts`); `process.ts`
 * runs a microservice as a child process where there is none. "Already so" is success in every verb.
 *
 * An engine is opened for one owner (mesh and node) and sees, lists and touches only containers
 * that carry both of its labels: several nodes may share one Docker.
 */
import type { Readable } from 'node:stream'
import type { Device } from '../../core/state/devices.ts'
import type { Port } from '../../core/state/microservices.ts'
import type { Volume } from '../../core/state/volumes.ts'

export interface Owner {
  /** Mesh id. */
  mesh: string
  /** Node id. */
  node: string
}

/** What one container is made of. */
export interface ContainerSpec {
  application: string
  microservice: string
  slot: number
  /** Hash of the content; kept with the container, so that it can be adopted. */
  revision: string
  image: string | null
  /** Directory on this machine with the bundle's files: /app (read-only) or a process's working directory. */
  filesDir: string | null
  command: string[]
  env: Record<string, string>
  labels: Record<string, string>
  ports: Port[]
  /** A process sees them where they are, whatever their path in a container. */
  devices: readonly Device[]
  /**
   * Named ones are of this slot and made where they are missing; all are told by `BRUME_VOLUME_*`. A
   * process writes to where that says, and sees paths of the node where they are.
   */
  volumes: readonly Volume[]
  /** Address of the resolver it asks for names; null for the machine's own. A process asks none. */
  resolver: string | null
  cpus: number | null
  memoryBytes: number | null
}

export interface PublishedPort {
  container: number
  host: number
  protocol: 'tcp' | 'udp'
}

/** A container of this owner, as the engine has it now. */
export interface EngineContainer {
  id: string
  application: string
  microservice: string
  slot: number
  revision: string
  image: string | null
  state: 'created' | 'running' | 'exited'
  /** Wall ms when it was last started; null if never. */
  startedAt: number | null
  /** null while it runs or before it ran; -1 if nobody saw how it ended; 128 + n by signal n. */
  exitCode: number | null
  /** Empty unless it runs. */
  ports: PublishedPort[]
  /** What its image says it listens on, and what of that is published. */
  exposes: { container: number; protocol: 'tcp' | 'udp' }[]
  /** Directory of this machine that it has mounted; null where it has none, or a copy. */
  filesDir: string | null
  /** Where this machine reaches every port it listens on; null where published ones are all. */
  address: string | null
}

/** A named volume of this owner. Whatever happens to containers, it stays. */
export interface EngineVolume {
  application: string
  microservice: string
  slot: number
  /** As the application file has it. */
  name: string
  /** Docker's name of it, or the directory that it is. */
  place: string
}

export type EngineEvent =
  | { kind: 'started' | 'died' | 'removed'; id: string }
  /** Some came or went, whoever wants them. */
  | { kind: 'images' }

export interface LogLine {
  stream: 'stdout' | 'stderr'
  line: string
}

export interface EngineInfo {
  kind: 'docker' | 'process'
  version: string
  /** `amd64`, `arm64`, …: of the engine, which need not be the daemon's. */
  arch: string
  cpus: number
  memoryBytes: number
}

/**
 * @throws BrumeError ENGINE_UNREACHABLE (nothing answers), ENGINE_FORBIDDEN (socket without
 * permission; names the group), IMAGE_MISSING, PORT_IN_USE, COMMAND_NOT_FOUND,
 * DEVICE_MISSING (at its start), VOLUME_MISSING (a path of the node; at its making or start), ENGINE_FAILED.
 */
export interface Engine {
  readonly kind: 'docker' | 'process'
  info(): Promise<EngineInfo>
  hasImage(image: string): Promise<boolean>
  /** Fetches an image from its registry. Resolves once it is here. */
  pull(image: string, signal?: AbortSignal): Promise<void>
  /** Makes a container and gives its id; the one that is there if owner, slot and revision agree. */
  create(spec: ContainerSpec): Promise<string>
  start(id: string): Promise<void>
  /** Asks it to end, then ends it after `graceMs`. */
  stop(id: string, graceMs: number): Promise<void>
  /** Removes it, ending it at once if it runs; the network of its application with the last. */
  remove(id: string): Promise<void>
  list(): Promise<EngineContainer[]>
  /** In the order of slots and names. */
  volumes(): Promise<EngineVolume[]>
  /** Removes what is left of this owner beside containers and volumes: the networks of applications. */
  clear(): Promise<void>
  /** An object-mode stream of LogLine; ends at the log's end, or with the container if `follow`. */
  logs(id: string, options: { follow: boolean; tail: number | null }): Promise<Readable>
  /**
   * Runs a command inside the container. A command that is not there ends with 126 or 127.
   * @throws BrumeError EXEC_TIMEOUT
   */
  exec(
    id: string,
    command: string[],
    options: { timeoutMs: number }
  ): Promise<{ exitCode: number; output: string }>
  /**
   * Tells `onEvent` of this owner's containers, and of images, until `signal` aborts. Rejects when the
   * engine goes away; the caller comes back with backoff and lists again. `onReady` once it listens.
   */
  watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void>
  /** Lets go of handles. Containers stay. */
  close(): Promise<void>
}
