/**
 * Which node runs which slot: a pure function of view, gossip and ages. The same world gives the
 * same plan whatever its order; a plan that was carried out gives an empty one.
 *
 * What is placed stays where it is unless: an operator's change rules the node out, the node is drained
 * or somebody asked to move it, the node has been silent too long and this side may replace it, the slot
 * runs elsewhere and not there, its node is back and may have it again, or a new revision no longer has
 * room. Nothing is moved to even out what came back. When a slot takes
 * a new revision is `rollout.ts`'s to say.
 *
 * INVARIANT: a slot with named volumes runs where they are or nowhere, unless somebody asked to move it or
 * gave that node up.
 */
import type { FactsBody, HoldsBody } from '../../core/gossip-records.ts'
import { disconnectOf, isStopped } from '../../core/state/policies.ts'
import { slotKey, type MicroserviceRecord, type PlacementMove } from '../../core/state/state.ts'
import { volumeNames } from '../../core/state/volumes.ts'
import { Judge, type Choice } from './best.ts'
import { Board, type Placed, type Service, type Slot } from './board.ts'
import {
  ADOPTS,
  CONSTRAINTS,
  explain,
  hasNoEngine,
  imageGone,
  KEEPS,
  MAKES,
  refusing,
  ROOM,
  type Spot
} from './constraints.ts'
import { waves, type RolloutInput, type RolloutVerdict } from './rollout.ts'

export interface PlaceInput extends RolloutInput {
  self: string
  /** Of every node that is not alive; one that is absent counts as silent for ever. */
  silentMs: ReadonlyMap<string, number>
  facts: ReadonlyMap<string, FactsBody>
  /** Bundles that nodes have, by node id. */
  holds: ReadonlyMap<string, HoldsBody>
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

export interface SlotReason extends Slot {
  reason: string
}
export interface SlotSet extends SlotReason {
  /** Node id. */
  node: string
  revision: string
  moved?: PlacementMove
}

/** Nothing placed is moved for so long after the alive set or the order of ops changed. */
export const SETTLE_MS = 1000

/** One pass may free room that the next one uses; more than three have not been seen. */
const MAX_PASSES = 16

export function place(input: PlaceInput): Plan {
  const turns = waves(input)
  const plan = new Planning(input, new Board({ ...input, waves: turns }))
  for (let i = 0; i < MAX_PASSES && plan.pass() > 0; i++);
  const times = [plan.againInMs, ...[...turns.values()].map(({ againInMs }) => againInMs)]
  const due = times.filter((ms) => ms !== null)
  return {
    ...plan.difference(),
    waiting: [...plan.waiting.values()].sort(bySlot),
    againInMs: due.length === 0 ? null : Math.min(...due),
    ends: [...turns.values()].flatMap(({ end }) => (end === null ? [] : [end]))
  }
}

interface At {
  service: Service
  placed: Placed
}

interface Evicted extends At {
  reason: string
}

class Planning {
  readonly #input: PlaceInput
  readonly #board: Board
  /** Those that may change or have to wait, by name. */
  readonly #services: Service[]
  /** Of the last pass. */
  waiting = new Map<string, SlotReason>()
  againInMs: number | null = null
  /** By key, what each slot that a pass changed had before all of them. */
  readonly #before = new Map<string, { service: Service; slot: number; before: Placed | null }>()
  readonly #reasons = new Map<string, string>()
  #changes = 0

  constructor(input: PlaceInput, board: Board) {
    this.#input = input
    this.#board = board
    this.#services = board.services.filter((service) => !this.#isAtRest(service))
  }

