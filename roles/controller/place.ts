/**
 * Which node runs which slot: a pure function of view, gossip and ages. The same world gives the
 * same plan whatever its order; a plan that was carried out gives an empty one.
 *
 * What is placed stays where it is unless: an operator's change rules the node out, the node has
 * been silent too long and this side may replace it, the slot runs elsewhere and not there, or
 * a new revision no longer has room. Nothing is moved to even out what came back. When a slot takes
 * a new revision is `rollout.ts`'s to say.
 */
import type { ContainerStatus, FactsBody } from '../../core/gossip-records.ts'
import {
  microserviceKey,
  slotKey,
  type MicroserviceRecord,
  type NodeRecord,
  type State
} from '../../core/state/state.ts'
import { disconnectOf, isStopped } from '../../core/state/policies.ts'
import { recordAt } from '../../core/state/rollouts.ts'
import {
  explain,
  fixedPorts,
  refusing,
  type Constraint,
  type Context,
  type NodeUse
} from './constraints.ts'
import { waves, type RolloutInput, type RolloutVerdict, type Wave } from './rollout.ts'

export interface PlaceInput extends RolloutInput {
  self: string
  /** Of every node that is not alive; one that is absent counts as silent for ever. */
  silentMs: ReadonlyMap<string, number>
  facts: ReadonlyMap<string, FactsBody>
  /** Since the alive set or the order of ops last changed. */
  settledMs: number
}

export interface Plan {
  set: SlotSet[]
  rm: SlotReason[]
  /** Slots that want a place, or another one, and do not get it. */
  waiting: SlotReason[]
  /** When time alone may change the plan; null if it cannot. */
  againInMs: number | null
  /** Rollouts that are over, or stand still. */
  ends: RolloutVerdict[]
}

export interface Slot {
  application: string
  microservice: string
  slot: number
}
export interface SlotReason extends Slot {
  reason: string
}
export interface SlotSet extends SlotReason {
  /** Node id. */
  node: string
  revision: string
}

/** Nothing placed is moved for so long after the alive set or the order of ops changed. */
export const SETTLE_MS = 1000

/** One pass may free room that the next one uses; more than three have not been seen. */
const MAX_PASSES = 16

export function place(input: PlaceInput): Plan {
  const before = currentPlacements(input.state)
  const reasons = new Map<string, string>()
  const turns = waves(input)
  const run = (from: Placements): Pass => onePass({ ...input, turns }, from)
  let placements = before
  let pass = run(placements)
  for (let i = 1; i < MAX_PASSES && pass.reasons.size > 0; i++) {
    for (const [key, reason] of pass.reasons) reasons.set(key, reason)
    placements = pass.placements
    pass = run(placements)
  }
  const times = [pass.againInMs, ...[...turns.values()].map((turn) => turn.againInMs)]
  const due = times.filter((ms) => ms !== null)
  return {
    ...difference(before, placements, reasons),
    waiting: pass.waiting.sort(bySlot),
    againInMs: due.length === 0 ? null : Math.min(...due),
    ends: [...turns.values()].flatMap(({ end }) => (end === null ? [] : [end]))
  }
}

interface PassInput extends PlaceInput {
  turns: ReadonlyMap<string, Wave>
}

interface Placed extends Slot {
  node: string
  revision: string
}
type Placements = ReadonlyMap<string, Placed>

interface Pass {
  placements: Placements
  /** Why, by key of each slot this pass changed. */
  reasons: Map<string, string>
  waiting: SlotReason[]
  againInMs: number | null
}

const KEEPS: Constraint['kind'][] = ['asked', 'able']
const ALL_KINDS: Constraint['kind'][] = ['asked', 'able', 'ready', 'room']

