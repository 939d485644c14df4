/** What must hold in each connected part once it had time to settle, as complaints where it does not. */
import { isDeepStrictEqual } from 'node:util'
import { microserviceKey, slotKey, type State } from '../../../../core/state/state.ts'
import type { OpId } from '../../../../core/state/records.ts'
import { mayLead } from '../../../../roles/controller/election.ts'
import type { Host } from '../host.ts'
import { edits } from './edits.ts'
import { isBadAt } from './rollouts.ts'
import { oneOrder } from './order.ts'
import type { World } from '../world.ts'

const KINDS = ['links', 'net', 'facts', 'status', 'holds'] as const

/** The cheap ones first; the costly ones only where those hold. */
export async function complaints(
  world: World,
  more: ((part: Host[]) => string[]) | null
): Promise<string[]> {
  const parts = world.parts()
  const early = parts.flatMap((part) => [...alive(part), ...leads(part), ...newest(part)])
  if (early.length > 0) return early
  const late: string[] = []
  for (const part of parts) {
    // Nobody sends it any more what its view may lack.
    if (part.every(({ mesh }) => mesh.me?.state === 'removed')) continue
    late.push(...(await views(part)), ...(await ordered(world, part)), ...oneOrder(part))
    if (late.length > 0) continue
    late.push(...runs(world, part), ...(more?.(part) ?? (await edits(world, part))))
  }
  return [...late, ...removed(world, parts)]
}

/** Everyone knows who is alive. */
function* alive(part: Host[]): Generator<string> {
  const ids = part.map(({ id }) => id).sort()
  for (const host of part) {
    const seen = [...host.mesh.alive()].sort()
    if (isDeepStrictEqual(seen, ids)) continue
    yield `${host.name} takes ${names(part, seen)} for alive, not ${names(part, ids)}`
  }
}

/** One leads, and the view of each says so; none where none may. */
function* leads(part: Host[]): Generator<string> {
  const leading = part.filter(({ controller }) => controller.startsWith('leading'))
  const [first] = part
  const may = part.filter(({ id }) => {
    const node = first?.mesh.state.nodes.get(id)
    return node !== undefined && mayLead(node)
  })
  const wanted = Math.min(1, may.length)
  if (leading.length !== wanted) {
    const states = part.map(({ name, controller }) => `${name} ${controller}`)
    yield `${leading.length} lead of ${may.length} that may: ${states.join(', ')}`
  }
  for (const host of part) {
    const holder = host.mesh.state.lease?.node
    if (leading[0] !== undefined && holder !== leading[0].id) {
      yield `${host.name} sees the lease with ${holder}, not with ${leading[0].name}`
    }
  }
}

/** What each says of itself is what all others have of it. */
function* newest(part: Host[]): Generator<string> {
  for (const of of part) {
    for (const kind of KINDS) {
      const own = of.mesh.gossip.get(of.id, kind)?.body
      if (own === undefined) continue
      for (const host of part) {
        const has = host.mesh.gossip.get(of.id, kind)?.body
        if (!isDeepStrictEqual(has, own)) yield `${host.name} has old ${kind} of ${of.name}`
      }
    }
  }
}

async function views(part: Host[]): Promise<string[]> {
  const found = await Promise.all(part.map(async (host) => dumpOf(host)))
  const [first] = found
  return found.flatMap((dump, i) => {
    if (first === undefined || dump.text === first.text) return []
    const differ = [...new Set([...first.records.keys(), ...dump.records.keys()])].filter(
      (key) => first.records.get(key) !== dump.records.get(key)
    )
    return [`${part[0]?.name} and ${part[i]?.name} have different views: ${differ.join(', ')}`]
  })
}

async function dumpOf(host: Host): Promise<{ text: string; records: Map<string, string> }> {
  const records = new Map<string, string>()
  for (const { key, value } of await host.mesh.oplog.records()) {
    records.set(key, JSON.stringify(value))
  }
  return { text: JSON.stringify([...records]), records }
}

/** Nothing that was acknowledged is missing, and all have the same. */
async function ordered(world: World, part: Host[]): Promise<string[]> {
  const orders = await Promise.all(part.map((host) => host.mesh.oplog.order()))
  const found: string[] = []
  for (const { id, author, what } of world.acknowledged) {
    if (!part.includes(author)) continue
    orders.forEach((order, i) => {
      if (isIn(order, id)) return
      found.push(`${part[i]?.name} lacks what ${author.name} acknowledged: ${what}`)
    })
  }
  return found
}

