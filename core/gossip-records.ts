/**
 * What nodes tell each other outside the oplog: the bodies of gossip records. Each record has one
 * writer, its node; the newest wins; nothing here is ever decided by apply.
 */
import {
  bool,
  either,
  integer,
  list,
  literal,
  nullable,
  number,
  object,
  optional,
  pattern,
  text,
  type Infer,
  type Shape
} from './state/shape.ts'
import { devicesFound } from './state/devices.ts'
import { imagesFound } from './state/images.ts'
import { name, nodeId } from './state/names.ts'
import { MAX_VOLUMES_TOLD } from './state/volumes.ts'

const port = integer(1, 65535)
const ms = number(0, Number.MAX_SAFE_INTEGER)

/** `links`: who this node is connected to now. Written on every change, signed anew each minute. */
const links = object({
  peers: list(nodeId, 256),
  /** Peers it lost, so that they are not alive for it: how long each had been silent then. */
  ended: list(object({ peer: nodeId, silentMs: ms }), 256),
  /**
   * Peers whose newest word, the one of this number, does not list this node though the link
   * stands: who says so is alive, and has answered them.
   */
  answers: list(object({ peer: nodeId, seq: integer(0, Number.MAX_SAFE_INTEGER) }), 256),
  /** Uptime in the steps the election ranks by: 0, 1 (a minute), 2 (an hour), 3 (a day), 4 (a week). */
  uptimeRank: integer(0, 4),
  /** Drawn at daemon start: tells a restart from a pause. */
  session: text(64)
})
export type LinksBody = Infer<typeof links>

/** `facts`: what this node is. */
const facts = object({
  version: text(64),
  /** Highest view format this daemon understands. */
  format: integer(0, 1_000_000),
  os: text(64),
  /** Of the engine: `amd64`, `arm64`, … */
  arch: text(64),
  engine: object({
    kind: literal('docker', 'process', 'none'),
    version: nullable(text(256)),
    /** Why it cannot be used now; null when it can. */
    problem: nullable(text(4096))
  }),
  cpus: number(0, 1_000_000),
  memoryBytes: number(0, Number.MAX_SAFE_INTEGER),
  /** Of the device files that microservices ask for: whether it has each; missing: it has not looked. */
  devices: optional(devicesFound),
  /** Of the images that may not be pulled, in the same way. */
  images: optional(imagesFound),
  /** Why its containers reach nobody by name; missing: they do, or none was started yet. */
  names: optional(text(512))
})
export type FactsBody = Infer<typeof facts>

/** One container as its Agent reports it. */
const containerStatus = object({
  application: name,
  microservice: name,
  slot: integer(0, 99_999),
  revision: text(64),
  /** The placement it acts on (its op id); null when it lost its placement. */
  placement: nullable(text(128)),
  state: literal(
    'pulling',
    'starting',
    'running',
    'restarting',
    'stopping',
    'retiring',
    'stopped',
    'failed'
  ),
  /** null where there is no healthcheck, or none has ended yet. */
  healthy: nullable(bool),
  /** Wall ms, for people. */
  since: integer(0, 8.64e15),
  image: nullable(text(512)),
  ports: list(object({ container: port, host: port, protocol: literal('tcp', 'udp') }), 128),
  /** Ports its image says it listens on, beyond those of `ports`. */
  exposes: optional(list(object({ container: port, protocol: literal('tcp', 'udp') }), 32)),
  reason: nullable(text(65_536)),
  /** It is `starting` and not begun: what it depends on is not up. */
  waits: optional(bool),
  restarts: integer(0, Number.MAX_SAFE_INTEGER)
})
export type ContainerStatus = Infer<typeof containerStatus>
export type ContainerPhase = ContainerStatus['state']

/** `status`: the containers of this node. */
const status = object({
  containers: list(containerStatus, 10_000),
  /** Revisions that failed here five times in five minutes: `app/microservice@revision`. */
  failing: list(text(256), 1_000),
  /** Named volumes it has, `app/microservice/slot/name`; missing: none. */
  volumes: optional(list(text(256), MAX_VOLUMES_TOLD)),
  /** The op that has this node drained until a deadline, once that is over: by its own clock. */
  overdue: optional(text(128))
})
export type StatusBody = Infer<typeof status>

/** A node tells of so many bundles and no more. */
export const MAX_HOLDS_TOLD = 3_000

/** `holds`: which bundles this node has whole. */
const holds = object({ digests: list(pattern(/^[0-9a-f]{64}$/), MAX_HOLDS_TOLD) })
export type HoldsBody = Infer<typeof holds>

/** `net`: how this node can be reached. Written when that changes. */
const net = object({
  /** HOST:PORT of its DHT socket; names would have to be looked up, and are not taken. */
  addresses: list(pattern(/^(?:\d{1,3}\.){3}\d{1,3}:[1-9]\d{0,4}$/), 16),
  nat: literal('open', 'easy', 'symmetric', 'unknown'),
  /** The key it uses towards relays, and as one. */
  relayKey: nodeId,
  /** It carries others' packets. */
  relays: bool
})
export type NetBody = Infer<typeof net>
/** `order`: which order of ops this node stands on. Written when that changes. */
const systemKey = pattern(/^[a-z0-9]{52}$/)
const order = object({
  fork: object({
    epoch: integer(0, 1_000_000),
    reached: integer(0, 1_000_000),
    id: either(systemKey, literal(''))
  }),
  /** z-base-32 key of the system core it has now; another one after every change of indexers. */
  system: systemKey,
  /** How much of it was confirmed when this was said. */
  length: integer(0, Number.MAX_SAFE_INTEGER)
})
export type OrderBody = Infer<typeof order>

/** `tunnel`: where flows to its microservices come in. Written at the start of its daemon. */
const tunnel = object({
  /** Dialled and known by it in data connections; not the key of its links. */
  key: nodeId,
  /** TCP, for who is on one LAN with it; null where it has none. */
  port: nullable(port)
})
export type TunnelBody = Infer<typeof tunnel>

/** `exposed`: ports this node opens for microservices, whoever runs them. Written on every change. */
const exposed = object({
  ports: list(
    object({
      /** APP/MICROSERVICE */
      microservice: text(127),
      port,
      host: nullable(text(253)),
      path: nullable(text(256)),
      open: bool,
      /** Why it is not open, or not as it should be: one sentence. */
      problem: nullable(text(200))
    }),
    200
  )
})
export type ExposedBody = Infer<typeof exposed>

export interface GossipBodies {
  links: LinksBody
  facts: FactsBody
  status: StatusBody
  holds: HoldsBody
  net: NetBody
  order: OrderBody
  tunnel: TunnelBody
  exposed: ExposedBody
}
export type GossipKind = keyof GossipBodies

/** What a body must look like; kinds of later versions are carried on unread. */
export const gossipShapes: { [K in GossipKind]: Shape<GossipBodies[K]> } = {
  links,
  facts,
  status,
  holds,
  net,
  order,
  tunnel,
  exposed
}