function onePass(input: PassInput, before: Placements): Pass {
  const board = createBoard(input, before)
  const reasons = new Map<string, string>()
  const waiting = new Map<string, SlotReason>()
  let againInMs: number | null = null

  const again = (ms: number): void => {
    againInMs = Math.max(1, Math.ceil(Math.min(ms, againInMs ?? Infinity)))
  }
  /** Whether what is placed may be moved now; asked only where something would be. */
  const settled = (): boolean => {
    if (input.settledMs >= SETTLE_MS) return true
    again(SETTLE_MS - input.settledMs)
    return false
  }
  const wait = (slot: Slot, reason: string): void => {
    const key = slotKey(slot)
    if (!waiting.has(key)) waiting.set(key, { ...slotOf(slot), reason })
  }
  const set = (placed: Placed, reason: string): void => {
    board.put(placed)
    reasons.set(slotKey(placed), reason)
  }

  // 1. Who must go, those that run last: of two that want one port, the running one stays.
  const evicted: Evicted[] = []
  const toEvict = new Set<string>()
  for (const placed of byStanding(board, before)) {
    const reason = ruledOut(board, placed)
    if (reason === null) continue
    toEvict.add(slotKey(placed))
    if (!settled()) continue
    board.take(placed)
    evicted.push({ placed, reason })
  }

  // 2. Who may go, or takes its new revision where it is.
  for (const placed of [...before.values()].sort(bySlot)) {
    if (toEvict.has(slotKey(placed))) continue
    const microservice = board.microservice(placed)
    const { replicas } = microservice.spec
    const move = replicas === 'all' ? null : whyMove(input, board, placed, again)
    if (move?.held) wait(placed, move.reason)
    if (move && !move.held && settled()) {
      board.take(placed)
      const node = move.to ?? choose(board, placed)
      if (node) {
        set({ ...placed, node: node.id, revision: microservice.revision }, move.reason)
        continue
      }
      board.put(placed)
      wait(placed, `${move.reason}; ${explain(board.nodes, microservice, board.context)}`)
    }
    const later = board.later(placed)
    if (later !== null) {
      wait(placed, later)
      continue
    }
    if (placed.revision === microservice.revision) continue
    const renewed = { ...placed, revision: microservice.revision }
    board.take(placed)
    if (!refusing(['room'], board.node(placed), microservice, board.context)) {
      set(renewed, 'new revision')
      continue
    }
    const node = replicas === 'all' || !settled() ? null : choose(board, placed)
    if (node) {
      set(
        { ...renewed, node: node.id },
        `${nameOf(board, placed)} has no room for the new revision`
      )
    } else {
      const why = explain(board.nodes, microservice, board.context)
      board.put(placed)
      wait(placed, `the new revision waits: ${why}`)
    }
  }

  // 3. What has no place: what was just ruled out first, as others may want the ports it had.
  for (const { placed, reason } of evicted.sort((a, b) => bySlot(a.placed, b.placed))) {
    const microservice = board.microservice(placed)
    const node = microservice.spec.replicas === 'all' ? null : choose(board, placed)
    if (node) set({ ...placed, node: node.id, revision: microservice.revision }, reason)
    else reasons.set(slotKey(placed), reason)
  }
  for (const microservice of board.microservices) {
    const { application, name, revision } = microservice
    const wanted = isStopped(microservice.spec) ? 0 : microservice.spec.replicas
    if (wanted === 'all') {
      for (const held of fillAll(board, microservice, set)) wait(held, held.reason)
      continue
    }
    for (let slot = 0; slot < wanted; slot++) {
      const open = { application, microservice: name, slot }
      // What is ruled out and has no other place waits from the next pass on.
      if (board.has(open) || reasons.has(slotKey(open))) continue
      const node = choose(board, open)
      if (node)
        set({ ...open, node: node.id, revision }, `${nameOf(board, { node: node.id })} fits`)
      else wait(open, explain(board.nodes, microservice, board.context))
    }
  }
  return { placements: board.placements, reasons, waiting: [...waiting.values()], againInMs }
}

interface Evicted {
  placed: Placed
  reason: string
}

/** What an operator's change, or a second replica with the same port, has to say against its place. */
function ruledOut(board: Board, placed: Placed): string | null {
  const node = board.node(placed)
  const microservice = board.microservice(placed)
  if (isStopped(microservice.spec)) return 'it is stopped'
  const constraint = refusing(KEEPS, node, microservice, board.context)
  if (constraint) {
    return `${node.displayName} ${constraint.refusal(node, microservice, board.context).one}`
  }
  const clash = board.clash(placed)
  if (clash) return `${node.displayName} has port ${clash} in use`
  if (microservice.spec.replicas === 'all' && board.twice(placed)) {
    return `${node.displayName} has another slot of it`
  }
  return null
}

interface Move {
  reason: string
  /** Where it runs already. */
  to?: NodeRecord
  /** There is a reason to move it, and a rule that says not to. */
  held?: boolean
}

