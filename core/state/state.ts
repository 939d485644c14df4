/** The view read into memory: what deciders and handlers look at. Never changed in place. */
import type { Fork } from '../fork.ts'
import type { MicroserviceSpec } from './microservices.ts'
import type { OpId, Written } from './records.ts'
import type { Proof } from '../proof.ts'
import type { ServiceSpec } from './services.ts'

export type Role = 'admin' | 'operator' | 'node' | 'viewer'

/** From the least on. */
export const ROLES: readonly Role[] = ['viewer', 'node', 'operator', 'admin']

export const atLeast = (role: Role, least: Role): boolean =>
  ROLES.indexOf(role) >= ROLES.indexOf(least)

/** Made by `mesh.init`; key and lock are admins' words. */
export interface MeshRecord {
  /** Mesh id: key of the base, z-base-32. */
  id: string
  defaultRole: Role
  /** z-base-32; verifies admissions by the mesh key of now. */
  joinPublicKey: string
  /** How often the key was changed. */
  keyEpoch: number
  /** The mesh key lets nobody in: invites only. */
  locked: boolean
}

/** A mesh key of now or before; written with it. */
export interface JoinKeyRecord {
  /** z-base-32. */
  publicKey: string
  epoch: number
  /** null for the key the mesh was made with. */
  proof: Proof | null
}

/** The secret of a join key in a box for one node; written by who changed the key. */
export interface SealedKeyRecord {
  node: string
  publicKey: string
  /** Hex. */
  box: string
}

/** Written by admins; `used` grows with every admission by it. */
export interface InviteRecord extends Written {
  /** Of its join key, z-base-32: its id. */
  publicKey: string
  role: Role
  controller: boolean
  labels: Record<string, string>
  uses: number
  /** Node ids. More than `uses` where two sides of a split spent the last one. */
  used: string[]
  /** Wall ms, judged by the clock of the member that admits. */
  expiresAt: number
  revoked: boolean
  proof: Proof
}

/** An op of a node that was no member any more (or not yet) when its turn came. */
export interface DroppedRecord {
  op: OpId
  node: string
  type: string
  at: number
}

/** Admitted by any member; labels, name and rights are operators' and admins' words. */
export interface NodeRecord {
  id: string
  /** The name it asked for. Two of one name after a merge: see `displayName`. */
  name: string
  /** Unique: the later of two of one name shows as `pi~2`. */
  displayName: string
  role: Role
  controller: boolean
  labels: Record<string, string>
  /** `pending`: admitted by a key that had been changed elsewhere; an admin says yes or no. */
  state: 'member' | 'pending' | 'removed'
  /** The join public key it came in by. */
  admittedBy: string
  /** An operator's word that it will not come back. */
  lost: boolean
  /** Whether it may get replicas; missing: it may. */
  availability?: Availability
  /** By whom it was removed; null for a member, and for one that left. */
  removal: Proof | null
  /** Order of admission in this view. */
  ordinal: number
  /** Who set a field last, where somebody did since it was admitted. */
  edits: Partial<Record<NodeField, Written>>
  op: string
}

/** What people set of a node. */
export type NodeField = 'name' | 'labels' | 'role' | 'controller' | 'lost' | 'availability'

export interface Availability {
  /** `cordoned`: it keeps what it has; `draining`: that goes elsewhere, too. */
  mode: 'active' | 'cordoned' | 'draining'
  /** An operator's words, or none. */
  reason: string
  /** When what has no other place stops, after so long; null: never. */
  deadlineMs: number | null
}

export interface ApplicationRecord extends Written {
  name: string
}

export interface MicroserviceRecord extends Written {
  application: string
  name: string
  spec: MicroserviceSpec
  /** Hash of what its containers are made of. */
  revision: string
}

/** An address outside the mesh that some nodes reach; since format 2. */
export interface ServiceRecord extends Written {
  application: string
  name: string
  spec: ServiceSpec
}

/** Written by the leader of a connected part; one a slot. */
export interface PlacementRecord extends Written {
  application: string
  microservice: string
  slot: number
  /** Node id. */
  node: string
  revision: string
  term: number
  /** Why it came there, where that decides how it goes on; since format 2. */
  moved?: PlacementMove
  /** Why it is there, in words that follow "because"; since format 2. */
  reason?: string
}

export interface PlacementMove {
  /** Node id: where it was. */
  from: string
  /** `silent`: that node may come back with its copy; `asked`: by a person, so nobody undoes it. */
  why: 'silent' | 'asked'
}

/** A person's wish where a slot should run; gone when it does. */
export interface MoveRecord extends Written {
  application: string
  microservice: string
  slot: number
  /** Node id. */
  node: string
}

/** Where the named volumes of a slot are: the node it was placed on last. Written with its placement. */
export interface HomeRecord {
  application: string
  microservice: string
  slot: number
  /** Node id. */
  node: string
}

export type RolloutState = 'running' | 'paused' | 'done' | 'rolledBack'

/** The newest of a microservice; who wrote it last, as Written. */
export interface RolloutRecord extends Written {
  application: string
  microservice: string
  /** The op whose value it brings. */
  of: OpId
  revision: string
  /** What is gone back to, and what slots are made of that were not reached yet; null at its end. */
  from: { revision: string; spec: MicroserviceSpec; op: OpId } | null
  state: RolloutState
  /** A person let it go on after its canaries. */
  promoted: boolean
  /** Why it is paused or was rolled back: one line. */
  reason: string | null
  /** The last lines of what failed. */
  log: string[]
}

export interface LeaseRecord {
  term: number
  /** Node id of the holder. */
  node: string
}

/** Written by the admin that recovered the mesh; one on each side where two did. */
export interface RecoveryRecord extends Written {
  epoch: number
  /** Node ids. */
  reached: string[]
  minority: boolean
}

export interface State {
  format: number
  mesh: MeshRecord | null
  /** By public key. */
  joinKeys: Map<string, JoinKeyRecord>
  /** By node id. */
  sealedKeys: Map<string, SealedKeyRecord>
  /** By public key. */
  invites: Map<string, InviteRecord>
  /** How many ops of each node were dropped. */
  dropped: Map<string, number>
  nodes: Map<string, NodeRecord>
  applications: Map<string, ApplicationRecord>
  /** By `application/microservice`. */
  microservices: Map<string, MicroserviceRecord>
  /** By `application/service`. */
  services: Map<string, ServiceRecord>
  /** By `application/microservice/slot`. */
  placements: Map<string, PlacementRecord>
  /** By `application/microservice`. */
  rollouts: Map<string, RolloutRecord>
  /** By `application/microservice/slot`. */
  moves: Map<string, MoveRecord>
  /** By `application/microservice/slot`. */
  homes: Map<string, HomeRecord>
  lease: LeaseRecord | null
  recoveries: RecoveryRecord[]
  /** Node ids of those whose agreement confirms the order, and of those that are about to join them. */
  indexers: string[]
  /** The order of ops that all the above was read of. */
  fork: Fork
}

export const microserviceKey = (r: { application: string; name: string }): string =>
  `${r.application}/${r.name}`

export const slotKey = (r: { application: string; microservice: string; slot: number }): string =>
  `${r.application}/${r.microservice}/${r.slot}`
