/**
 * The shapes on a daemon's unix socket, and so of `--json`. A leaf: types only, no logic.
 * These are API: a change goes into a commit of its own that says so.
 *
 *   GET    /status                                    StatusJson
 *   POST   /init    InitRequest                       progress stream, result InitResult
 *   POST   /join    JoinRequest                       progress stream, result InitResult
 *   GET    /key                                       { key }
 *   GET    /recover                                   RecoverPlan
 *   POST   /recover  RecoverRequest                   RecoverResult
 *   POST   /upgrade                                   UpgradeResult
 *   POST   /stop                                      StopResult
 *   GET    /nodes                                     NodeJson[]
 *   POST   /bundles            (application/x-tar)    BundleResult
 *   POST   /applications       DeployRequest          DeployResult
 *   GET    /applications                              ApplicationJson[]
 *   DELETE /applications/:application                 RemoveResult
 *   DELETE /applications/:application/:microservice   RemoveResult
 *   POST   /applications/:application/:microservice/scale   ScaleRequest -> DeployResult
 *   GET    /replicas?ref=REF                          ReplicaJson[]          (`brume ps`)
 *   GET    /describe?ref=REF                          DescribeJson
 *   GET    /resolve?ref=REF                           RefJson
 *   GET    /watch?application=NAME                    event stream: `replicas` (WatchedReplica[]), first
 *                                                     at once, then on every change
 *   GET    /logs?ref=REF&follow=1&tail=N              lines of LogJson (application/x-ndjson)
 *
 * An answer that is not 2xx is ErrorJson. A progress stream (text/event-stream) has events
 * `progress` (ProgressJson), then one `result` or one `error` (ErrorJson). Where lines or a watch
 * fail halfway, the last line or event is ErrorJson too. Every answer names its daemon in
 * the headers `brume-version` and `brume-pid`.
 */
import type { MicroserviceSpec } from '../core/state/microservices.ts'

export interface ErrorJson {
  error: { code: string; message: string; next: string | null; exitCode: number }
}

export interface ProgressJson {
  message: string
}

export type EngineChoice = 'auto' | 'docker' | 'process' | 'none'
export type RoleName = 'admin' | 'operator' | 'node' | 'viewer'

export interface StatusJson {
  name: string
  id: string
  mesh: string
  /** Live links. */
  peers: number
  engine: EngineJson
  /** View lengths. */
  oplog: { confirmed: number; tentative: number }
  /** Who confirms the order of ops. */
  indexers: { name: string; alive: boolean }[]
  /** How many of them it takes. */
  quorum: number
  /** Changes of the view that wait for confirmation, and for whom; null while a quorum is in reach. */
  stalled: { changes: number; missing: string[] } | null
  /** How often the order was forked by `brume recover`; `ahead`: this node is still on an older one. */
  fork: { epoch: number; ahead: boolean }
  /** Of the view now, and the newest this version knows. */
  format: { active: number; known: number }
  leader: string | null
  term: number
  version: string
  role: RoleName
  pid: number
  uptimeMs: number
  dataDir: string
  /** Every actor, its state and since when. */
  actors: { name: string; state: string; sinceMs: number }[]
  /** Ops in the order that apply refused, since this daemon started. */
  refusedOps: number
}

/** What `recover` would do here. */
export interface RecoverPlan {
  /** A quorum of indexers is in reach: there is nothing to recover. */
  confirms: boolean
  /** Names of the indexers that are not. */
  missing: string[]
  /** Members that are not lost, and how many of them are in reach. */
  members: number
  reached: number
  /** Names of those that are not. */
  unreached: string[]
  /** Not more than half are in reach: only with `minority`. */
  minority: boolean
}

export interface RecoverRequest {
  minority: boolean
}

export interface RecoverResult {
  epoch: number
  reached: number
  members: number
}

export interface UpgradeResult {
  from: number
  /** The same as `from` where there was nothing to upgrade. */
  to: number
}

