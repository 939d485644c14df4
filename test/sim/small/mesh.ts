/**
 * Four nodes with their real Agents and Controllers, real apply and real presence, on engines in
 * memory and a clock of their own; what lies between (links, gossip, the oplog) is the least that behaves the
 * same. For what has to be tried in hundreds of combinations; `../mesh/` has the real thing.
 */
import type { ControllerWorld, LeaderPlan } from '../../../roles/controller/machine.ts'
import { EventClock } from './clock.ts'
import { Station } from './station.ts'
import { MEMBERS, Views } from './views.ts'

export interface SmallMeshOptions {
  /** Whose ops come last of those made without sight of each other: the last node's by id, or the first's. */
  last: 'first' | 'last'
  /** Told of a container, as `app/ms/slot@revision`, that is about to run, or to end. */
  onStart: (station: Station, subject: string) => void
  onEnd: (station: Station, subject: string) => void
  /** Told of what a leader is about to append, and what it saw when it decided that. */
  onPlan: (station: Station, plan: LeaderPlan, seen: ControllerWorld) => void
}

/** What a message takes. */
const DELAY_MS = 20
const TICK_MS = 1_000

export class SmallMesh {
  readonly clock = new EventClock()
  readonly views = new Views()
  /** By id. */
  readonly stations: Station[]
  readonly options: SmallMeshOptions
  /** Errors of roles, as they log them. */
  readonly failures: string[] = []
  /** Ops appended, ever. */
  appended = 0
  #sides = new Map<Station, number>()
  #isOver = false

  constructor(options: SmallMeshOptions) {
    this.options = options
    this.stations = MEMBERS.map((member) => new Station(member, this))
  }

  get first(): Station {
    return this.stations[0] as Station
  }

  async begin(): Promise<void> {
    for (const station of this.stations) await station.begin()
    this.#tick()
    await this.clock.pass(4_000)
  }

  end(): void {
    this.#isOver = true
    for (const station of this.stations) station.end()
  }

  reaches(a: Station, b: Station): boolean {
    return (this.#sides.get(a) ?? 0) === (this.#sides.get(b) ?? 0)
  }

  /** Nobody reaches who is in another part; without parts all reach all. */
  split(parts: readonly Station[][]): void {
    this.#sides = new Map(parts.flatMap((part, side) => part.map((station) => [station, side])))
  }

  byId(id: string): Station {
    const found = this.stations.find((station) => station.id === id)
    if (found === undefined) throw new Error(`there is no node ${id}`)
    return found
  }

  /** What one node has made known goes to all it has a link with. */
  spread(from: Station): void {
    for (const to of this.stations) if (to !== from && from.links.has(to.id)) this.bring(from, to)
  }

  /** All that one has and the other lacks. */
  bring(from: Station, to: Station): void {
    this.clock.setTimeout(() => {
      if (!this.reaches(from, to)) return
      to.hear(from.records)
      void to.take(from.entries.values())
    }, DELAY_MS)
  }

  /** Resolves when an answer of `to` would be there; rejects where none comes. */
  async ask<T>(from: Station, to: Station, answer: () => T): Promise<T> {
    await this.clock.sleep(DELAY_MS)
    if (!this.reaches(from, to)) {
      await this.clock.sleep(2_000)
      throw new Error(`${to.name} does not answer`)
    }
    return answer()
  }

  /** Every second each looks at its links, then at who is alive. */
  #tick(): void {
    if (this.#isOver) return
    for (const station of this.stations) station.tick()
    this.clock.setTimeout(() => this.#tick(), TICK_MS)
  }
}
