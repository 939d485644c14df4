/**
 * Looks on while a small mesh lives, and judges by the rules, said here once more and in the plainest way:
 * each end of a running container, each plan of a leader, and in between what runs.
 */
import { slotKey, type State } from '../../../core/state/state.ts'
import type { ControllerWorld, LeaderPlan } from '../../../roles/controller/machine.ts'
import type { UpdatePolicy } from '../../../core/state/policies.ts'
import type { SmallMesh } from './mesh.ts'
import { keptOf, type Combination } from './policies.ts'
import type { Station } from './station.ts'

export type Rule =
  | 'presence'
  | 'content'
  | 'handover'
  | 'adoption'
  | 'settle'
  | 'order'
  | 'replace'
  | 'reconcile'
  | 'stopAfter'
  | 'rest'

export interface Finding {
  rule: Rule
  /** The order of the microservice it is about. */
  order: UpdatePolicy['order'] | null
  what: string
}

const GRACE_MS = 10_000
const SETTLE_MS = 1_000
const LOOK_MS = 200
/** Of each rule: what goes on being wrong is said a few times. */
const MOST_FINDINGS = 5
/** A view is with the roles, and what they say of it is told, after so long. */
const TOLD_MS = 500

export class Watch {
  readonly findings: Finding[] = []
  /** How often each rule had something to say. */
  readonly judged = new Map<Rule, number>()
  #mesh!: SmallMesh
  readonly #combination: Combination
  /** `node key`: since when it runs what is asked for and placed elsewhere. */
  readonly #lost = new Map<string, number>()
  /** Slots that ran, and how many copies in all at the most since they were forgotten. */
  readonly #most = new Map<string, number>()
  readonly #retired = new Set<string>()

  constructor(combination: Combination) {
    this.#combination = combination
  }

  follow(mesh: SmallMesh): void {
    this.#mesh = mesh
    const look = (): void => {
      this.#look()
      mesh.clock.setTimeout(look, LOOK_MS)
    }
    look()
  }

  /** `about`: has the key of the slot in it, or the name of the microservice. */
  say(rule: Rule, holds: boolean, what: string, about = ''): void {
    this.judged.set(rule, (this.judged.get(rule) ?? 0) + 1)
    if (holds || this.findings.filter((one) => one.rule === rule).length >= MOST_FINDINGS) return
    const key = /app\/[^ ]+/.exec(about)?.[0]
    const order = key === undefined ? null : keptOf(key).order
    const at = (this.#mesh.clock.now() / 1000).toFixed(1)
    this.findings.push({ rule, order, what: `${what} (at ${at} s)` })
  }

  /** Most copies of a slot that ran at once since this was asked last. */
  mostCopies(key: string): number {
    const most = this.#most.get(key) ?? 0
    this.#most.delete(key)
    return most
  }

  onStart(station: Station, subject: string): void {
    const [key = ''] = subject.split('@')
    const { name } = station
    const beside = station.engine.running().filter((one) => one.startsWith(`${key}@`))
    if (beside.length > 0) {
      this.say(
        'order',
        startsFirst(key),
        `${name} starts ${subject} beside ${beside.join(' ')}`,
        key
      )
    }
  }

  onEnd(station: Station, subject: string): void {
    const [key = '', revision] = subject.split('@')
    const { name, told } = station
    const placed = told.placements.get(key)
    // Called off while it started, it ends as soon as it runs.
    if (!isAsked(told, key) || station.ranMs(subject) === 0) return
    const what = `${name} ends ${subject}`
    if (this.#stoppedAlone(station)) {
      this.say('stopAfter', true, what, key)
    } else if (placed?.node !== station.id) {
      this.#judgeHandover(station, key, what)
    } else if (placed.revision === revision) {
      const said = station.status.containers.find((c) => slotKey(c) === key)
      this.say(
        'content',
        said?.healthy === false,
        `${what}, which is healthy and belongs there`,
        key
      )
    } else this.#judgeRenewal(station, key, what)
  }

  onPlan(_: Station, plan: LeaderPlan, seen: ControllerWorld): void {
    const { state, alive, settledMs } = seen
    for (const set of plan.set) {
      const key = slotKey(set)
      const before = state.placements.get(key)
      const to = this.#mesh.byId(set.node)
      const what = `${key} is placed on ${to.name}: ${set.reason}`
      const holders = this.#mesh.stations.filter(
        (one) => alive.has(one.id) && serves(one, key, set.revision)
      )
      if (before?.node === set.node) continue
      // A person moved it, or drains its node.
      const leaves = state.nodes.get(before?.node ?? '')?.availability?.mode === 'draining'
      const isMeant = set.moved?.why === 'asked' || leaves
      this.say(
        'adoption',
        isMeant || holders.length === 0 || holders.includes(to),
        `${what}; ${holders.map(({ name }) => name).join(' ')} runs it`,
        key
      )
      if (before === undefined) continue
      this.say('settle', settledMs >= SETTLE_MS, `${what}, ${settledMs} ms after a change`, key)
      if (!alive.has(before.node)) this.#judgeReplacement(key, what, seen)
    }
    for (const gone of plan.rm) {
      const key = slotKey(gone)
      this.say('settle', settledMs >= SETTLE_MS, `${key} is taken away amid a change`, key)
    }
  }

