/**
 * The shapes on a daemon's unix socket, and so of `--json`. A leaf: types only, no logic.
 * These are API: a change goes into a commit of its own that says so.
 *
 *   GET    /status                                    StatusJson
 *   POST   /init    InitRequest                       progress stream, result InitResult
 *   POST   /join    JoinRequest                       progress stream, result InitResult
 *   GET    /key                                       KeyJson
 *   POST   /key/rotate                                KeyJson
 *   POST   /lock, /unlock                             LockJson
 *   POST   /leave   LeaveRequest                      progress stream, result LeaveResult
 *   GET    /recover                                   RecoverPlan
 *   POST   /recover  RecoverRequest                   RecoverResult
 *   POST   /upgrade                                   UpgradeResult
 *   POST   /stop                                      StopResult
 *   GET    /nodes                                     NodeJson[]
 *   POST   /nodes/:node        NodeChange             NodeResult
 *   POST   /nodes/:node/approve                       NodeResult
 *   DELETE /nodes/:node?keep-key=1                    NodeRemoved
 *   GET    /dropped?node=NODE                         DroppedJson[]
 *   GET    /invites                                   InviteJson[]
 *   POST   /invites            InviteRequest          InviteMade
 *   DELETE /invites/:invite                           InviteJson
 *   GET    /net                                       NetJson[]              (a row a member)
 *   GET    /net/service?ref=REF                       ServiceNetJson
 *   POST   /services?dry-run=1 ServiceRequest         ServiceResult
 *   GET    /services?ref=REF                          ServiceJson[]
 *   POST   /bundles            (application/x-tar)    BundleResult
 *   GET    /backup                                    lines of BackupLine (application/x-ndjson)
 *   POST   /applications       DeployRequest          DeployResult
 *   GET    /applications                              ApplicationJson[]
 *   DELETE /applications/:application                 RemoveResult
 *   DELETE /applications/:application/:microservice   RemoveResult           (or a service outside)
 *   POST   /applications/:application/:microservice/scale   ScaleRequest -> DeployResult
 *   POST   /applications/:application/:microservice/rollback   RollbackRequest -> DeployResult
 *   POST   /applications/:application/:microservice/rollout    RolloutRequest -> RolloutJson
 *   POST   /applications/:application/stop, …/start, …/restart              DeployResult
 *   POST   /applications/:application/:microservice/stop, …/start, …/restart   DeployResult
 *   POST   /replicas/:application/:microservice/:slot/move   MoveRequest -> ReplicaJson
 *   POST   /rebalance?dry-run=1                       RebalanceResult
 *   POST   /plan               PlanRequest            PlanResult
 *   GET    /explain?ref=REF                           ExplainJson[]          (one a microservice)
 *   GET    /events?follow=1&tail=N                    lines of EventJson (application/x-ndjson)
 *   GET    /rollouts?ref=REF                          RolloutJson[]          (the newest of each)
 *   GET    /replicas?ref=REF                          ReplicaJson[]          (`brume ps`)
 *   GET    /describe?ref=REF                          DescribeJson
 *   GET    /resolve?ref=REF                           RefJson
 *   GET    /watch?application=NAME                    event stream: `rollouts` (RolloutJson[]) and
 *                                                     `replicas` (WatchedReplica[]), first at once,
 *                                                     then on every change; before what they led to,
 *                                                     `events` (EventJson[]) since it was asked for
 *   GET    /conflicts                                 ConflictsJson
 *   POST   /conflicts/:conflict/keep   KeepRequest    KeepResult
 *   GET    /history?ref=REF&noun=NOUN&tail=N          HistoryJson
 *   GET    /audit?tail=N&by=NODE                      AuditJson[]
 *   GET    /logs?ref=REF&follow=1&tail=N              lines of LogJson (application/x-ndjson)
 *
 * An answer that is not 2xx is ErrorJson. A progress stream (text/event-stream) has events
 * `progress` (ProgressJson), then one `result` or one `error` (ErrorJson). Where lines or a watch
 * fail halfway, the last line or event is ErrorJson too. Every answer names its daemon in
 * the headers `brume-version` and `brume-pid`.
 */
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import type { ServiceSpec } from '../core/state/services.ts'

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
  names: NamesJson
  /** Ports that this node is to open for microservices, whoever runs them. */
  exposed: OpenPortJson[]
  /** From this node since its daemon started, one a microservice that was called. */
  flows: FlowsJson[]
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
  /** ISO 8601, of this node: when it saw that; null: before its daemon started. */
  leaderSince: string | null
  /** Why it leads, or why nobody does: one line. */
  election: string
  version: string
  role: RoleName
  pid: number
  uptimeMs: number
  dataDir: string
  /** Every actor, its state and since when. */
  actors: { name: string; state: string; sinceMs: number }[]
  /** Ops in the order that apply refused, since this daemon started. */
  refusedOps: number
  /** Things that `brume conflicts` lists. */
  conflicts: number
  /** Ops of nodes that were members no more: see `brume node dropped`. */
  droppedOps: number
  /** The mesh key lets nobody in. */
  locked: boolean
  /** Why this node is no part of its mesh now, as peers say; null while it is. */
  refusal: string | null
  /** Why nothing can be written: the disk is full or read-only; null while there is room. */
  disk: string | null
  /** After a power cut: this node asks others for the end of what it wrote, and appends nothing yet. */
  asksForOwnEnd: boolean
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

