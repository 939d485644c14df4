/** What a placement has to keep to, said a second time and in the plainest way: to judge the Controller by. */
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import type { MicroserviceRecord, PlacementRecord } from '../../core/state/state.ts'
import type { PlaceInput } from '../../roles/controller/place.ts'

/** Why it may not stay on a node, as far as people and what nodes are go; null: it may. */
export function breach(input: PlaceInput, on: string, { spec }: MicroserviceRecord): string | null {
  const node = input.state.nodes.get(on)
  if (node?.state !== 'member' || node.role === 'viewer') return 'no member that runs anything'
  if (spec.node !== null && spec.node !== node.displayName) return 'not the node it is pinned to'
  const facts = input.facts.get(on) ?? null
  const kind = facts?.engine.kind ?? 'none'
  const known: Record<string, string | null> = {
    arch: facts?.arch ?? null,
    engine: kind === 'none' ? null : kind
  }
  for (const constraint of spec.constraints) {
    const [, key = '', not, value] = /^(\w+)(!?)=(\w+)$/.exec(constraint) ?? []
    const has = key in known ? known[key] : (node.labels[key] ?? '')
    if (has !== null && (has === value) !== (not === '')) return `against ${constraint}`
  }
  if (facts === null) return null
  if (kind === 'docker' && spec.image === null && spec.images[facts.arch] === undefined) {
    return 'no image for it'
  }
  if (kind === 'process' && spec.command.length === 0) return 'no command for it'
  for (const { host } of spec.devices ?? []) {
    if (facts.devices?.[host] === false) return `no ${host}`
  }
  return null
}

/** The node that a slot may not leave, or come up away from, by itself: its volumes are there. */
export function tiedTo({ state, alive, status, facts }: PlaceInput, key: string): string | null {
  const home = state.homes.get(key)
  const spec = home && state.microservices.get(`${home.application}/${home.microservice}`)?.spec
  if (!home || !spec?.volumes?.some(({ source }) => !source.startsWith('/'))) return null
  const node = state.nodes.get(home.node)
  if (node?.state !== 'member' || (node.lost && !alive.has(home.node))) return null
  if (!alive.has(home.node)) return home.node
  const engine = facts.get(home.node)?.engine
  const seesAll = engine !== undefined && engine.kind !== 'none' && engine.problem === null
  const told = status.get(home.node)?.volumes ?? []
  return !seesAll || told.some((volume) => volume.startsWith(`${key}/`)) ? home.node : null
}

/** Why a node cannot get a replica more, with all that is placed; null: it can. */
export function hindrance(
  input: PlaceInput,
  on: string,
  record: MicroserviceRecord
): string | null {
  const { spec } = record
  const facts = input.facts.get(on)
  const mode = input.state.nodes.get(on)?.availability?.mode ?? 'active'
  if (!input.alive.has(on)) return 'silent'
  if (mode !== 'active') return mode
  if (facts === undefined || facts.engine.kind === 'none' || facts.engine.problem !== null) {
    return 'no engine'
  }
  for (const { host } of spec.devices ?? []) if (facts.devices?.[host] !== true) return `no ${host}`
  return lacking(input, on, record) ?? crowding(input, on, record, 1)
}

/** What a node cannot have of what a container is made of; null: it has all, or gets it. */
export function lacking(
  { facts, alive, holds }: PlaceInput,
  on: string,
  { spec }: MicroserviceRecord
): string | null {
  const { arch = '', engine, images = {} } = facts.get(on) ?? {}
  const image = spec.images[arch] ?? spec.image ?? ''
  if (engine?.kind === 'docker' && spec.pull === 'never' && images[image] !== true) {
    return `no ${image}`
  }
  const digest = spec.files?.digest
  if (digest === undefined) return null
  const isHeld = [...alive].some((id) => holds.get(id)?.digests.includes(digest))
  return isHeld ? null : 'no files'
}

/** What is too much on a node, of what a microservice asks for, with so many replicas of it more. */
export function crowding(
  input: PlaceInput,
  on: string,
  { application, name, spec }: MicroserviceRecord,
  more: number
): string | null {
  const facts = input.facts.get(on)
  const there = placedOn(input, on)
  const own = there.filter((p) => p.application === application && p.microservice === name)
  const most = spec.placing?.maxPerNode ?? Infinity
  if (own.length + more > most) return `more than ${most} of it`
  const specs = there.map((p) => specOf(input, p))
  const ask = (of: (spec: MicroserviceSpec) => number): number =>
    specs.reduce((sum, s) => sum + of(s), 0) + more * of(spec)
  const { cpus, memoryBytes } = spec.resources
  if (cpus !== null && ask((s) => s.resources.cpus ?? 0) > (facts?.cpus ?? Infinity)) return 'cpus'
  if (
    memoryBytes !== null &&
    ask((s) => s.resources.memoryBytes ?? 0) > (facts?.memoryBytes ?? Infinity)
  ) {
    return 'memory'
  }
  for (const { host, protocol } of spec.ports) {
    const wants = (s: MicroserviceSpec): number =>
      s.ports.filter((p) => host !== null && p.host === host && p.protocol === protocol).length
    if (ask(wants) > 1) return `port ${host}`
  }
  return null
}

export const placedOn = ({ state }: PlaceInput, on: string): PlacementRecord[] =>
  [...state.placements.values()].filter((p) => p.node === on)

function specOf({ state }: PlaceInput, p: PlacementRecord): MicroserviceSpec {
  const record = state.microservices.get(`${p.application}/${p.microservice}`)
  if (record === undefined) throw new Error(`nobody asks for ${p.microservice}`)
  return record.spec
}
