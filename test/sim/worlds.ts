/**
 * Random worlds for the Controller's deciders: a few nodes, some silent, some odd; a few
 * microservices with wishes that clash; placements and containers left by whatever happened before.
 */
import fc from 'fast-check'
import type { ContainerStatus, FactsBody, StatusBody } from '../../core/gossip-records.ts'
import type { Device } from '../../core/state/devices.ts'
import type { Bundle, MicroserviceSpec } from '../../core/state/microservices.ts'
import {
  microserviceKey,
  slotKey,
  type HomeRecord,
  type MicroserviceRecord,
  type MoveRecord,
  type Availability,
  type NodeRecord,
  type PlacementRecord,
  type State
} from '../../core/state/state.ts'
import type { Policies } from '../../core/state/policies.ts'
import { emptyState } from '../../core/state/read.ts'
import { volumeNames, type Volume } from '../../core/state/volumes.ts'
import type { Plan, PlaceInput } from '../../roles/controller/place.ts'
import { specWith } from '../helpers/spec.ts'

export const MIB = 2 ** 20

export function node(id: string, over: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    name: id,
    displayName: id,
    role: 'admin',
    controller: true,
    labels: {},
    state: 'member',
    admittedBy: 'key',
    lost: false,
    removal: null,
    ordinal: 0,
    edits: {},
    op: `${id}.0`,
    ...over
  }
}

export function microservice(
  name: string,
  over: Partial<MicroserviceSpec> = {},
  revision = 'r1'
): MicroserviceRecord {
  return { application: 'app', name, spec: specWith(over), revision, op: 'a.1', by: 'a', at: 0 }
}

export function facts(over: Partial<FactsBody> = {}): FactsBody {
  return {
    version: '0.1.0',
    format: 1,
    os: 'linux',
    arch: 'amd64',
    engine: { kind: 'docker', version: '20.10', problem: null },
    cpus: 4,
    memoryBytes: 1024 * MIB,
    ...over
  }
}

export function placement(
  name: string,
  slot: number,
  on: string,
  revision = 'r1'
): PlacementRecord {
  const written = { op: 'a.2', by: 'a', at: 0 }
  return { application: 'app', microservice: name, slot, node: on, revision, term: 1, ...written }
}

export function container(
  name: string,
  slot: number,
  over: Partial<ContainerStatus> = {}
): ContainerStatus {
  return {
    application: 'app',
    microservice: name,
    slot,
    revision: 'r1',
    placement: 'a.2',
    state: 'running',
    healthy: null,
    since: 0,
    image: null,
    ports: [],
    reason: null,
    restarts: 0,
    ...over
  }
}

export const home = (name: string, slot: number, on: string): HomeRecord => ({
  application: 'app',
  microservice: name,
  slot,
  node: on
})

export function stateOf(parts: {
  nodes?: NodeRecord[]
  microservices?: MicroserviceRecord[]
  placements?: PlacementRecord[]
  moves?: MoveRecord[]
  homes?: HomeRecord[]
  lease?: State['lease']
}): State {
  return {
    ...emptyState(),
    format: 1,
    nodes: new Map((parts.nodes ?? []).map((n) => [n.id, n])),
    microservices: new Map((parts.microservices ?? []).map((m) => [microserviceKey(m), m])),
    placements: new Map((parts.placements ?? []).map((p) => [slotKey(p), p])),
    moves: new Map((parts.moves ?? []).map((m) => [slotKey(m), m])),
    homes: new Map((parts.homes ?? []).map((h) => [slotKey(h), h])),
    lease: parts.lease ?? null
  }
}

/** A calm world: every node alive, with facts, long settled. */
export function world(
  parts: Parameters<typeof stateOf>[0] & {
    /** Silent nodes and for how long. */
    silent?: Record<string, number>
    facts?: Record<string, FactsBody | null>
    /** Containers by node. */
    runs?: Record<string, ContainerStatus[]>
    failing?: Record<string, string[]>
    /** Digests of the bundles that nodes have. */
    holds?: Record<string, string[]>
    /** Volumes that nodes tell of, as `app/web/0/data`. */
    volumes?: Record<string, string[]>
    /** Nodes whose drain is over its deadline. */
    overdue?: string[]
    settledMs?: number
  }
): PlaceInput {
  const state = stateOf(parts)
  const ids = [...state.nodes.keys()]
  const silent = parts.silent ?? {}
  const factsOf = (id: string): FactsBody | null =>
    parts.facts?.[id] === undefined ? facts() : parts.facts[id]
  return {
    self: ids[0] ?? 'a',
    state,
    alive: new Set(ids.filter((id) => silent[id] === undefined)),
    silentMs: new Map(Object.entries(silent)),
    facts: new Map(ids.flatMap((id) => (factsOf(id) ? [[id, factsOf(id) ?? facts()]] : []))),
    holds: new Map(Object.entries(parts.holds ?? {}).map(([id, digests]) => [id, { digests }])),
    status: new Map(
      ids.map((id): [string, StatusBody] => [
        id,
        {
          containers: parts.runs?.[id] ?? [],
          failing: parts.failing?.[id] ?? [],
          ...(parts.volumes?.[id] && { volumes: parts.volumes[id] }),
          ...(parts.overdue?.includes(id) && { overdue: DRAINED.op })
        }
      ])
    ),
    settledMs: parts.settledMs ?? 60_000,
    sinceMs: new Map()
  }
}