export interface NamesJson {
  /** `unasked`: no container was started yet that could ask. */
  state: 'unasked' | 'opening' | 'serving' | 'off'
  /** Where containers ask. */
  address: string | null
  /** Why they reach no microservice by name, and what helps. */
  problem: { message: string; next: string | null } | null
}

/** A port of a node that leads to replicas on any. */
export interface OpenPortJson {
  /** APP/MICROSERVICE */
  microservice: string
  port: number
  /** Requests for that host and path alone; null: for any. */
  host: string | null
  path: string | null
  open: boolean
  /** Why it is not open, or not as it should be: one sentence. */
  problem: string | null
}

export interface FlowsJson {
  application: string
  microservice: string
  /** Under way. */
  open: number
  opened: number
  /** No replica took it. */
  refused: number
  /** Taken by another replica than the first that was tried. */
  retried: number
  /** Ended otherwise than by both of its ends. */
  resets: number
  bytesSent: number
  bytesReceived: number
  /** Datagrams of this node's that came faster than they went over; those of what was refused not. */
  dropped: number
  /** Of those opened, how many began on which path. */
  paths: { local: number; lan: number; direct: number; relayed: number }
}

export interface InitRequest {
  name: string
  labels: Record<string, string>
  engine: EngineChoice
  /** HOST:PORT of DHT bootstrap nodes; empty: the public ones. */
  bootstrap: string[]
  /** HOST:PORT of members to try first. */
  peers: string[]
  /** Carry packets of members that cannot reach each other, where this node is open; default true. */
  relay?: boolean
  /** Containers reach microservices by name; default true. */
  names?: boolean
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
  /** May lead, and so place replicas. */
  controller: boolean
  /** How many ops of it came to nothing, see `brume node dropped`. */
  dropped: number
  availability: AvailabilityJson
  /** Why its containers reach no microservice by name; null: they do, as far as is known. */
  names: string | null
}

export interface AvailabilityJson {
  /** `cordoned`: it keeps what it has and gets nothing; `draining`: what it has goes elsewhere. */
  mode: 'active' | 'cordoned' | 'draining'
  /** An operator's words, or none. */
  reason: string
  /** When what has no other place stops; null: never. */
  deadlineMs: number | null
}

export interface KeyJson {
  /** null where this node's role may not show it. */
  key: string | null
}

export interface LockJson {
  locked: boolean
}

