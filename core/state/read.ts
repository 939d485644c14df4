/** Reads the whole view into a State. */
import { keys } from './keys.ts'
import { withDisplayNames } from './nodes.ts'
import {
  microserviceKey,
  slotKey,
  type ApplicationRecord,
  type InviteRecord,
  type JoinKeyRecord,
  type LeaseRecord,
  type MeshRecord,
  type MicroserviceRecord,
  type NodeRecord,
  type PlacementRecord,
  type RecoveryRecord,
  type SealedKeyRecord,
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
  placements: new Map(),
  lease: null,
  recoveries: [],
  indexers: []
})

/** `entries` in key order, of one snapshot. */
export async function readState(
  entries: AsyncIterable<{ key: string; value: unknown }>
): Promise<State> {
  const state = emptyState()
  const nodes: NodeRecord[] = []
  for await (const { key, value } of entries) {
    if (key === keys.format) state.format = value as number
    else if (key === keys.mesh) state.mesh = value as MeshRecord
    else if (key === keys.lease) state.lease = value as LeaseRecord
    else if (key.startsWith(keys.recoveries)) state.recoveries.push(value as RecoveryRecord)
    else if (key.startsWith(keys.nodes)) nodes.push(value as NodeRecord)
    else if (key.startsWith(keys.joinKeys)) {
      const record = value as JoinKeyRecord
      state.joinKeys.set(record.publicKey, record)
    } else if (key.startsWith(keys.sealedKeys)) {
      const record = value as SealedKeyRecord
      state.sealedKeys.set(record.node, record)
    } else if (key.startsWith(keys.invites)) {
      const record = value as InviteRecord
      state.invites.set(record.publicKey, record)
    } else if (key.startsWith(keys.droppedCounts)) {
      state.dropped.set(key.slice(keys.droppedCounts.length), value as number)
    } else if (key.startsWith(keys.applications)) {
      const record = value as ApplicationRecord
      state.applications.set(record.name, record)
    } else if (key.startsWith(keys.microservices)) {
      const record = value as MicroserviceRecord
      state.microservices.set(microserviceKey(record), record)
    } else if (key.startsWith(keys.placements)) {
      const record = value as PlacementRecord
      state.placements.set(slotKey(record), record)
    }
  }
  for (const node of withDisplayNames(nodes)) state.nodes.set(node.id, node)
  return state
}