  /** @returns how many slots it changed; what has no other place waits from the next pass on. */
  pass(): number {
    this.waiting = new Map()
    this.againInMs = null
    this.#changes = 0
    const had = new Map(
      this.#services
        .filter(({ record }) => record.spec.replicas === 'all')
        .map((service) => [service, new Set(service.placed.keys())])
    )
    const { evicted, toEvict } = this.#evict()
    for (const service of this.#services) {
      for (const placed of inOrder(service)) {
        if (!toEvict.has(placed)) this.#keepOrMove({ service, placed })
      }
    }
    // What was just ruled out first, as others may want the ports it had.
    const gone = new Set<string>()
    for (const one of evicted.sort((a, b) => bySlot(a.placed, b.placed))) {
      if (!this.#placeAgain(one)) gone.add(slotKey(one.placed))
    }
    for (const service of this.#services) this.#fill(service, gone, had)
    return this.#changes
  }

  /**
   * Whether all of it is at work where it belongs: no pass changes it or has it wait. What the others do
   * makes no difference to it, as nothing is put where a port it has would be asked for again.
   */
  #isAtRest(service: Service): boolean {
    const { record, wave, placed } = service
    const { replicas } = record.spec
    if (wave !== null || isStopped(record.spec)) return false
    if (replicas === 'all' || placed.size < replicas) return false
    for (const one of placed.values())
      if (!this.#isSettledIn({ service, placed: one })) return false
    return true
  }

  #isSettledIn({ service, placed }: At): boolean {
    const { node, isAlive } = this.#board.spot(placed.node)
    if (!isAlive || node.availability?.mode === 'draining') return false
    if (placed.revision !== service.record.revision || placed.moved?.why === 'silent') return false
    if (!this.#board.holds(placed.node, service, placed.slot)) return false
    const { moves } = this.#input.state
    if (moves.size > 0 && moves.has(slotKey(placed))) return false
    return this.#ruledOut({ service, placed }) === null
  }

  /** What differs from what was there. */
  difference(): Pick<Plan, 'set' | 'rm'> {
    const plan: Pick<Plan, 'set' | 'rm'> = { set: [], rm: [] }
    for (const [key, { service, slot, before }] of this.#before) {
      const now = service.placed.get(slot) ?? null
      const reason = this.#reasons.get(key) ?? ''
      if (now === null) {
        if (before !== null) plan.rm.push({ ...slotOf(before), reason })
      } else if (now.node !== before?.node || now.revision !== before.revision) {
        const { node, revision, moved } = now
        plan.set.push({ ...slotOf(now), node, revision, ...(moved && { moved }), reason })
      }
    }
    plan.set.sort(bySlot)
    plan.rm.sort(bySlot)
    return plan
  }

  /** Who must go, those that run last: of two that want one port, the running one stays. */
  #evict(): { evicted: Evicted[]; toEvict: Set<Placed> } {
    const suspects: At[] = []
    for (const service of this.#services) {
      for (const placed of service.placed.values()) {
        if (this.#ruledOut({ service, placed }) !== null) suspects.push({ service, placed })
      }
    }
    const evicted: Evicted[] = []
    const toEvict = new Set<Placed>()
    for (const { service, placed } of this.#byStanding(suspects)) {
      const reason = this.#ruledOut({ service, placed })
      if (reason === null) continue
      toEvict.add(placed)
      if (!this.#settled()) continue
      this.#change(service, placed, null, reason)
      evicted.push({ service, placed, reason })
    }
    return { evicted, toEvict }
  }

  /** What an operator's change, or a second replica with the same port, has to say against its place. */
  #ruledOut({ service, placed }: At): string | null {
    const board = this.#board
    const record = board.aim(service, placed)
    if (isStopped(record.spec)) return 'it is stopped'
    const spot = board.spot(placed.node)
    const { displayName } = spot.node
    const constraint = refusing(KEEPS, spot, record)
    if (constraint) return `${displayName} ${constraint.refusal(spot, record).one}`
    if (this.#mustGo(spot, record)) return `${displayName} is drained`
    const clash = board.clash(service, placed)
    if (clash !== null) return `${displayName} has port ${clash} in use`
    if (record.spec.replicas === 'all' && board.replicasOn(placed.node, service) > 1) {
      return `${displayName} has another slot of it`
    }
    return null
  }

  /** Who may go, or takes its new revision where it is. */
  #keepOrMove({ service, placed }: At): void {
    const board = this.#board
    const move = service.record.spec.replicas === 'all' ? null : this.#whyMove({ service, placed })
    const record = board.aim(service, placed)
    if (move?.held === true) this.#wait(placed, move.reason)
    if (move && move.held !== true && this.#settled()) {
      board.take(service, placed)
      const spot = move.to ?? this.#choose(service, placed, placed)?.spot ?? null
      board.put(service, placed)
      if (spot !== null) {
        const { moved } = move
        const to = {
          ...slotOf(placed),
          node: spot.node.id,
          revision: record.revision,
          ...(moved && { moved })
        }
        return this.#change(service, placed, to, move.reason)
      }
      this.#wait(placed, `${move.reason}; ${this.#without(service, placed, record)}`)
    }
    const later = board.later(service, placed)
    if (later === null) {
      if (placed.revision !== record.revision)
        this.#renew({ service, placed }, record, 'new revision')
    } else if (board.isLost(service, placed)) {
      this.#renew({ service, placed }, record, 'back to what ran before: its revision is given up')
    } else this.#wait(placed, later)
  }

  /** The new revision where the slot is; elsewhere, if that has no room for it, or not what it is made of. */
  #renew({ service, placed }: At, record: MicroserviceRecord, reason: string): void {
    const board = this.#board
    const renewed = { ...placed, revision: record.revision }
    const spot = board.spot(placed.node)
    board.take(service, placed)
    // Who is silent has not looked for what is new.
    const refused = refusing(spot.isAlive ? MAKES : ROOM, spot, record)
    const isAll = record.spec.replicas === 'all'
    const isMovable = refused !== null && !isAll && this.#settled()
    const other = (isMovable && this.#choose(service, placed, placed)?.spot) || null
    const here = refused && `${spot.node.displayName} ${refused.refusal(spot, record).one}`
    const why = isAll ? here : refused && this.#whyNowhere(service, placed, record)
    board.put(service, placed)
    if (refused === null) return this.#change(service, placed, renewed, reason)
    if (other === null) return this.#wait(placed, `the new revision waits: ${why}`)
    const moved = { ...slotOf(placed), node: other.node.id, revision: record.revision }
    const { displayName } = spot.node
    const noRoom = `${displayName} has no room for the new revision`
    this.#change(service, placed, moved, refused.kind === 'room' ? noRoom : (here ?? ''))
  }

  /** Why a slot should leave the node it is on, or null. A wish that cannot be heeded bars nothing. */
  #whyMove(at: At): Move | null {
    const asked = this.#asked(at)
    if (asked !== null && asked.held !== true) return asked
    const { isAlive } = this.#board.spot(at.placed.node)
    return (isAlive ? this.#whyMoveFromAlive(at) : this.#whyMoveFromSilent(at)) ?? asked
  }

  #whyMoveFromSilent({ service, placed }: At): Move | null {
    const board = this.#board
    const spot = board.spot(placed.node)
    const silent = spot.silentMs ?? Infinity
    const { lost, displayName } = spot.node
    const record = board.aim(service, placed)
    const { lostAfterMs, replace } = disconnectOf(record.spec)
    if (silent < lostAfterMs && !lost) {
      this.#again(lostAfterMs - silent)
      return null
    }
    const since = Number.isFinite(silent) ? ` since ${Math.floor(silent / 1000)} s` : ''
    const reason = `${displayName} is ${lost ? 'given up' : `silent${since}`}`
    if (record.spec.node !== null) return { held: true, reason: `${reason}; pinned to it` }
    if (this.#isTied({ service, placed })) {
      return { held: true, reason: `${reason}; ${tieOf(service, placed)}` }
    }
    if (replace === 'never' && !lost) {
      return { held: true, reason: `${reason}; never replaced (disconnect.replace)` }
    }
    const moved = { from: placed.node, why: 'silent' as const }
    if (replace === 'always') return { reason, moved }
    const { mine, all } = this.#sideOf(record)
    if (mine * 2 >= all) return { reason, moved }
    return {
      held: true,
      reason: `${reason}; only ${mine} of the ${all} nodes that fit are in reach`
    }
  }

  #whyMoveFromAlive({ service, placed }: At): Move | null {
    const board = this.#board
    const spot = board.spot(placed.node)
    if (spot.node.availability?.mode === 'draining') return this.#drained({ service, placed })
    if (this.#isTied({ service, placed })) return null
    // Who asked for it meant it: what still runs where it was does not call it back.
    const isAsked = placed.moved?.why === 'asked'
    if (!isAsked && !board.holds(placed.node, service, placed.slot)) {
      const to = this.#runsElsewhere({ service, placed })
      if (to !== null) return { to, reason: `it runs on ${to.node.displayName}` }
      const gone = imageGone(spot, board.aim(service, placed))
      return gone && { reason: `${spot.node.displayName} ${gone.one}` }
    }
    return this.#isBack({ service, placed })
  }

  /** A person's wish. */
  #asked({ service, placed }: At): Move | null {
    const board = this.#board
    const { moves } = this.#input.state
    if (moves.size === 0) return null
    const wish = moves.get(slotKey(placed))
    const to = wish === undefined ? null : board.spotIfAny(wish.node)
    if (to === null || to.node.id === placed.node) return null
    const record = board.aim(service, placed)
    board.take(service, placed)
    const constraint = refusing(CONSTRAINTS, to, record)
    const { displayName } = to.node
    const reason = `asked to move to ${displayName}`
    const why = constraint && `${reason}, which ${constraint.refusal(to, record).one}`
    board.put(service, placed)
    if (why !== null) return { held: true, reason: why }
    return { to, reason, moved: { from: placed.node, why: 'asked' } }
  }