/** What is there changes; what is missing stays. */
export interface NodeChange {
  name?: string
  labels?: { set: Record<string, string>; remove: string[] }
  role?: RoleName
  controller?: boolean
  /** An operator's word that it will not come back. */
  lost?: boolean
  availability?: AvailabilityJson
}

/** To which node; null takes the wish back. */
export interface MoveRequest {
  node: string | null
}

/** As a DeployRequest, with what will be the names of its files. */
export interface PlanRequest {
  application: string
  microservices: {
    name: string
    spec: MicroserviceSpec
    files: { digest: string; bytes: number } | null
  }[]
}

export interface PlanResult {
  application: string
  microservices: {
    name: string
    change: 'created' | 'updated' | 'unchanged' | 'removed'
    /** What differs, in one line. */
    line: string
    /** How its new revision would be rolled out, in words; null where there is none. */
    rollout: string | null
    /** Slots that would get a place, or another one. */
    placements: { slot: number; node: string; reason: string }[]
    /** Slots that would get none, and why. */
    waiting: { slot: number; reason: string }[]
    /**
     * How many nodes could run it, where a mesh split into halves of them would have both sides run it
     * until they meet; else null.
     */
    halves: number | null
  }[]
}

/** Why a microservice runs where it does. */
export interface ExplainJson {
  application: string
  microservice: string
  replicas: {
    slot: number
    node: string | null
    state: ReplicaState
    /** Why it was placed there, in words that follow "because"; null where that is not known. */
    placed: string | null
    /** Why it does not run, or waits. */
    reason: string | null
  }[]
  nodes: {
    node: string
    replicas: number
    /** What refuses one more, in words that follow the node's name; null: nothing does. */
    refusal: string | null
  }[]
}

/** Something that happened, as this node saw it since its daemon started. */
export interface EventJson {
  /** ISO 8601, of this node. */
  at: string
  kind: 'leader' | 'node' | 'rollout' | 'placement'
  /** What it is about: a node, APP/MICROSERVICE or APP/MICROSERVICE/SLOT. */
  subject: string
  text: string
}

/** What moves, or would, so that replicas are spread evenly. */
export interface RebalanceResult {
  moves: { application: string; microservice: string; slot: number; from: string; to: string }[]
  offline: string[]
}

export interface NodeResult {
  node: NodeJson
  /** Members that cannot be reached now and will hear of it later. */
  offline: string[]
}

export interface NodeRemoved extends NodeResult {
  /** The mesh key from now on; null where it stayed as it was, or may not be shown here. */
  key: string | null
}

/** An op that came to nothing because its author was no member when its turn came. */
export interface DroppedJson {
  node: string
  op: string
  /** Such as `microservice.set`. */
  type: string
  /** ISO 8601, by its author's clock. */
  at: string
}

export interface InviteRequest {
  role: RoleName
  labels: Record<string, string>
  uses: number
  expiresInMs: number
}

export interface InviteJson {
  /** Of its public key. */
  id: string
  role: RoleName
  labels: Record<string, string>
  state: 'open' | 'used' | 'expired' | 'revoked'
  uses: number
  /** Names of nodes; more than `uses` where two sides of a split spent the last one. */
  used: string[]
  /** ISO 8601. */
  expiresAt: string
  createdBy: string
}

export interface InviteMade extends InviteJson {
  /** What `brume join` takes. Shown this once. */
  invite: string
}

export interface LeaveRequest {
  /** Also where no other member is in reach. */
  force: boolean
}

export interface LeaveResult {
  mesh: string
  /** Containers that were stopped and removed, as APP/MICROSERVICE/SLOT. */
  containers: string[]
  /** What is kept: APP/MICROSERVICE/SLOT/NAME, and Docker's name of it or its directory. */
  volumes: { volume: string; place: string }[]
  /** The daemon has stopped once this process is gone. */
  pid: number
}

/** What the routers before a node do to its packets. */
export type NatJson = 'open' | 'easy' | 'symmetric' | 'unknown'

