/** Makes a State of the records of a view, and of what changed in them the next one. */
import { NO_FORK } from '../fork.ts'
import { keys } from './keys.ts'
import { withDisplayNames } from './nodes.ts'
import type { Records } from './sorted.ts'
import {
  microserviceKey,
  slotKey,
  type ApplicationRecord,
  type HomeRecord,
  type InviteRecord,
  type JoinKeyRecord,
  type LeaseRecord,
  type MeshRecord,
  type MicroserviceRecord,
  type MoveRecord,
  type NodeRecord,
  type PlacementRecord,
  type RecoveryRecord,
  type RolloutRecord,
  type SealedKeyRecord,
  type ServiceRecord,
  type State
} from './state.ts'

export const emptyState = (): State => ({
  format: 0,
  mesh: null,
  joinKeys: new Map(),
  sealedKeys: new Map(),
  invites: new Map(),
  dropped: new Map(),
  nodes: new Map(),
  applications: new Map(),
  microservices: new Map(),
  services: new Map(),
  placements: new Map(),
  rollouts: new Map(),
  moves: new Map(),
  homes: new Map(),
  lease: null,
  recoveries: [],
  indexers: [],
  fork: NO_FORK
})

/** The state of `records`, of which `before` showed all but `changed`; what did not change is shared. */
export function nextState(before: State, records: Records, changed: Iterable<string>): State {
  const fields = new Set<string>()
  for (const key of changed) fields.add(fieldOf(key))
  let state = before
  for (const field of fields) state = { ...state, ...FIELDS[field]?.(records) }
  return state
}

/** By what keys begin with, up to and with the first `/`; or whole keys. Others are not in a State. */
const FIELDS: Record<string, (records: Records) => Partial<State>> = {
  [keys.format]: (records) => ({ format: records.get<number>(keys.format) ?? 0 }),
  [keys.mesh]: (records) => ({ mesh: records.get<MeshRecord>(keys.mesh) ?? null }),
  [keys.lease]: (records) => ({ lease: records.get<LeaseRecord>(keys.lease) ?? null }),
  [keys.recoveries]: (records) => ({
    recoveries: [...records.under<RecoveryRecord>(keys.recoveries)].map(([, record]) => record)
  }),
  [keys.nodes]: (records) => {
    const nodes = [...records.under<NodeRecord>(keys.nodes)].map(([, node]) => node)
    return { nodes: by(withDisplayNames(nodes), ({ id }) => id) }
  },
  [keys.joinKeys]: (records) => ({
    joinKeys: mapUnder<JoinKeyRecord>(records, keys.joinKeys, ({ publicKey }) => publicKey)
  }),
  [keys.sealedKeys]: (records) => ({
    sealedKeys: mapUnder<SealedKeyRecord>(records, keys.sealedKeys, ({ node }) => node)
  }),
  [keys.invites]: (records) => ({
    invites: mapUnder<InviteRecord>(records, keys.invites, ({ publicKey }) => publicKey)
  }),
  [keys.droppedCounts]: (records) => {
    const counts = [...records.under<number>(keys.droppedCounts)]
    const { length } = keys.droppedCounts
    return { dropped: new Map(counts.map(([key, count]) => [key.slice(length), count])) }
  },
  [keys.applications]: (records) => ({
    applications: mapUnder<ApplicationRecord>(records, keys.applications, ({ name }) => name)
  }),
  [keys.microservices]: (records) => ({
    microservices: mapUnder<MicroserviceRecord>(records, keys.microservices, microserviceKey)
  }),
  [keys.services]: (records) => ({
    services: mapUnder<ServiceRecord>(records, keys.services, microserviceKey)
  }),
  [keys.placements]: (records) => ({
    placements: mapUnder<PlacementRecord>(records, keys.placements, slotKey)
  }),
  [keys.moves]: (records) => ({ moves: mapUnder<MoveRecord>(records, keys.moves, slotKey) }),
  [keys.homes]: (records) => ({ homes: mapUnder<HomeRecord>(records, keys.homes, slotKey) }),
  [keys.rollouts]: (records) => ({
    rollouts: mapUnder<RolloutRecord>(
      records,
      keys.rollouts,
      ({ application, microservice }) => `${application}/${microservice}`
    )
  })
}

const fieldOf = (key: string): string => (key in FIELDS ? key : key.slice(0, key.indexOf('/') + 1))

const mapUnder = <T>(records: Records, prefix: string, id: (record: T) => string): Map<string, T> =>
  by(
    [...records.under<T>(prefix)].map(([, record]) => record),
    id
  )

const by = <T>(records: T[], id: (record: T) => string): Map<string, T> =>
  new Map(records.map((record) => [id(record), record]))
