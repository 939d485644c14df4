/** Microservices: what to run, how, and how often. Written by operators and admins. */
import { contentHash } from '../crypto.ts'
import { labelKey, name } from './names.ts'
import {
  bool,
  either,
  integer,
  list,
  literal,
  map,
  nullable,
  number,
  object,
  optional,
  pattern,
  text,
  type Infer
} from './shape.ts'

const port = object({
  /** The port inside the container, or the number a process is told about. */
  container: integer(1, 65535),
  /** A fixed port of the node, or null for a free one. */
  host: nullable(integer(1, 65535)),
  protocol: literal('tcp', 'udp')
})

const bundle = object({
  /** sha-256 of the tar, hex. */
  digest: pattern(/^[0-9a-f]{64}$/),
  bytes: integer(0, 32 * 1024 * 1024),
  /** Where its blocks are: any node that holds them can serve them. */
  core: pattern(/^[0-9a-f]{64}$/),
  blockOffset: integer(0, Number.MAX_SAFE_INTEGER),
  blockLength: integer(0, Number.MAX_SAFE_INTEGER),
  byteOffset: integer(0, Number.MAX_SAFE_INTEGER)
})

const healthcheck = object({
  /** The command run inside the container; exit code 0 is healthy. */
  command: list(text(4096), 64),
  /** `command` has one element, which a shell runs. */
  shell: bool,
  intervalMs: integer(100, 86_400_000),
  timeoutMs: integer(100, 3_600_000),
  retries: integer(1, 1000),
  startPeriodMs: integer(0, 86_400_000)
})

export const microserviceSpec = object({
  image: nullable(text(512, 1)),
  /** Another image for one architecture (`amd64`, `arm64`, `arm`), as ioFog's `images`. */
  images: map(pattern(/^[a-z0-9]{1,16}$/), text(512, 1), 8),
  files: nullable(bundle),
  /** Empty: the image's own. */
  command: list(text(4096), 256),
  env: map(text(256, 1), text(32_768), 512),
  labels: map(labelKey, text(256), 64),
  ports: list(port, 128),
  resources: object({
    /** Cores. */
    cpus: nullable(number(0.01, 1024)),
    memoryBytes: nullable(integer(1024 * 1024, Number.MAX_SAFE_INTEGER))
  }),
  /** How many, or one on every node that fits. */
  replicas: either(integer(0, 1000), literal('all')),
  /** Pins to the node of this name. */
  node: nullable(text(64, 1)),
  /** `key=value` or `key!=value`, over node labels. */
  constraints: list(text(256, 1), 32),
  restart: literal('always', 'on-failure', 'no'),
  healthcheck: nullable(healthcheck)
})

export type Port = Infer<typeof port>
export type Bundle = Infer<typeof bundle>
export type Healthcheck = Infer<typeof healthcheck>
export type MicroserviceSpec = Infer<typeof microserviceSpec>