/** What apply makes of a plan. */
export function carriedOut(input: PlaceInput, plan: Plan): PlaceInput {
  const placements = new Map(input.state.placements)
  const homes = new Map(input.state.homes)
  for (const gone of plan.rm) placements.delete(slotKey(gone))
  for (const set of plan.set) {
    const { application, microservice: name, slot, node: on, revision, moved } = set
    const record = { ...placement(name, slot, on, revision), application }
    placements.set(slotKey(set), { ...record, ...(moved && { moved }) })
    const spec = input.state.microservices.get(`${application}/${name}`)?.spec
    if (spec !== undefined && volumeNames(spec).length > 0) {
      homes.set(slotKey(set), { application, microservice: name, slot, node: on })
    }
  }
  const moves = new Map(
    [...input.state.moves].filter(([key, { node }]) => placements.get(key)?.node !== node)
  )
  return { ...input, state: { ...input.state, placements, moves, homes } }
}

/** The same world with every map and set in another order. */
export function shuffled(input: PlaceInput, seed: number): PlaceInput {
  const mix = <K, V>(map: ReadonlyMap<K, V>): Map<K, V> => new Map(reorder([...map], seed))
  const { state } = input
  return {
    ...input,
    state: {
      ...state,
      nodes: mix(state.nodes),
      microservices: mix(state.microservices),
      placements: mix(state.placements),
      moves: mix(state.moves),
      homes: mix(state.homes)
    },
    alive: new Set(reorder([...input.alive], seed)),
    silentMs: mix(input.silentMs),
    facts: mix(input.facts),
    holds: mix(input.holds),
    status: new Map(
      [...mix(input.status)].map(([id, body]) => [
        id,
        { ...body, containers: reorder(body.containers, seed) }
      ])
    )
  }
}

/** What some ask for, and some nodes have. */
export const USB: Device = {
  host: '/dev/ttyUSB0',
  container: '/dev/ttyUSB0',
  permissions: 'rwm'
}

export const FILES: Bundle = {
  digest: 'f'.repeat(64),
  bytes: 1024,
  core: 'c'.repeat(64),
  ...{ blockOffset: 0, blockLength: 1, byteOffset: 0 }
}

export const DATA: Volume = { source: 'data', container: '/data', readOnly: false }

/** What set a node's availability last. */
export const DRAINED = { op: 'a.4', by: 'a', at: 0 }

/** What they run, where it may not be pulled and elsewhere. */
export const IMAGE = 'local/node:20'
export const FOR_ARM = 'local/arm:1'
const NODES = ['a', 'b', 'c', 'd', 'e', 'f']
const NAMES = ['api', 'db', 'web']
const REVISIONS = ['r1', 'r2']

