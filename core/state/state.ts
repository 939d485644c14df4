/** The view read into memory: what deciders and handlers look at. Never changed in place. */
import type { MicroserviceSpec } from './microservices.ts'
import type { Written } from './records.ts'

export type Role = 'admin' | 'operator' | 'node' | 'viewer'

/** Written by `mesh.init`, once. */
export interface MeshRecord {
  /** Mesh id: key of the base, z-base-32. */
  id: string
  defaultRole: Role
  /** z-base-32; verifies admissions of `keyEpoch`. */
  joinPublicKey: string
  keyEpoch: number
}

/** Admitted by any member; labels, role and controller written by operators and admins. */
export interface NodeRecord {
  id: string
  /** The name it asked for. Two of one name after a merge: see `displayName`. */
  name: string
  /** Unique: the later of two of one name shows as `pi~2`. */
  displayName: string
  role: Role
  controller: boolean
  labels: Record<string, string>
  state: 'member' | 'pending' | 'removed'
  /** Order of admission in this view. */
  ordinal: number
  op: string
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

/** Written by the leader of a connected part; one a slot. */
export interface PlacementRecord extends Written {
  application: string
  microservice: string
  slot: number
  /** Node id. */
  node: string
  revision: string
  term: number
}

export interface LeaseRecord {
  term: number
  /** Node id of the holder. */
  node: string
}

export interface State {
  format: number
  mesh: MeshRecord | null
  nodes: Map<string, NodeRecord>
  applications: Map<string, ApplicationRecord>
  /** By `application/microservice`. */
  microservices: Map<string, MicroserviceRecord>
  /** By `application/microservice/slot`. */
  placements: Map<string, PlacementRecord>
  lease: LeaseRecord | null
}

export const microserviceKey = (r: { application: string; name: string }): string =>
  `${r.application}/${r.name}`

export const slotKey = (r: { application: string; microservice: string; slot: number }): string =>
  `${r.application}/${r.microservice}/${r.slot}`