export interface StopResult {
  stopped: true
  /** The daemon has stopped once this process is gone. */
  pid: number
}

export interface EngineJson {
  kind: 'docker' | 'process' | 'none'
  version: string | null
  /** Why it cannot be used now; null when it can. */
  problem: string | null
}

export interface InitRequest {
  name: string
  labels: Record<string, string>
  engine: EngineChoice
  /** HOST:PORT of DHT bootstrap nodes; empty: the public ones. */
  bootstrap: string[]
  /** HOST:PORT of members to try first. */
  peers: string[]
  defaultRole: RoleName
}

export interface JoinRequest extends Omit<InitRequest, 'defaultRole'> {
  key: string
}

export interface InitResult {
  name: string
  id: string
  mesh: string
  role: RoleName
  /** The mesh key, where this node's role may show it. */
  key: string | null
  /** Sentences the person should read, e.g. labels the role does not allow. */
  warnings: string[]
}

export interface NodeJson {
  name: string
  id: string
  role: RoleName
  labels: Record<string, string>
  engine: 'docker' | 'process' | 'none' | null
  state: 'alive' | 'silent' | 'lost' | 'gone' | 'pending' | 'removed'
  version: string | null
  /** Age of the last sign of life; 0 for itself; null if never heard since it joined. */
  lastHeardMs: number | null
}

export interface BundleResult {
  digest: string
  bytes: number
  core: string
  blockOffset: number
  blockLength: number
  byteOffset: number
}

export interface DeployRequest {
  application: string
  /** The whole application: microservices that are not here are removed. */
  microservices: { name: string; spec: MicroserviceSpec }[]
}

export interface DeployResult {
  application: string
  changes: {
    microservice: string
    change: 'created' | 'updated' | 'unchanged' | 'removed'
    revision: string | null
  }[]
  /** Members that cannot be reached now and will hear of it later. */
  offline: string[]
}

export interface ScaleRequest {
  replicas: number | 'all'
}

export interface RemoveResult {
  removed: string[]
  offline: string[]
}

export type ReplicaState =
  | 'waiting'
  | 'pulling'
  | 'starting'
  | 'running'
  | 'restarting'
  | 'stopping'
  | 'retiring'
  | 'stopped'
  | 'failed'
  | 'unknown'

/** One line of `brume ps`. */
export interface ReplicaJson {
  application: string
  microservice: string
  slot: number
  /** Name of the node; null while nowhere. */
  node: string | null
  state: ReplicaState
  healthy: boolean | null
  /** ISO 8601: when it entered this state; null if not known. */
  since: string | null
  image: string | null
  ports: { container: number; host: number; protocol: 'tcp' | 'udp' }[]
  /** Why it is not (yet) running, or what the last failure was. */
  reason: string | null
}

/** What a reference names; `microservice` is null where it is a whole application. */
export interface RefJson {
  application: string
  microservice: string | null
  slot: number | null
}

/**
 * A line of `/watch`: what a waiting CLI needs to tell the wanted copy from an older one. There is
 * a line for every wanted slot, placed or not, and for every leftover that is not gone yet.
 */
export interface WatchedReplica extends ReplicaJson {
  /** Hash of what the container that is there is made of; null while there is none. */
  revision: string | null
  /** The microservice's revision now, whatever was placed; null for a leftover. */
  wanted: string | null
  /** What should run has a healthcheck, so `healthy: null` means: not known yet. */
  checked: boolean
}

export interface ApplicationJson {
  name: string
  microservices: number
  replicas: { wanted: number; running: number }
  updatedAt: string
}

export interface DescribeJson {
  application: string
  microservices: {
    name: string
    /** Hash of what its containers are made of. */
    revision: string
    spec: MicroserviceSpec
    setBy: string
    setAt: string
    replicas: ReplicaJson[]
  }[]
}

export interface LogJson {
  application: string
  microservice: string
  slot: number
  node: string
  stream: 'stdout' | 'stderr'
  line: string
}