/** Any world, tidy or not. */
export const worlds: fc.Arbitrary<PlaceInput> = fc
  .integer({ min: 1, max: NODES.length })
  .chain((count) => {
    const ids = NODES.slice(0, count)
    return fc
      .record({
        nodes: fc.tuple(...ids.map(anyNode)),
        microservices: fc.uniqueArray(anyMicroservice(ids), {
          maxLength: 3,
          selector: (m) => m.name
        }),
        placements: fc.array(anyPlacement(ids), { maxLength: 12 }),
        containers: fc.array(fc.tuple(fc.constantFrom(...ids), anyContainer), { maxLength: 12 }),
        failing: fc.array(fc.tuple(fc.constantFrom(...ids), fc.constantFrom(...NAMES))),
        moves: fc.array(anyMove(ids), { maxLength: 3 }),
        homes: fc.array(anyHome(ids), { maxLength: 4 }),
        areGone: fc.constantFrom(false, false, true),
        holders: fc.oneof({ weight: 3, arbitrary: fc.constant(ids) }, fc.subarray(ids)),
        overdue: fc.subarray(ids),
        settledMs: fc.constantFrom(0, 400, 1000, 60_000)
      })
      .map(
        ({
          nodes,
          microservices,
          placements,
          containers,
          failing,
          moves,
          homes: left,
          areGone,
          holders,
          overdue,
          settledMs
        }) => {
          const asked = placements.filter((p) => {
            const replicas = microservices.find((m) => m.name === p.microservice)?.spec.replicas
            return replicas !== undefined && (replicas === 'all' || p.slot < replicas)
          })
          const hasVolumes = (p: { microservice: string }): boolean =>
            microservices.some((m) => m.name === p.microservice && volumeNames(m.spec).length > 0)
          const at = asked.filter(hasVolumes).map((p) => home(p.microservice, p.slot, p.node))
          const homes = [...left, ...at]
          return world({
            nodes: nodes.map((n) => n.record),
            microservices,
            placements: asked,
            moves: moves.filter((m) => [...asked, ...homes].some((p) => slotKey(p) === slotKey(m))),
            homes,
            volumes: Object.fromEntries(
              ids.map((id) => [
                id,
                homes.filter((h) => h.node === id && !areGone).map((h) => `${slotKey(h)}/data`)
              ])
            ),
            holds: Object.fromEntries(holders.map((id) => [id, [FILES.digest]])),
            overdue,
            silent: Object.fromEntries(
              nodes.flatMap((n, i) =>
                n.silentMs === null || i === 0 ? [] : [[n.record.id, n.silentMs]]
              )
            ),
            facts: Object.fromEntries(nodes.map((n) => [n.record.id, n.facts])),
            runs: Object.fromEntries(
              ids.map((id) => [id, containers.filter(([on]) => on === id).map(([, c]) => c)])
            ),
            failing: Object.fromEntries(
              ids.map((id) => [
                id,
                failing.filter(([on]) => on === id).map(([, name]) => `app/${name}@r1`)
              ])
            ),
            settledMs
          })
        }
      )
  })

function anyNode(
  id: string
): fc.Arbitrary<{ record: NodeRecord; silentMs: number | null; facts: FactsBody | null }> {
  const often = <T>(usual: T, ...odd: T[]): fc.Arbitrary<T> =>
    fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, fc.constantFrom(usual, ...odd))
  return fc
    .record({
      record: fc
        .record({
          role: often<NodeRecord['role']>('admin', 'node', 'viewer'),
          state: often<NodeRecord['state']>('member', 'pending', 'removed'),
          lost: often(false, true),
          zone: fc.constantFrom('x', 'y', null),
          availability: often<Availability | null>(
            null,
            { mode: 'active', reason: '', deadlineMs: null },
            { mode: 'cordoned', reason: 'disk', deadlineMs: null },
            { mode: 'draining', reason: '', deadlineMs: null },
            { mode: 'draining', reason: 'disk', deadlineMs: 1_000 }
          )
        })
        .map(({ role, state, lost, zone, availability }) =>
          node(id, {
            ...{
              role,
              state,
              lost,
              displayName: `pi-${id}`,
              labels: zone === null ? {} : { zone }
            },
            ...(availability && { availability, edits: { availability: DRAINED } })
          })
        ),
      silentMs: often<number | null>(null, 0, 3000, 4999, 5000, 40_000),
      facts: often<FactsBody | null>(
        facts(),
        facts({ arch: 'arm64' }),
        facts({ engine: { kind: 'process', version: null, problem: null } }),
        facts({ engine: { kind: 'none', version: null, problem: null } }),
        facts({ engine: { kind: 'docker', version: null, problem: 'its socket does not answer' } }),
        facts({ cpus: 1, memoryBytes: 64 * MIB }),
        null
      ),
      devices: fc.constantFrom(undefined, { [USB.host]: true }, { [USB.host]: false }),
      hasImages: fc.constantFrom(undefined, true, true, false)
    })
    .map(({ facts, devices, hasImages, ...rest }) => ({
      ...rest,
      facts: facts && {
        ...facts,
        ...(devices && { devices }),
        ...(hasImages !== undefined && { images: { [IMAGE]: hasImages, [FOR_ARM]: hasImages } })
      }
    }))
}