/** A member, and the way this node has to it. */
export interface NetJson {
  name: string
  id: string
  /** `down`: no link leads there, which in a large mesh is no fault. */
  path: 'self' | 'lan' | 'direct' | 'relayed' | 'down'
  /** Name of the relay, or where there is no link, of the next node on the way; else null. */
  via: string | null
  /** HOST:PORT the packets go to; null where no link leads there. */
  address: string | null
  /** Measured every 10 s; null until then. */
  rttMs: number | null
  nat: NatJson
  /** Age of the link, or of its end; null where there never was one since this daemon started. */
  sinceMs: number | null
  /** The data connection that flows take, with its relay and how many are under way; null: none. */
  tunnel: { path: 'lan' | 'direct' | 'relayed'; via: string | null; flows: number } | null
  /** One sentence. */
  why: string
}

/** A microservice, as this node and its containers reach it. */
export interface ServiceNetJson {
  application: string
  microservice: string
  /** What it is called in any container that may reach it. */
  name: string
  ports: { container: number; protocol: 'tcp' | 'udp' }[]
  /** Who serves, in the order in which a flow from this node tries them. */
  replicas: ServiceReplicaJson[]
  /** Where ports are open for it, whoever runs it. */
  exposed: ExposedJson[]
}

/** One node that opens a port for a microservice. */
export interface ExposedJson {
  /** Name. */
  node: string
  port: number
  /** Of the container. */
  to: number
  protocol: 'tcp' | 'http'
  /** `all`, or by which label the node is one of those. */
  on: string
  host: string | null
  path: string | null
  tls: boolean
  /** null: nobody can tell now. */
  open: boolean | null
  /** Why it is not open, or nobody can tell: one sentence. */
  reason: string | null
}

export interface ServiceReplicaJson {
  slot: number
  /** Name of its node. */
  node: string
  /** Of the tunnel that flows take; where none is open, of the link. */
  path: 'self' | 'lan' | 'direct' | 'relayed' | 'down'
  via: string | null
  rttMs: number | null
  /** Under way from this node. */
  flows: number
  /** What its place in the order comes from: one sentence. */
  why: string
}

/** An address outside the mesh that some nodes reach. */
export interface ServiceRequest {
  application: string
  name: string
  spec: ServiceSpec
}

export interface ServiceResult {
  application: string
  name: string
  change: 'created' | 'updated' | 'unchanged'
  /** What differs, in words; empty where nothing does. */
  line: string
  /** Members that cannot be reached now and will hear of it later. */
  offline: string[]
}

export interface ServiceJson {
  application: string
  service: string
  /** What it is called in any container that may reach it. */
  name: string
  spec: ServiceSpec
  /** Those that dial it. */
  nodes: { name: string; alive: boolean }[]
  /** A microservice has its name, and is meant by it. */
  hidden: boolean
  /** Name of a node. */
  setBy: string
  /** ISO 8601. */
  setAt: string
}

export interface BundleResult {
  digest: string
  bytes: number
  core: string
  blockOffset: number
  blockLength: number
  byteOffset: number
}

/** First the head, then each bundle in pieces, one bundle after another. */
export type BackupLine = { head: BackupHead } | { bundle: string; chunk: string }

export interface BackupHead {
  version: string
  at: string
  /** Mesh id. */
  mesh: string
  /** The mesh key, where the node that wrote it could show it. */
  key: string | null
  bootstrap: string[]
  defaultRole: RoleName
  nodes: { name: string; labels: Record<string, string> }[]
  applications: DeployRequest[]
  /** Missing in a file of a version that had none. */
  services?: ServiceRequest[]
}