/** Why a slot should leave the node it is on, or null. */
function whyMove(
  input: PassInput,
  board: Board,
  placed: Placed,
  again: (ms: number) => void
): Move | null {
  if (input.alive.has(placed.node)) {
    if (board.holds(placed.node, placed)) return null
    const to = runsElsewhere(board, placed)
    return to ? { to, reason: `it runs on ${to.displayName}` } : null
  }
  const silent = input.silentMs.get(placed.node) ?? Infinity
  const { lost } = board.node(placed)
  const microservice = board.microservice(placed)
  const { lostAfterMs, replace } = disconnectOf(microservice.spec)
  if (silent < lostAfterMs && !lost) {
    again(lostAfterMs - silent)
    return null
  }
  const since = Number.isFinite(silent) ? ` since ${Math.floor(silent / 1000)} s` : ''
  const reason = `${nameOf(board, placed)} is ${lost ? 'given up' : `silent${since}`}`
  if (microservice.spec.node !== null) return { held: true, reason: `${reason}; pinned to it` }
  if (replace === 'never' && !lost) {
    return { held: true, reason: `${reason}; never replaced (disconnect.replace)` }
  }
  if (replace === 'always') return { reason }
  const { mine, all } = sideOf(input, board, microservice)
  if (mine * 2 >= all) return { reason }
  return { held: true, reason: `${reason}; only ${mine} of the ${all} nodes that fit are in reach` }
}

/** Of the members that could run it, silent or not but not given up, how many are on my side. */
function sideOf(
  input: PlaceInput,
  board: Board,
  microservice: MicroserviceRecord
): { mine: number; all: number } {
  const could = board.nodes.filter((node) => {
    if (node.lost && !input.alive.has(node.id)) return false
    const engine = input.facts.get(node.id)?.engine
    if (engine?.kind === 'none' && engine.problem === null) return false
    return refusing(KEEPS, node, microservice, board.context) === null
  })
  return { mine: could.filter((node) => input.alive.has(node.id)).length, all: could.length }
}

function runsElsewhere(board: Board, slot: Placed): NodeRecord | null {
  board.take(slot)
  const node = fitting(board, slot).find((n) => n.id !== slot.node && board.runs(n.id, slot))
  board.put(slot)
  return node ?? null
}

/** The node for a slot that has none: one that runs it, else the best spread. */
function choose(board: Board, slot: Slot): NodeRecord | null {
  const nodes = fitting(board, slot)
  const running = nodes.find((node) => board.runs(node.id, slot))
  if (running) return running
  const microservice = board.microservice(slot)
  const [best] = nodes
    .map((node) => ({
      node,
      rank: [
        board.failing(node.id, microservice) ? 1 : 0,
        board.replicasOn(node.id, slot),
        board.replicasInZone(node, slot),
        board.context.use(node.id).slots
      ]
    }))
    .sort((a, b) => compareRanks(a.rank, b.rank) || (a.node.id < b.node.id ? -1 : 1))
  return best?.node ?? null
}

function fitting(board: Board, slot: Slot): NodeRecord[] {
  const microservice = board.microservice(slot)
  if (isStopped(microservice.spec)) return []
  return board.nodes.filter((n) => !refusing(ALL_KINDS, n, microservice, board.context))
}

/** `replicas: all`: every node that fits, in reach or not, has a slot; gives what has to wait. */
function fillAll(
  board: Board,
  microservice: MicroserviceRecord,
  set: (placed: Placed, reason: string) => void
): SlotReason[] {
  const { application, name, revision } = microservice
  const slotAt = (slot: number): Slot => ({ application, microservice: name, slot })
  const held: string[] = []
  const open = board.nodes.filter((node) => {
    if (refusing(KEEPS, node, microservice, board.context)) return false
    return board.replicasOn(node.id, slotAt(0)) === 0
  })
  for (const node of open) {
    const known = board.facts(node.id)
    if (!known || (known.engine.kind === 'none' && known.engine.problem === null)) continue
    const context = { ...board.context, alive: new Set([node.id]) }
    const constraint = refusing(['ready', 'room'], node, microservice, context)
    if (constraint) {
      held.push(`${node.displayName} ${constraint.refusal(node, microservice, context).one}`)
      continue
    }
    const running = board.running(node.id, microservice).find((slot) => !board.has(slotAt(slot)))
    const slot = running ?? board.freeSlot(microservice)
    set({ ...slotAt(slot), node: node.id, revision }, `${node.displayName} fits`)
  }
  const any = board.nodes.some((node) => board.replicasOn(node.id, slotAt(0)) > 0)
  if (!any && held.length === 0) held.push(explain(board.nodes, microservice, board.context))
  const free = board.freeSlots(microservice, held.length)
  return held.map((reason, i) => ({ ...slotAt(free[i] ?? 0), reason }))
}

