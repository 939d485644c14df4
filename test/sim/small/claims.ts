/** What must be so at a moment of a story, by the policies alone. */
import { slotKey, type State } from '../../../core/state/state.ts'
import type { SmallMesh } from './mesh.ts'
import { keptOf, REPLICAS, type Combination } from './policies.ts'
import type { Station } from './station.ts'
import type { Story } from './story.ts'
import type { Watch } from './watch.ts'

/** A slot that was placed anew on one side, as the sides meet. */
export interface Meeting {
  original: Station
  replacement: Station
  /** `app/ms/slot@revision`. */
  subject: string
  /** Since when its copy on each of them runs; null: it does not. */
  originalSince: number | null
  replacementSince: number | null
}

/** Node ids by slot. */
export type Places = ReadonlyMap<string, string>
/** `node app/ms/slot@revision`, and since when it runs. */
export type Runs = ReadonlyMap<string, number>

export class Claims {
  readonly #mesh: SmallMesh
  readonly #watch: Watch
  readonly #story: Story
  readonly #combination: Combination

  constructor(mesh: SmallMesh, watch: Watch, story: Story, combination: Combination) {
    this.#mesh = mesh
    this.#watch = watch
    this.#story = story
    this.#combination = combination
  }

  places(): Map<string, string> {
    const { placements } = this.#mesh.first.state
    return new Map([...placements].map(([key, { node }]) => [key, node]))
  }

  runs(): Map<string, number> {
    const runs = new Map<string, number>()
    for (const { id, engine } of this.#mesh.stations) {
      for (const c of engine.containers.values()) {
        if (c.state === 'running') runs.set(`${id} ${slotKey(c)}@${c.revision}`, c.startedAt ?? 0)
      }
    }
    return runs
  }