  /** Whether its volumes are where it is placed, so that it goes nowhere by itself. */
  #isTied({ service, placed }: At): boolean {
    return this.#board.home(service, placed.slot)?.node.id === placed.node
  }

  #drained({ service, placed }: At): Move {
    const { node } = this.#board.spot(placed.node)
    const { reason: words = '' } = node.availability ?? {}
    const reason = `${node.displayName} is drained${words === '' ? '' : ` (${words})`}`
    if (service.record.spec.node !== null) {
      return { held: true, reason: `${reason}; pinned to it` }
    }
    return this.#isTied({ service, placed })
      ? { held: true, reason: `${reason}; ${tieOf(service, placed)}` }
      : { reason }
  }

  /**
   * What has no other place goes when the time for it is over, which the node itself says, so that it goes
   * on whoever leads; one on every node goes first.
   */
  #mustGo({ node, isAlive }: Spot, { spec }: MicroserviceRecord): boolean {
    if (node.availability?.mode !== 'draining' || !isAlive) return false
    if (spec.replicas === 'all') return true
    const overdue = this.#input.status.get(node.id)?.overdue
    return overdue !== undefined && overdue === node.edits.availability?.op
  }

  /** The node that was silent is back and runs it still: which of the two copies stays. */
  #isBack({ service, placed }: At): Move | null {
    const board = this.#board
    const { moved } = placed
    const to = moved?.why === 'silent' ? board.spotIfAny(moved.from) : null
    if (to === null || !to.isAlive) return null
    const record = board.aim(service, placed)
    const { reconcile } = disconnectOf(record.spec)
    if (reconcile === 'keepReplacement') return null
    if (!board.runs(to.node.id, service, placed.slot, record.revision)) return null
    const isUp = board.runs(placed.node, service, placed.slot, record.revision)
    board.take(service, placed)
    const fits = refusing(ADOPTS, to, record) === null
    const now = board.spot(placed.node)
    const better = new Judge(board, service, record).advantage(to, now)
    board.put(service, placed)
    if (!fits) return null
    const { displayName } = to.node
    if (reconcile === 'keepOriginal') return { to, reason: `${displayName} is back and keeps it` }
    if (!isUp) return { to, reason: `${displayName} is back and runs it already` }
    return better === null ? null : { to, reason: `${displayName} is back and ${better}` }
  }

  /** Of the members that could run it, silent or not but not given up, how many are on my side. */
  #sideOf(record: MicroserviceRecord): { mine: number; all: number } {
    const could = this.#board.couldRun(record)
    return { mine: could.filter(({ isAlive }) => isAlive).length, all: could.length }
  }

  #runsElsewhere({ service, placed }: At): Spot | null {
    const board = this.#board
    const record = board.aim(service, placed)
    board.take(service, placed)
    const found = board.runner(service, placed.slot, record)
    board.put(service, placed)
    return found?.node.id === placed.node ? null : found
  }

  /** Somewhere else, or nowhere. */
  #placeAgain({ service, placed, reason }: Evicted): boolean {
    const { replicas } = service.record.spec
    const chosen = replicas === 'all' ? null : this.#choose(service, placed, placed)
    if (chosen === null) return false
    const { revision } = this.#board.aim(service, placed)
    const to = { ...slotOf(placed), node: chosen.spot.node.id, revision }
    this.#change(service, null, to, reason)
    return true
  }

  /** Slots that have no place. */
  #fill(service: Service, gone: ReadonlySet<string>, had: ReadonlyMap<Service, Set<number>>): void {
    const { application, name, spec, revision } = service.record
    if (isStopped(spec)) return
    if (spec.replicas === 'all') {
      for (const held of this.#fillAll(service, had.get(service) ?? new Set())) {
        this.#wait(held, held.reason)
      }
      return
    }
    if (service.placed.size >= spec.replicas) return
    for (let slot = 0; slot < spec.replicas; slot++) {
      if (service.placed.has(slot)) continue
      const open = { application, microservice: name, slot }
      if (gone.has(slotKey(open))) continue
      const asked = this.#askedFor(service, open)
      const chosen = asked?.to ? { spot: asked.to, why: () => asked.reason } : null
      const choice = chosen ?? this.#choose(service, open, null)
      if (choice === null) {
        const why = asked?.reason ?? this.#whyNowhere(service, open, service.record)
        this.#wait(open, why)
        continue
      }
      const moved = asked?.moved
      const placed = { ...open, node: choice.spot.node.id, revision, ...(moved && { moved }) }
      this.#change(service, null, placed, choice.why())
    }
  }

  /** A person's wish for a slot that waits for the node with its volumes. */
  #askedFor(service: Service, open: Slot): Move | null {
    const { moves, homes } = this.#input.state
    const key = slotKey(open)
    const wish = moves.size === 0 ? undefined : moves.get(key)
    const to = wish === undefined ? null : this.#board.spotIfAny(wish.node)
    if (to === null) return null
    const constraint = refusing(CONSTRAINTS, to, service.record)
    const reason = `asked to move to ${to.node.displayName}`
    if (constraint !== null) {
      const { one } = constraint.refusal(to, service.record)
      return { held: true, reason: `${reason}, which ${one}` }
    }
    const from = homes.get(key)?.node
    return { to, reason, ...(from !== undefined && { moved: { from, why: 'asked' } }) }
  }

  /** `replicas: all`: every node that fits, in reach or not, has a slot; gives what has to wait. */
  #fillAll(service: Service, had: ReadonlySet<number>): SlotReason[] {
    const board = this.#board
    const { record } = service
    const { application, name: microservice, revision } = record
    const held: string[] = []
    // Another node's copy is not handed over: numbers that were had before are no free ones.
    const free = (): number => {
      let slot = 0
      while (service.placed.has(slot) || had.has(slot) || board.home(service, slot)) slot++
      return slot
    }
    for (const spot of board.spots) {
      if (refusing(KEEPS, spot, record) || board.replicasOn(spot.node.id, service) > 0) continue
      if (spot.facts === null || hasNoEngine(spot.facts)) continue
      const there = { ...spot, isAlive: true }
      const { id, displayName } = spot.node
      const running = board.running(id, service)
      const asked = running.length > 0 ? ADOPTS : CONSTRAINTS
      const constraint = refusing(asked, there, record)
      if (constraint) {
        held.push(`${displayName} ${constraint.refusal(there, record).one}`)
        continue
      }
      const isFree = (slot: number): boolean => !service.placed.has(slot)
      const slot =
        board.homesOn(id, service).find(isFree) ??
        running.find((one) => isFree(one) && !board.home(service, one)) ??
        free()
      const placed = { application, microservice, slot, node: id, revision }
      this.#change(service, null, placed, `${displayName} fits`)
    }
    if (service.placed.size === 0 && held.length === 0) held.push(explain(board.spots, record))
    const numbers: number[] = []
    for (let slot = 0; numbers.length < held.length; slot++) {
      if (!service.placed.has(slot) && !had.has(slot)) numbers.push(slot)
    }
    return held.map((reason, i) => ({ application, microservice, slot: numbers[i] ?? 0, reason }))
  }

  /** The node for a slot that is not on the board: that with its volumes, one that runs it, else the best spread. */
  #choose(service: Service, slot: Slot, placed: Placed | null): Choice | null {
    const board = this.#board
    const record = board.aim(service, placed)
    if (isStopped(record.spec)) return null
    const home = board.home(service, slot.slot)
    if (home !== null) {
      if (refusing(CONSTRAINTS, home, record) !== null) return null
      const why = `${volumesIn(record)} on ${home.node.displayName}`
      return { spot: home, why: () => why }
    }
    const runs = board.runner(service, slot.slot, record)
    if (runs !== null) return { spot: runs, why: () => `it runs on ${runs.node.displayName}` }
    return new Judge(board, service, record).best()
  }

  /** Why a slot that is on the board would have no place if it were not. */
  #without(service: Service, placed: Placed, record: MicroserviceRecord): string {
    const board = this.#board
    board.take(service, placed)
    const why = this.#whyNowhere(service, placed, record)
    board.put(service, placed)
    return why
  }

  /** Why a slot that is not on the board gets no place. */
  #whyNowhere(service: Service, slot: Slot, record: MicroserviceRecord): string {
    const home = this.#board.home(service, slot.slot)
    const constraint = home && refusing(CONSTRAINTS, home, record)
    if (home === null || constraint === null) return explain(this.#board.spots, record)
    const { one } = constraint.refusal(home, record)
    return `${home.node.displayName} ${one}; ${tieOf(service, slot)}`
  }

  #change(service: Service, from: Placed | null, to: Placed | null, reason: string): void {
    const changed = (to ?? from) as Placed
    const key = slotKey(changed)
    if (!this.#before.has(key)) this.#before.set(key, { service, slot: changed.slot, before: from })
    if (from !== null) this.#board.take(service, from)
    if (to !== null) this.#board.put(service, to)
    this.#reasons.set(key, reason)
    this.#changes++
  }

  #wait(slot: Slot, reason: string): void {
    const key = slotKey(slot)
    if (!this.waiting.has(key)) this.waiting.set(key, { ...slotOf(slot), reason })
  }

  #again(ms: number): void {
    this.againInMs = Math.max(1, Math.ceil(Math.min(ms, this.againInMs ?? Infinity)))
  }

  /** Whether what is placed may be moved now; asked only where something would be. */
  #settled(): boolean {
    const { settledMs } = this.#input
    if (settledMs >= SETTLE_MS) return true
    this.#again(SETTLE_MS - settledMs)
    return false
  }

  /** Last slots first, and those that run after those that do not. */
  #byStanding(all: At[]): At[] {
    const runs = ({ service, placed }: At): number => {
      const { revision } = this.#board.aim(service, placed)
      return this.#board.runs(placed.node, service, placed.slot, revision) ? 1 : 0
    }
    return all.sort((a, b) => runs(a) - runs(b) || bySlot(b.placed, a.placed))
  }
}

interface Move {
  reason: string
  /** Where it runs already. */
  to?: Spot
  /** There is a reason to move it, and a rule that says not to. */
  held?: boolean
  moved?: PlacementMove
}

/** `its volume data is`. */
function volumesIn({ spec }: MicroserviceRecord): string {
  const names = volumeNames(spec)
  return names.length === 1 ? `its volume ${names[0]} is` : `its volumes ${names.join(', ')} are`
}

const tieOf = ({ record }: Service, slot: Slot): string =>
  `${volumesIn(record)} there (\`brume move ${slotKey(slot)} NODE\` starts it elsewhere without)`

const inOrder = ({ placed }: Service): Placed[] =>
  [...placed.values()].sort((a, b) => a.slot - b.slot)

const slotOf = ({ application, microservice, slot }: Slot): Slot => ({
  application,
  microservice,
  slot
})

function bySlot(a: Slot, b: Slot): number {
  if (a.application !== b.application) return a.application < b.application ? -1 : 1
  if (a.microservice !== b.microservice) return a.microservice < b.microservice ? -1 : 1
  return a.slot - b.slot
}