  #judgeReplacement(key: string, what: string, { alive, state }: ControllerWorld): void {
    const { replace } = this.#combination
    const mine = [...state.nodes.keys()].filter((id) => alive.has(id)).length
    const isHalf = mine * 2 >= state.nodes.size
    const may = replace === 'always' || (replace === 'auto' && isHalf)
    this.say('replace', may, `${what}, with ${mine} of ${state.nodes.size} in reach`, key)
    this.say('replace', keptOf(key).kind === 'web', `${what}, and is tied to its node`, key)
  }

  #stoppedAlone({ aloneSince }: Station): boolean {
    const { stopAfterMs } = this.#combination
    if (stopAfterMs === null || aloneSince === null) return false
    return this.#mesh.clock.now() - aloneSince >= stopAfterMs
  }

  /** Only after the grace, and only when the node placed now runs it healthily under that placement. */
  #judgeHandover(station: Station, key: string, what: string): void {
    const placed = station.told.placements.get(key)
    const since = this.#lost.get(`${station.id} ${key}`) ?? Infinity
    // Both clocks are looked at a moment apart.
    const isOver = this.#mesh.clock.now() - since >= GRACE_MS - LOOK_MS
    this.say('handover', isOver, `${what} within the grace`, key)
    this.say(
      'handover',
      this.#retired.has(`${station.id} ${key}`),
      `${what}, which never retired`,
      key
    )
    if (placed === undefined) return this.say('handover', false, `${what}, placed nowhere`, key)
    const other = this.#mesh.byId(placed.node)
    const isThere =
      this.#mesh.reaches(station, other) &&
      other.told.placements.get(key)?.op === placed.op &&
      serves(other, key, placed.revision)
    this.say('handover', isThere, `${what}, which ${other.name} does not run as placed now`, key)
  }

  /** Another revision in its place: what starts first is up and well before, what does not is made. */
  #judgeRenewal(station: Station, key: string, what: string): void {
    const revision = station.told.placements.get(key)?.revision ?? ''
    const isMade = [...station.engine.containers.values()].some(
      (c) => slotKey(c) === key && c.revision === revision
    )
    if (startsFirst(key)) {
      this.say('order', serves(station, key, revision), `${what} before the new one is up`, key)
    } else this.say('order', isMade, `${what} before the new one is made`, key)
  }

  #look(): void {
    const now = this.#mesh.clock.now()
    const copies = new Map<string, number>()
    for (const station of this.#mesh.stations) {
      const running = new Set(station.engine.running().map((one) => one.split('@')[0] ?? ''))
      for (const key of running) {
        copies.set(key, (copies.get(key) ?? 0) + 1)
        const mine = `${station.id} ${key}`
        const placed = station.told.placements.get(key)
        const isLost = isAsked(station.told, key) && placed?.node !== station.id
        if (!isLost) {
          this.#lost.delete(mine)
          this.#retired.delete(mine)
          continue
        }
        const since = this.#lost.get(mine) ?? now
        this.#lost.set(mine, since)
        const state = station.status.containers.find((c) => slotKey(c) === key)?.state
        if (state === 'retiring') this.#retired.add(mine)
        if (now - since < TOLD_MS) continue
        const isSaid = state === 'retiring' || state === 'stopping'
        this.say('handover', isSaid, `${station.name} lost ${key} and says it is ${state}`, key)
      }
    }
    for (const [key, count] of copies) {
      this.#most.set(key, Math.max(count, this.#most.get(key) ?? 0))
    }
  }
}

function isAsked(state: State, key: string): boolean {
  const [application, name, slot] = key.split('/')
  const record = state.microservices.get(`${application}/${name}`)
  if (record === undefined) return false
  const { replicas } = record.spec
  return replicas === 'all' ? state.placements.has(key) : Number(slot) < replicas
}

/** By what its engine shows, and its last word on health. */
export function serves(station: Station, key: string, revision: string): boolean {
  const said = station.status.containers.find((c) => slotKey(c) === key)
  const isWell = said?.revision === revision && said.healthy === true
  return isWell && station.engine.running().includes(`${key}@${revision}`)
}

/** `auto` is the new one first; but two containers never write one volume. */
const startsFirst = (key: string): boolean => {
  const { kind, order } = keptOf(key)
  return kind !== 'data' && order !== 'stopFirst'
}