/** Placements as they will be, with what they add up to; and what runs where. */
type Board = ReturnType<typeof createBoard>

function createBoard(input: PassInput, before: Placements) {
  const { state, status } = input
  const nodes = [...state.nodes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  const microservices = [...state.microservices.values()].sort((a, b) =>
    microserviceKey(a) < microserviceKey(b) ? -1 : 1
  )
  const placements = new Map<string, Placed>()
  const uses = new Map<string, Tally>()
  const replicas = new Map<string, number>()
  const containers = new Map<string, ContainerStatus[]>()
  for (const [node, body] of status) {
    for (const c of body.containers) push(containers, `${node} ${slotKey(c)}`, c)
  }

  const asked = (slot: Slot): MicroserviceRecord => {
    const found = state.microservices.get(`${slot.application}/${slot.microservice}`)
    if (!found) throw new Error(`no microservice ${slotKey(slot)}`)
    return found
  }
  /** As its container is made. */
  const made = (placed: Placed): MicroserviceRecord => {
    const record = asked(placed)
    return recordAt(state, record, placed.revision) ?? record
  }
  /** The wave that a slot waits for with what it has; null where its turn is now, or over. */
  const waiting = (slot: Slot): { wave: Wave; placed: Placed } | null => {
    const placed = before.get(slotKey(slot))
    const wave = input.turns.get(`${slot.application}/${slot.microservice}`)
    if (!placed || !wave || wave.renewed.has(slotKey(slot))) return null
    return placed.revision === asked(slot).revision ? null : { wave, placed }
  }
  const microservice = (slot: Slot): MicroserviceRecord => {
    const later = waiting(slot)
    return later === null ? asked(slot) : made(later.placed)
  }
  const node = ({ node: id }: { node: string }): NodeRecord => {
    const found = state.nodes.get(id)
    if (!found) throw new Error(`no node ${id}`)
    return found
  }
  const use = (id: string): Tally => uses.get(id) ?? EMPTY
  const onNode = (id: string, slot: Slot): string =>
    `${id} ${slot.application}/${slot.microservice}`
  const inZone = (n: NodeRecord, slot: Slot): string =>
    `zone=${n.labels.zone ?? ''} ${slot.application}/${slot.microservice}`
  const count = (placed: Placed, by: 1 | -1): void => {
    uses.set(placed.node, tally(use(placed.node), made(placed), by))
    for (const key of [onNode(placed.node, placed), inZone(node(placed), placed)]) {
      replicas.set(key, (replicas.get(key) ?? 0) + by)
    }
  }
  const at = (id: string, slot: Slot): ContainerStatus[] =>
    containers.get(`${id} ${slotKey(slot)}`) ?? []

  const board = {
    nodes,
    microservices,
    placements,
    context: { ...input, use } satisfies Context,
    node,
    /** What a slot is to be made of after this pass. */
    microservice,
    /** Why a slot does not take its new revision yet. */
    later: (slot: Slot): string | null => waiting(slot)?.wave.reason ?? null,
    facts: (id: string) => input.facts.get(id),
    has: (slot: Slot) => placements.has(slotKey(slot)),
    put: (placed: Placed): void => {
      placements.set(slotKey(placed), placed)
      count(placed, 1)
    },
    take: (placed: Placed): void => {
      placements.delete(slotKey(placed))
      count(placed, -1)
    },
    replicasOn: (id: string, slot: Slot) => replicas.get(onNode(id, slot)) ?? 0,
    replicasInZone: (n: NodeRecord, slot: Slot) => replicas.get(inZone(n, slot)) ?? 0,
    /** A fixed port it shares with another replica placed on its node. */
    clash: (placed: Placed) =>
      fixedPorts(made(placed)).find((p) => (use(placed.node).claims.get(p) ?? 0) > 1),
    twice: (placed: Placed) => (replicas.get(onNode(placed.node, placed)) ?? 0) > 1,
    /**
     * Whether a node works on a slot placed there. A retiring copy counts: the node has only not
     * seen yet that it has the slot back.
     */
    holds: (id: string, slot: Slot) => at(id, slot).some((c) => c.state !== 'failed'),
    /** Whether a node could take the slot over as it is: same content, running, not unhealthy. */
    runs: (id: string, slot: Slot) => at(id, slot).some((c) => adoptable(c, microservice(slot))),
    /** The slots of a microservice that a node runs, lowest first. */
    running: (id: string, m: MicroserviceRecord): number[] =>
      (status.get(id)?.containers ?? [])
        .filter((c) => c.application === m.application && c.microservice === m.name)
        .filter((c) => adoptable(c, microservice(c)))
        .map((c) => c.slot)
        .sort((a, b) => a - b),
    failing: (id: string, m: MicroserviceRecord) =>
      status.get(id)?.failing.includes(`${microserviceKey(m)}@${m.revision}`) === true,
    /** Slot numbers nobody has, nor had before this pass: another node's copy is not handed over. */
    freeSlots: (m: MicroserviceRecord, wanted: number): number[] => {
      const free: number[] = []
      for (let slot = 0; free.length < wanted; slot++) {
        const key = slotKey({ application: m.application, microservice: m.name, slot })
        if (!placements.has(key) && !before.has(key)) free.push(slot)
      }
      return free
    },
    freeSlot: (m: MicroserviceRecord): number => board.freeSlots(m, 1)[0] ?? 0
  }
  for (const placed of before.values()) board.put(placed)
  return board
}

function adoptable(c: ContainerStatus, microservice: MicroserviceRecord): boolean {
  if (c.revision !== microservice.revision || c.healthy === false) return false
  return c.state === 'running' || c.state === 'retiring'
}

interface Tally extends NodeUse {
  /** How many want each port. */
  claims: ReadonlyMap<string, number>
}
const EMPTY: Tally = { slots: 0, cpus: 0, memoryBytes: 0, ports: new Set(), claims: new Map() }

function tally(use: Tally, microservice: MicroserviceRecord, by: 1 | -1): Tally {
  const { cpus, memoryBytes } = microservice.spec.resources
  const claims = new Map(use.claims)
  for (const port of fixedPorts(microservice)) claims.set(port, (claims.get(port) ?? 0) + by)
  return {
    slots: use.slots + by,
    cpus: use.cpus + by * (cpus ?? 0),
    memoryBytes: use.memoryBytes + by * (memoryBytes ?? 0),
    ports: new Set([...claims].flatMap(([port, n]) => (n > 0 ? [port] : []))),
    claims
  }
}

/** Placements that are asked for, on nodes that are known; apply leaves no others. */
function currentPlacements(state: State): Placements {
  const current = new Map<string, Placed>()
  for (const p of state.placements.values()) {
    const spec = state.microservices.get(`${p.application}/${p.microservice}`)?.spec
    if (spec === undefined || (spec.replicas !== 'all' && p.slot >= spec.replicas)) continue
    if (!state.nodes.has(p.node)) continue
    current.set(slotKey(p), { ...slotOf(p), node: p.node, revision: p.revision })
  }
  return current
}

/** Last slots first, and those that run after those that do not. */
function byStanding(board: Board, placements: Placements): Placed[] {
  const standing = (p: Placed): number => (board.runs(p.node, p) ? 1 : 0)
  return [...placements.values()].sort((a, b) => standing(a) - standing(b) || bySlot(b, a))
}

function difference(
  before: Placements,
  after: Placements,
  reasons: ReadonlyMap<string, string>
): Pick<Plan, 'set' | 'rm'> {
  const plan: Pick<Plan, 'set' | 'rm'> = { set: [], rm: [] }
  for (const [key, placed] of after) {
    const old = before.get(key)
    if (old?.node === placed.node && old.revision === placed.revision) continue
    plan.set.push({ ...placed, reason: reasons.get(key) ?? '' })
  }
  for (const [key, placed] of before) {
    if (!after.has(key)) plan.rm.push({ ...slotOf(placed), reason: reasons.get(key) ?? '' })
  }
  plan.set.sort(bySlot)
  plan.rm.sort(bySlot)
  return plan
}

const slotOf = ({ application, microservice, slot }: Slot): Slot => ({
  application,
  microservice,
  slot
})

const nameOf = (board: Board, placed: { node: string }): string => board.node(placed).displayName

function bySlot(a: Slot, b: Slot): number {
  if (a.application !== b.application) return a.application < b.application ? -1 : 1
  if (a.microservice !== b.microservice) return a.microservice < b.microservice ? -1 : 1
  return a.slot - b.slot
}

function compareRanks(a: number[], b: number[]): number {
  for (const [i, rank] of a.entries()) if (rank !== b[i]) return rank - (b[i] ?? 0)
  return 0
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}