  /** Each takes for alive whom it can reach, and nobody else. */
  presence(parts: readonly Station[][]): void {
    for (const part of parts) {
      const wanted = namesOf(part)
      for (const station of part) {
        const alive = [...station.alive]
          .map((id) => this.#mesh.byId(id).name)
          .sort()
          .join(' ')
        const what = `${station.name} takes ${alive} for alive, not ${wanted}`
        this.#watch.say('presence', alive === wanted, what)
      }
    }
  }

  /** An edit changed nothing that runs. */
  untouched(before: { runs: Runs; revisions: string }, edit: string): void {
    const after = this.runs()
    for (const [one, since] of before.runs) {
      // Of those that are fewer now the last one ends.
      if (edit === 'fewer replicas' && one.includes(`/${REPLICAS}@`)) continue
      const what = `${edit}: ${this.#nameIn(one)} ended or was started again`
      this.#watch.say('content', after.get(one) === since, what, one)
    }
    const isSame = revisionsOf(this.#mesh.first.state) === before.revisions
    this.#watch.say('content', isSame, `${edit} changes a revision`)
  }

  /**
   * Each slot runs where it is placed and nowhere else, as placed, and all see the same. `nodes`: how many have one of
   * what is on every node.
   */
  allRun(when: string, nodes = this.#mesh.stations.length): void {
    const { stations, first } = this.#mesh
    const { state } = first
    const wanted = [...state.placements.values()].map(
      (p) => `${p.node} ${slotKey(p)}@${state.microservices.get(`app/${p.microservice}`)?.revision}`
    )
    const is = [...this.runs().keys()]
    for (const one of wanted.filter((each) => !is.includes(each))) {
      this.#watch.say('rest', false, `${when}: ${this.#nameIn(one)} does not run`, one)
    }
    for (const one of is.filter((each) => !wanted.includes(each))) {
      this.#watch.say('rest', false, `${when}: ${this.#nameIn(one)} runs and is not placed`, one)
    }
    const asked = [...state.microservices.values()].reduce(
      (sum, { spec }) => sum + (spec.replicas === 'all' ? nodes : spec.replicas),
      0
    )
    this.#watch.say('rest', wanted.length === asked, `${when}: ${wanted.length} slots are placed`)
    const views = new Set(stations.map((one) => JSON.stringify([...one.state.placements])))
    this.#watch.say('rest', views.size === 1, `${when}: views differ`)
    const leads = stations.filter((station) => station.leads).length
    this.#watch.say('rest', leads === 1, `${when}: ${leads} lead`)
  }

  /** Nobody has been alone for long enough: whatever ran runs. */
  runOn(ran: Runs): void {
    const runs = this.runs()
    for (const [one, since] of ran) {
      const what = `${this.#nameIn(one)} ended before stopAfter`
      this.#watch.say('stopAfter', runs.get(one) === since, what, one)
    }
  }

  /** Who is alone stops what it runs, where the policy says so; nobody else does. */
  stoppedAlone(ran: Runs): void {
    const { stopAfterMs } = this.#combination
    const runs = this.runs()
    for (const [one, since] of ran) {
      const station = this.#mesh.byId(one.split(' ')[0] ?? '')
      const isOver = stopAfterMs !== null && station.aloneSince !== null
      const what = `${this.#nameIn(one)} ${isOver ? 'runs on' : 'ended'}`
      this.#watch.say('stopAfter', (runs.get(one) === since) !== isOver, what, one)
    }
    if (stopAfterMs === null) return
    for (const { aloneSince, name, engine } of this.#mesh.stations) {
      if (aloneSince === null) continue
      this.#watch.say('stopAfter', engine.running().length === 0, `${name} is alone and runs`)
    }
  }

  /** Which slots each side runs that it did not run before. */
  replaced(sides: readonly Station[][], before: Places): void {
    const { replace, stopAfterMs } = this.#combination
    const { stations } = this.#mesh
    const [, there] = sides
    for (const [key, at] of before) {
      const isFree = keptOf(key).kind === 'web'
      for (const side of sides) {
        if (side.some(({ id }) => id === at)) continue
        const isHalf = side.length * 2 >= stations.length
        const may = isFree && (replace === 'always' || (replace === 'auto' && isHalf))
        const isOver = stopAfterMs !== null && side.every(({ aloneSince }) => aloneSince !== null)
        const isUnable = this.#story.trouble === 'failing' && side === there
        const is = side.some(({ engine }) => engine.running().some((o) => o.startsWith(`${key}@`)))
        const what = `${key} is ${is ? '' : 'not '}replaced by ${namesOf(side)}`
        this.#watch.say('replace', is === (may && !isOver && !isUnable), what, key)
      }
      const most = this.#watch.mostCopies(key)
      const isOne = !isFree || replace === 'never'
      this.#watch.say('replace', !isOne || most <= 1, `there were ${most} copies of ${key}`, key)
    }
  }

  /** Of two copies the right one stays, as it is; what was never replaced is where it was. */
  reconciled(before: Places, meetings: ReadonlyMap<string, Meeting>): void {
    const { trouble } = this.#story
    const places = this.places()
    const runs = this.runs()
    const met = new Map(places)
    for (const [key, { replacement }] of meetings) met.set(key, replacement.id)
    for (const [key, from] of before) {
      const at = this.#mesh.byId(places.get(key) ?? '')
      const meeting = meetings.get(key)
      if (meeting === undefined) {
        const what = `${key}, never replaced, is on ${at.name} now`
        this.#watch.say('reconcile', at.id === from, what, key)
        continue
      }
      const stays = this.#survivor(key, meeting, met)
      met.set(key, stays.id)
      const { original, replacement, subject } = meeting
      const whose = `${key} of ${original.name}, replaced on ${replacement.name},`
      const what = `${whose} is on ${at.name}, not ${stays.name}`
      // What did not come up there is no choice between two.
      this.#watch.say(trouble === 'failing' ? 'adoption' : 'reconcile', at === stays, what, key)
      const since = at === original ? meeting.originalSince : meeting.replacementSince
      if (since === null || (trouble !== undefined && at !== original)) continue
      const isSame = runs.get(`${at.id} ${subject}`) === since
      this.#watch.say('content', isSame, `${at.name} started ${subject} again, which ran`, key)
    }
  }

  /** Where a person moved them, or away from a node that is drained; and there they stay. */
  movedTo(wanted: Places, drained: Station, when: string): void {
    const places = this.places()
    for (const [key, to] of wanted) {
      const at = this.#mesh.byId(places.get(key) ?? '').name
      const what = `${key} was moved and is on ${at} ${when}`
      this.#watch.say('adoption', places.get(key) === to, what, key)
    }
    for (const [key, at] of places) {
      if (keptOf(key).kind !== 'web' || wanted.has(key)) continue
      const what = `${key} is on ${drained.name} ${when}, which is drained`
      this.#watch.say('adoption', at !== drained.id, what, key)
    }
  }

  /** Its new node is silent: where it may be replaced, that is by who had it before and runs it still. */
  takenBack(moved: Places, back: Places, ran: Runs): void {
    const places = this.places()
    const runs = this.runs()
    for (const [key, to] of moved) {
      const wanted = this.#combination.replace === 'never' ? to : back.get(key)
      const at = this.#mesh.byId(places.get(key) ?? '').name
      this.#watch.say('adoption', places.get(key) === wanted, `${key} is on ${at} now`, key)
      for (const [one, since] of ran) {
        if (!one.startsWith(`${back.get(key)} ${key}@`)) continue
        const what = `${this.#nameIn(one)} ended or was started again`
        this.#watch.say('handover', runs.get(one) === since, what, one)
      }
    }
  }

  /** Somebody runs each slot that may be anywhere. */
  serves(keys: Iterable<string>, when: string): void {
    for (const key of keys) {
      if (keptOf(key).kind !== 'web') continue
      const is = this.#mesh.stations.some(({ engine }) =>
        engine.running().some((one) => one.startsWith(`${key}@`))
      )
      this.#watch.say('handover', is, `nobody runs ${key} ${when}`, key)
    }
  }

  renewed(before: Places): void {
    const places = this.places()
    for (const [key, at] of before) {
      this.#watch.say('settle', places.get(key) === at, `${key} moved for a new revision`, key)
    }
    for (const { microservice, state } of this.#mesh.first.state.rollouts.values()) {
      const what = `the rollout of ${microservice} is ${state}`
      this.#watch.say('order', state === 'done', what, `app/${microservice}`)
    }
  }

  #survivor(key: string, meeting: Meeting, places: Places): Station {
    const { original, replacement, originalSince } = meeting
    const { trouble } = this.#story
    // What has ended everywhere but in one place stays there.
    if (originalSince === null) return replacement
    if (trouble === 'failing') return original
    switch (this.#combination.reconcile) {
      case 'keepOriginal':
        return original
      case 'keepReplacement':
        return replacement
      case 'bestScore':
        if (trouble === 'sick') return original
        return loadOf(original, key, places) < loadOf(replacement, key, places)
          ? original
          : replacement
    }
  }

  #nameIn(one: string): string {
    const [id = '', subject] = one.split(' ')
    return `${subject} on ${this.#mesh.byId(id).name}`
  }
}

const namesOf = (stations: readonly Station[]): string =>
  stations
    .map(({ name }) => name)
    .sort()
    .join(' ')

export const revisionsOf = ({ microservices }: State): string =>
  [...microservices].map(([key, { revision }]) => `${key}@${revision}`).join(' ')

/** Replicas of the same first, then all. */
function loadOf({ id }: Station, key: string, places: Places): number {
  const others = [...places].filter(([other, at]) => other !== key && at === id)
  const same = others.filter(([other]) => keptOf(other) === keptOf(key))
  return same.length * 1_000 + others.length
}