/** Whether an op is in an order, as lengths by writer. */
export function isIn(order: ReadonlyMap<string, number>, op: OpId): boolean {
  const dot = op.lastIndexOf('.')
  return (order.get(op.slice(0, dot)) ?? 0) >= Number(op.slice(dot + 1))
}

/**
 * Each slot runs where it is placed, and once; a copy that lost its placement runs on only while its
 * slot is asked for and has no other node in reach.
 */
function runs({ network }: World, part: Host[]): string[] {
  const [first] = part
  if (first === undefined) return []
  const { state } = first.mesh
  const ids = new Set(part.map(({ id }) => id))
  const found: string[] = []
  const wanted = new Map<string, string[]>(part.map(({ id }) => [id, []]))
  for (const placement of state.placements.values()) {
    wanted.get(placement.node)?.push(`${slotKey(placement)}@${placement.revision}`)
  }
  const isRetiring = (running: string, host: Host): boolean => {
    const slot = running.slice(0, running.indexOf('@'))
    const [application, microservice, nth] = slot.split('/')
    const replicas = state.microservices.get(`${application}/${microservice}`)?.spec.replicas ?? 0
    const asked = replicas === 'all' || Number(nth) < replicas
    const placed = state.placements.get(slot)
    // What ran before serves on beside a revision that cannot.
    if (placed?.node === host.id) return isBadSlot(state, `${slot}@${placed.revision}`)
    if (!asked || placed === undefined || !ids.has(placed.node)) return asked
    // Whoever cannot run takes nothing over.
    if (isBadSlot(state, `${slot}@${placed.revision}`)) return true
    // Nobody relays here: it cannot ask the other whether it may stop.
    return !network.reaches(host.id, placed.node)
  }
  for (const host of part) {
    const here = wanted.get(host.id) ?? []
    const running = host.engine.running()
    const missing = here.filter((slot) => !running.includes(slot) && !isBadSlot(state, slot))
    const extra = running.filter((slot) => !here.includes(slot) && !isRetiring(slot, host))
    if (missing.length > 0) found.push(`${host.name} does not run ${list(missing)}, placed there`)
    if (extra.length > 0)
      found.push(`${host.name} runs ${list(extra)}, placed elsewhere or nowhere`)
  }
  for (const [key, { spec }] of state.microservices) {
    if (spec.replicas === 'all') continue
    const slots = [...state.placements.values()].filter(
      ({ application, microservice }) =>
        microserviceKey({ application, name: microservice }) === key
    )
    const leader = part.find(({ controller }) => controller.startsWith('leading'))
    if (slots.length < spec.replicas && leader !== undefined && leader.waiting.length === 0) {
      found.push(`${key}: ${slots.length} of ${spec.replicas} slots are placed, none waits`)
    }
  }
  return found
}

/** Of what cannot run, `app/ms/slot@revision`, nothing need run. */
function isBadSlot(state: State, slot: string): boolean {
  const [name = '', revision = ''] = slot.split('@')
  const record = state.microservices.get(name.slice(0, name.lastIndexOf('/')))
  return record !== undefined && isBadAt(state, record, revision)
}

/** Who was removed knows it, and runs nothing, once it can hear of it. */
function removed(world: World, parts: Host[][]): string[] {
  if (!world.network.whole) return []
  const [main] = [...parts].sort((a, b) => b.length - a.length)
  const nodes = main?.[0]?.mesh.state.nodes
  return world.hosts.flatMap((host) => {
    const record = nodes?.get(host.id)
    if (!host.up || record?.state !== 'removed' || main?.includes(host) === true) return []
    // It believes an admin it knows.
    const knows = main?.some(
      ({ id }) =>
        nodes?.get(id)?.role === 'admin' && host.mesh.state.nodes.get(id)?.role === 'admin'
    )
    if (host.mesh.me?.state !== 'removed')
      return knows !== true ? [] : [`${host.name} was removed and does not know it`]
    const running = host.engine.running()
    return running.length === 0 ? [] : [`${host.name} was removed and runs ${list(running)}`]
  })
}

const names = (part: Host[], ids: string[]): string =>
  list(ids.map((id) => part.find((host) => host.id === id)?.name ?? id.slice(0, 6)))

const list = (items: string[]): string => `[${items.join(' ')}]`
