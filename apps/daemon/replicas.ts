/** The lines of `brume ps`: what is asked for, joined with what nodes report. Pure. */
import type { ContainerStatus, ExposedBody, StatusBody } from '../../core/gossip-records.ts'
import { imageFor } from '../../core/state/microservices.ts'
import { isStopped } from '../../core/state/policies.ts'
import {
  slotKey,
  type MicroserviceRecord,
  type PlacementRecord,
  type State
} from '../../core/state/state.ts'
import type { ReplicaJson, WatchedReplica } from '../api.ts'
import { exposedBrief } from './exposed.ts'

export interface ReplicaWorld {
  state: State
  alive: ReadonlySet<string>
  silentMs: ReadonlyMap<string, number>
  status: ReadonlyMap<string, StatusBody>
  /** Why slots wait, by slot key. */
  waiting: ReadonlyMap<string, string>
  /** What each node tells of ports it opens. */
  exposed: ReadonlyMap<string, ExposedBody>
  /** Why the engine of a node cannot be used now; null where it can. */
  engineProblem: (node: string) => string | null
}

/** A line for every wanted slot, and for every copy that is not gone yet; by name and slot. */
export function replicas(world: ReplicaWorld): WatchedReplica[] {
  const rows = [...world.state.microservices.values()].flatMap((record) => wanted(record, world))
  return [...rows, ...leftovers(world)].sort(
    (a, b) =>
      compare(a.application, b.application) ||
      compare(a.microservice, b.microservice) ||
      a.slot - b.slot ||
      Number(a.wanted === null) - Number(b.wanted === null) ||
      compare(a.node ?? '', b.node ?? '')
  )
}

export function toReplicaJson(row: WatchedReplica): ReplicaJson {
  const { application, microservice, slot, node, state, healthy, since } = row
  const { image, ports, exposed, reason } = row
  const what = { application, microservice, slot, node, state, healthy, since }
  return { ...what, image, ports, exposed, reason }
}

function wanted(record: MicroserviceRecord, world: ReplicaWorld): WatchedReplica[] {
  const { application, name: microservice, spec } = record
  const { placements } = world.state
  const exposed = exposedBrief(`${application}/${microservice}`, world)
  const slots =
    spec.replicas === 'all'
      ? [...placements.values()]
          .filter((p) => p.application === application && p.microservice === microservice)
          .map(({ slot }) => slot)
      : [...Array(spec.replicas).keys()]
  if (spec.replicas === 'all' && slots.length === 0) slots.push(0)
  if (isStopped(spec)) {
    const reason = `stopped, until \`brume start ${application}/${microservice}\``
    const rest = { healthy: null, since: null, ports: [], revision: null, checked: false, reason }
    const image = imageOf(record)
    return slots.map((slot) => ({
      ...{ application, microservice, slot, node: null, state: 'stopped' as const },
      ...{ ...rest, image, exposed, wanted: null }
    }))
  }
  return slots.map((slot) => {
    const key = slotKey({ application, microservice, slot })
    const placement = placements.get(key) ?? null
    const found = placement === null ? null : copyOn(placement.node, key, placement.op, world)
    return {
      application,
      microservice,
      slot,
      ...situation(placement, found, world, key),
      image: found?.image ?? imageOf(record),
      exposed,
      wanted: record.revision,
      checked: spec.healthcheck !== null
    }
  })
}

function situation(
  placement: PlacementRecord | null,
  found: ContainerStatus | null,
  world: ReplicaWorld,
  key: string
): Pick<WatchedReplica, 'node' | 'state' | 'healthy' | 'since' | 'ports' | 'reason' | 'revision'> {
  const why = (): string | null => world.waiting.get(key) ?? null
  const nothing = { healthy: null, since: null, ports: [], revision: null }
  if (placement === null) {
    return { ...nothing, node: null, state: 'waiting', reason: why() ?? 'no node leads yet' }
  }
  const node = nameOf(placement.node, world)
  if (!world.alive.has(placement.node)) {
    const silent = world.silentMs.get(placement.node)
    const age =
      silent === undefined ? 'is not heard' : `is silent for ${Math.round(silent / 1000)} s`
    return {
      ...nothing,
      node,
      state: 'unknown',
      ports: found?.ports ?? [],
      revision: found?.revision ?? null,
      reason: why() ?? `${node} ${age}`
    }
  }
  if (found === null) {
    const reason = world.engineProblem(placement.node) ?? why()
    return { ...nothing, node, state: 'starting', reason }
  }
  const isUp = found.state === 'running'
  const problem = isUp ? null : world.engineProblem(placement.node)
  return { node, ...reportOf(found), reason: found.reason ?? problem ?? why() }
}

/** Copies on alive nodes that are placed elsewhere, or nowhere. */
function leftovers(world: ReplicaWorld): WatchedReplica[] {
  const rows: WatchedReplica[] = []
  for (const id of world.alive) {
    for (const container of world.status.get(id)?.containers ?? []) {
      const key = slotKey(container)
      const record = world.state.microservices.get(
        `${container.application}/${container.microservice}`
      )
      const isAsked = record !== undefined && !isStopped(record.spec)
      const placement = isAsked ? world.state.placements.get(key) : undefined
      if (placement?.node === id && copyOn(id, key, placement.op, world) === container) continue
      const { application, microservice, slot, image } = container
      rows.push({
        application,
        microservice,
        slot,
        node: nameOf(id, world),
        ...reportOf(container),
        image,
        exposed: [],
        wanted: null,
        checked: false
      })
    }
  }
  return rows
}

const reportOf = (container: ContainerStatus) => ({
  state: container.waits === true ? ('waiting' as const) : container.state,
  healthy: container.healthy,
  since: new Date(container.since).toISOString(),
  ports: container.ports,
  reason: container.reason,
  revision: container.revision
})

/** The node's copy of the slot: that of this placement before an older one. */
function copyOn(
  node: string,
  key: string,
  placement: string,
  world: ReplicaWorld
): ContainerStatus | null {
  const copies = (world.status.get(node)?.containers ?? []).filter((c) => slotKey(c) === key)
  return copies.find((copy) => copy.placement === placement) ?? copies[0] ?? null
}

const nameOf = (id: string, { state }: ReplicaWorld): string =>
  state.nodes.get(id)?.displayName ?? id.slice(0, 8)

const imageOf = ({ spec }: MicroserviceRecord): string | null => imageFor(spec, '')

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