export interface DeployRequest {
  application: string
  /** The whole application: microservices that are not here are removed. */
  microservices: { name: string; spec: MicroserviceSpec }[]
  /** Only while the application is the one this names: `rev` of HistoryJson, 6 digits or more. */
  ifRev?: string
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

export interface RollbackRequest {
  /** Position in its history; the newest that was another where missing. */
  n?: number
}

export interface RolloutRequest {
  /** `promote`: after the canaries. */
  action: 'pause' | 'resume' | 'promote'
}

/** The newest rollout of a microservice. */
export interface RolloutJson {
  application: string
  microservice: string
  /** Hash of what it brings. */
  revision: string
  /** Hash of what is gone back to; null at its end, and for one that goes back itself. */
  from: string | null
  state: 'running' | 'paused' | 'done' | 'rolledBack'
  promoted: boolean
  /** Its canaries are up, and the others wait for `promote`. */
  awaitsPromotion: boolean
  /** Slots that are placed; those of them that have the new revision; those of these that are up. */
  slots: number
  renewed: number
  up: number
  /** What the next slot waits for; null where none does. */
  waits: string | null
  /** Why it is paused or was rolled back: one line. */
  reason: string | null
  /** The last lines of what failed. */
  log: string[]
  /** Who wrote of it last, and when. */
  by: string
  /** ISO 8601. */
  at: string
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
  /** Ports of many nodes that lead to it or another replica, with what is wrong on one of them. */
  exposed: { port: number; to: number; protocol: 'tcp' | 'http'; problem: string | null }[]
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
 * Where `forward` would lead now. A flow itself is `GET /flows`, upgraded to `brume-flow`; one of UDP
 * carries datagrams, two bytes of length before each.
 */
export interface ForwardJson {
  application: string
  microservice: string
  /** null for any replica. */
  slot: number | null
  /** That are declared; a container may listen on more. */
  ports: { container: number; protocol: 'tcp' | 'udp' }[]
  /** Those that are up and healthy. */
  replicas: { slot: number; node: string }[]
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
  /** Names the application as it is: what `deploy --if-rev` takes. */
  rev: string
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

/** Edits of one thing by two nodes neither of which had seen the other's. */
export interface ConflictJson {
  /** The same on every node; its first six digits do where they are unique. */
  id: string
  noun: string
  name: string
  standing: SideJson
  lost: SideJson
}

export interface SideJson {
  op: string
  /** Name of the node. */
  by: string
  at: string
  removed: boolean
  /** One line: what this side has that the other has not. */
  has: string
}

/** An invite that let more nodes in than it had uses: two sides of a split spent the last one. */
export interface OverspentJson {
  /** As `brume conflict keep` takes ids; nothing is to be kept of it, and that answers so. */
  id: string
  /** Id of the invite. */
  invite: string
  uses: number
  /** Nodes of it that are not removed, in the order in which they came in. */
  nodes: { name: string; state: 'member' | 'pending' }[]
}

export interface ConflictsJson {
  /** Oldest first. */
  conflicts: ConflictJson[]
  /** Until a node of it is removed, or the invite. */
  overspent: OverspentJson[]
  /** Older ones of which nothing is known any more. */
  dropped: number
}

export interface KeepRequest {
  which: 'lost' | 'standing'
}

export interface KeepResult {
  noun: string
  name: string
  kept: SideJson
  offline: string[]
}

export interface HistoryJson {
  name: string
  /** Names the application as it is: what `deploy --if-rev` takes; null where there is none. */
  rev: string | null
  /** Oldest first. */
  revisions: RevisionJson[]
}

export interface RevisionJson {
  noun: string
  name: string
  /** Position among the revisions of its thing, from 1 on. */
  n: number
  op: string
  by: string
  at: string
  /** Op of the revision its author saw; null where it saw none. */
  over: string | null
  /** Position of that one; null where it is not kept, or never stood. */
  overN: number | null
  /** Op of the edit whose value this puts back. */
  keeps: string | null
  removed: boolean
  /** One line: `image local/web:2 → :3, replicas 3 → 5`. */
  change: string
}

export interface AuditJson {
  op: string
  /** Type of the op: `microservice.set`. */
  type: string
  /** What it is about: `hello/web`. */
  subject: string
  by: string
  at: string
  over: string | null
}