function anyMicroservice(ids: string[]): fc.Arbitrary<MicroserviceRecord> {
  const rarely = <T>(usual: T, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, odd)
  const pins = [...ids.map((id) => `pi-${id}`), 'pi-nowhere']
  return fc
    .record({
      name: fc.constantFrom(...NAMES),
      revision: fc.constantFrom(...REVISIONS),
      replicas: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constant('all' as const)),
      node: rarely<string | null>(null, fc.constantFrom(...pins)),
      constraints: rarely<string[]>(
        [],
        fc.constantFrom(['zone=x'], ['zone!=x'], ['arch=amd64'], ['engine=docker', 'zone=y'])
      ),
      host: rarely<number | null>(null, fc.constantFrom(80, 81)),
      cpus: rarely<number | null>(null, fc.constantFrom(0.5, 1, 3)),
      memoryBytes: rarely<number | null>(null, fc.constantFrom(32 * MIB, 400 * MIB)),
      image: rarely<string | null>(IMAGE, fc.constant(null)),
      pull: rarely<'never' | null>(null, fc.constant('never' as const)),
      files: rarely<Bundle | null>(null, fc.constant(FILES)),
      command: rarely<string[]>(['node'], fc.constant([])),
      disconnect: rarely<Policies['disconnect'] | null>(
        null,
        fc.record(
          {
            lostAfterMs: fc.constantFrom(3_000, 60_000),
            replace: fc.constantFrom('auto' as const, 'always' as const, 'never' as const),
            reconcile: fc.constantFrom('keepOriginal' as const, 'keepReplacement' as const)
          },
          { requiredKeys: [] }
        )
      ),
      devices: rarely<Device[]>([], fc.constant([USB])),
      volumes: rarely<Volume[]>([], fc.constant([DATA])),
      placing: rarely<Policies['placing'] | null>(
        null,
        fc.record(
          {
            maxPerNode: fc.constantFrom(1, 2),
            spread: fc.constantFrom('zone', 'rack'),
            near: fc.constant(['db']),
            apart: fc.constantFrom(['web'], ['api', 'db'])
          },
          { requiredKeys: [] }
        )
      ),
      stopped: rarely(false, fc.constant(true))
    })
    .map(
      ({
        name,
        revision,
        host,
        cpus,
        memoryBytes,
        image,
        pull,
        disconnect,
        devices,
        volumes,
        placing,
        stopped,
        ...rest
      }) =>
        microservice(
          name,
          {
            ...rest,
            image,
            images: image === null ? { arm64: FOR_ARM } : {},
            ...(pull && { pull }),
            ports: [{ container: 80, host, protocol: 'tcp' }],
            resources: { cpus, memoryBytes },
            ...(disconnect && { disconnect }),
            ...(devices.length > 0 && { devices }),
            ...(volumes.length > 0 && { volumes }),
            ...(placing && { placing }),
            ...(stopped && { stopped })
          },
          revision
        )
    )
}

function anyPlacement(ids: string[]): fc.Arbitrary<PlacementRecord> {
  return fc
    .tuple(
      fc.constantFrom(...NAMES),
      fc.integer({ min: 0, max: 5 }),
      fc.constantFrom(...ids),
      fc.constantFrom(...REVISIONS),
      fc.option(
        fc.record({ from: fc.constantFrom(...ids), why: fc.constantFrom('silent', 'asked') }),
        { freq: 3 }
      )
    )
    .map(([name, slot, on, revision, moved]) => ({
      ...placement(name, slot, on, revision),
      ...(moved && { moved })
    }))
}

const anyHome = (ids: string[]): fc.Arbitrary<HomeRecord> =>
  fc
    .tuple(fc.constantFrom(...NAMES), fc.integer({ min: 0, max: 5 }), fc.constantFrom(...ids))
    .map((of) => home(...of))

function anyMove(ids: string[]): fc.Arbitrary<MoveRecord> {
  return fc
    .tuple(fc.constantFrom(...NAMES), fc.integer({ min: 0, max: 5 }), fc.constantFrom(...ids))
    .map(([name, slot, on]) => {
      const written = { op: 'a.3', by: 'a', at: 0 }
      return { application: 'app', microservice: name, slot, node: on, ...written }
    })
}

const anyContainer: fc.Arbitrary<ContainerStatus> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    slot: fc.integer({ min: 0, max: 5 }),
    state: fc.constantFrom<ContainerStatus['state'][]>(
      'pulling',
      'starting',
      'running',
      'running',
      'retiring',
      'stopping',
      'stopped',
      'failed'
    ),
    healthy: fc.constantFrom(null, true, false),
    revision: fc.constantFrom(...REVISIONS)
  })
  .map(({ name, slot, ...over }) => container(name, slot, over))

function reorder<T>(list: readonly T[], seed: number): T[] {
  return list
    .map((value, i) => ({ value, at: (Math.imul(i + 1, seed | 1) ^ (seed >>> 3)) >>> 0 }))
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value)
}
