/**
 * What nodes tell each other outside the oplog: the bodies of gossip records. Each record has one
 * writer, its node; the newest wins; nothing here is ever decided by apply.
 */

/** `links`: who this node is connected to now. Written on every change and once a minute. */
export interface LinksBody {
  peers: string[]
  /** Links that ended while the peer is still a member: how long it had been silent then. */
  ended: { peer: string; silentMs: number }[]
  /** Uptime in the steps the election ranks by: 0, 1 (a minute), 2 (an hour), 3 (a day), 4 (a week). */
  uptimeRank: number
  /** Drawn at daemon start: tells a restart from a pause. */
  session: string
}

/** `facts`: what this node is. */
export interface FactsBody {
  version: string
  /** Highest view format this daemon understands. */
  format: number
  os: string
  /** Of the engine: `amd64`, `arm64`, … */
  arch: string
  engine: { kind: 'docker' | 'process' | 'none'; version: string | null; problem: string | null }
  cpus: number
  memoryBytes: number
}

export type ContainerPhase =
  'pulling' | 'starting' | 'running' | 'restarting' | 'stopping' | 'retiring' | 'stopped' | 'failed'

/** One container as its Agent reports it. */
export interface ContainerStatus {
  application: string
  microservice: string
  slot: number
  revision: string
  /** The placement it acts on (its op id); null when it lost its placement. */
  placement: string | null
  state: ContainerPhase
  /** null where there is no healthcheck, or none has ended yet. */
  healthy: boolean | null
  /** Wall ms, for people. */
  since: number
  image: string | null
  ports: { container: number; host: number; protocol: 'tcp' | 'udp' }[]
  reason: string | null
  restarts: number
}

/** `status`: the containers of this node. */
export interface StatusBody {
  containers: ContainerStatus[]
  /** Revisions that failed here five times in five minutes: `app/microservice@revision`. */
  failing: string[]
}

/** `holds`: which bundles this node has whole. */
export interface HoldsBody {
  digests: string[]
}

export interface GossipBodies {
  links: LinksBody
  facts: FactsBody
  status: StatusBody
  holds: HoldsBody
}
export type GossipKind = keyof GossipBodies
