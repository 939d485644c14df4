/** Views as the Agent's tests need them. */
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import { emptyState } from '../../../core/state/read.ts'
import type {
  MicroserviceRecord,
  NodeRecord,
  PlacementRecord,
  State
} from '../../../core/state/state.ts'
import { specWith } from '../../helpers/spec.ts'

export const SELF = 'self'

export const HEALTHCHECK = {
  command: ['check'],
  shell: false,
  intervalMs: 2000,
  timeoutMs: 1000,
  retries: 3,
  startPeriodMs: 5000
}

/** `microservices`: by name, in application `demo`. `placements`: slot reference → node, revision. */
export function view(
  microservices: Record<string, { revision: string } & Partial<MicroserviceSpec>>,
  placements: Record<string, { node?: string; revision: string; op?: string }>
): State {
  const state: State = {
    ...emptyState(),
    format: 1,
    mesh: { id: 'm', defaultRole: 'admin', joinPublicKey: 'k', keyEpoch: 0, locked: false },
    nodes: new Map([SELF, 'other'].map((id, i) => [id, nodeRecord(id, i)]))
  }
  for (const [name, { revision, ...over }] of Object.entries(microservices)) {
    const record: MicroserviceRecord = {
      application: 'demo',
      name,
      spec: specWith(over),
      revision,
      op: `set-${revision}`,
      by: SELF,
      at: 0
    }
    state.microservices.set(`demo/${name}`, record)
  }
  for (const [ref, { node = SELF, revision, op }] of Object.entries(placements)) {
    const [microservice = '', slot] = ref.split('/')
    const placement: PlacementRecord = {
      application: 'demo',
      microservice,
      slot: Number(slot),
      node,
      revision,
      term: 1,
      op: op ?? `place-${node}-${revision}`,
      by: SELF,
      at: 0
    }
    state.placements.set(`demo/${ref}`, placement)
  }
  return state
}

export function nodeRecord(id: string, ordinal = 0): NodeRecord {
  return {
    id,
    name: id,
    displayName: id,
    role: 'admin',
    controller: true,
    labels: {},
    state: 'member',
    admittedBy: 'k',
    lost: false,
    removal: null,
    ordinal,
    edits: {},
    op: `admit-${id}`
  }
}
