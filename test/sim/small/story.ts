/**
 * What befalls four nodes under one combination of policies: a split, what each side does, and a heal;
 * before or after that edits, moves, a drain or a new revision.
 */
import type { Op } from '../../../core/state/index.ts'
import { Claims, revisionsOf, type Meeting, type Places } from './claims.ts'
import { SmallMesh } from './mesh.ts'
import {
  edits,
  keptOf,
  MICROSERVICES,
  REPLICAS,
  setOf,
  specOf,
  withPolicies,
  type Change,
  type Combination,
  type Kept
} from './policies.ts'
import type { Station } from './station.ts'
import { Watch } from './watch.ts'

export interface Story {
  words: string
  /** Which nodes are on the first side, by their place in the order of ids; the first of all leads. */
  side: readonly number[]
  /** Whose ops come last when the sides meet. */
  last: 'first' | 'last'
  /** What is wrong with the replacements of the second side, until a while after the heal. */
  trouble?: 'sick' | 'failing'
  /** They get their policies, and other wishes, once they run. */
  edited?: true
  /** At the end: all take a new revision; some are moved, and a node is drained; some are moved to a node that is lost. */
  renewed?: true
  moved?: true
  lost?: true
}

/** Slot 0 of what has two is on the first node, slot 1 on the second. */
export const STORIES: readonly Story[] = [
  { words: 'the leader is alone', side: [0], last: 'last', edited: true },
  { words: 'a follower is alone', side: [1], last: 'first', renewed: true },
  { words: 'halves', side: [0, 1], last: 'first', moved: true },
  { words: 'halves, the new copies are sick', side: [0, 1], last: 'last', trouble: 'sick' },
  {
    words: 'halves, no new copy comes up',
    side: [0, 1],
    last: 'first',
    trouble: 'failing',
    lost: true
  }
]

/** @returns what was judged, and what did not hold */
export async function tell(story: Story, combination: Combination): Promise<Watch> {
  const watch = new Watch(combination)
  const mesh = new SmallMesh({
    last: story.last,
    onStart: (station, subject) => watch.onStart(station, subject),
    onEnd: (station, subject) => watch.onEnd(station, subject),
    onPlan: (station, plan, seen) => watch.onPlan(station, plan, seen)
  })
  await mesh.begin()
  watch.follow(mesh)
  try {
    await new Telling(mesh, watch, story, combination).tell()
  } finally {
    mesh.end()
  }
  for (const what of [...mesh.failures, ...mesh.views.refused]) watch.say('rest', false, what)
  return watch
}

const TROUBLE_MS = 8_000
/** What could not be made for so long is tried again within this. */
const TRIED_AGAIN_MS = 10_000
/** The grace of a handover, a question, and what is done about the answer. */
const HANDOVER_MS = 16_000

class Telling {
  readonly #mesh: SmallMesh
  readonly #watch: Watch
  readonly #claims: Claims
  readonly #story: Story
  readonly #combination: Combination
  readonly #microservices: readonly Kept[]
  readonly #here: Station[]
  readonly #there: Station[]

  constructor(mesh: SmallMesh, watch: Watch, story: Story, combination: Combination) {
    this.#mesh = mesh
    this.#watch = watch
    this.#claims = new Claims(mesh, watch, story, combination)
    this.#story = story
    this.#combination = combination
    // Of what is on every node nothing is moved: its order says something only where it is edited or renewed.
    const isWhole = story.edited || story.renewed
    this.#microservices = MICROSERVICES.filter(
      ({ kind, order }) => isWhole || kind !== 'all' || order === 'auto'
    )
    this.#here = mesh.stations.filter((_, i) => story.side.includes(i))
    this.#there = mesh.stations.filter((_, i) => !story.side.includes(i))
  }

  async tell(): Promise<void> {
    const { edited, moved, lost, renewed } = this.#story
    await this.#deploy()
    if (edited) await this.#editWhatIsNoContent()
    const before = this.#claims.places()
    await this.#split(before)
    const meetings = await this.#heal(before)
    await this.#reconcile(before, meetings)
    if (moved) await this.#moveAndDrain()
    if (lost) await this.#moveAndLose()
    if (renewed) await this.#rollOut()
  }

  /** What has two comes to the first nodes, and what has a volume to where the pinned one is. */
  async #deploy(): Promise<void> {
    const [home] = this.#here as [Station]
    const isWeb = ({ kind }: Kept): boolean => kind === 'web'
    const isData = ({ kind }: Kept): boolean => kind === 'data'
    for (const batch of [isWeb, (one: Kept) => !isWeb(one) && !isData(one), isData]) {
      const sets = this.#microservices.filter(batch).map((one) => {
        const spec = specOf(one, home.name)
        const whole = withPolicies(spec, one, this.#combination)
        return setOf(one.name, this.#story.edited ? spec : whole)
      })
      await this.#mesh.first.append(sets)
      await this.#mesh.clock.pass(1_500)
    }
    await this.#edit((spec) => ({ ...spec, placing: {} }))
    this.#claims.allRun('deployed')
  }

  /** Nothing of it is what a container is made of. */
  async #editWhatIsNoContent(): Promise<void> {
    const changes: Record<string, Change> = {
      'update and disconnect': (spec, of) => withPolicies(spec, of, this.#combination),
      'placing, allow and expose': (spec, of) => ({
        ...spec,
        placing: { maxPerNode: 9 },
        allow: ['other'],
        expose: [{ port: 8000 + MICROSERVICES.indexOf(of), to: 80, protocol: 'tcp', on: 'all' }]
      }),
      'dependsOn, restart, healthcheck and constraints': (spec, { kind }) => ({
        ...spec,
        healthcheck: spec.healthcheck && { ...spec.healthcheck, intervalMs: 9_000 },
        ...(kind === 'web' && { dependsOn: { 'all-auto': 'started' as const } }),
        restart: 'on-failure',
        constraints: ['engine=docker']
      }),
      'more replicas': (spec, { kind }) =>
        kind === 'web' ? { ...spec, replicas: REPLICAS + 1 } : spec,
      'fewer replicas': (spec, { kind }) =>
        kind === 'web' ? { ...spec, replicas: REPLICAS } : spec
    }
    for (const [what, change] of Object.entries(changes)) {
      const revisions = revisionsOf(this.#mesh.first.state)
      const before = { runs: this.#claims.runs(), revisions }
      await this.#edit(change)
      this.#claims.untouched(before, what)
    }
    this.#claims.allRun('edited')
  }

  async #split(before: Places): Promise<void> {
    const { clock } = this.#mesh
    const sides = [this.#here, this.#there]
    const ran = this.#claims.runs()
    for (const key of before.keys()) this.#watch.mostCopies(key)
    for (const station of this.#there) station.trouble = this.#story.trouble ?? null
    this.#mesh.split(sides)
    await clock.pass(5_500)
    this.#claims.presence(sides)
    await clock.pass(4_500)
    this.#claims.runOn(ran)
    await clock.pass(4_000)
    this.#claims.presence(sides)
    this.#claims.stoppedAlone(ran)
    this.#claims.replaced(sides, before)
  }

  /** @returns the slots that have another place now, as the sides meet */
  async #heal(before: Places): Promise<Map<string, Meeting>> {
    const { clock, stations, first } = this.#mesh
    const ran = this.#claims.runs()
    this.#mesh.split([])
    const isMet = (): boolean => new Set(stations.map(({ entries }) => entries.size)).size === 1
    for (let i = 0; i < 50 && !isMet(); i++) await clock.pass(50)
    const meetings = new Map<string, Meeting>()
    for (const [key, { node, revision }] of first.state.placements) {
      const from = before.get(key)
      if (from === undefined || node === from) continue
      const subject = `${key}@${revision}`
      meetings.set(key, {
        ...{ original: this.#mesh.byId(from), replacement: this.#mesh.byId(node), subject },
        originalSince: ran.get(`${from} ${subject}`) ?? null,
        replacementSince: ran.get(`${node} ${subject}`) ?? null
      })
    }
    return meetings
  }

  async #reconcile(before: Places, meetings: ReadonlyMap<string, Meeting>): Promise<void> {
    const { clock, stations } = this.#mesh
    if (this.#story.trouble !== undefined) {
      await clock.pass(TROUBLE_MS)
      this.#claims.serves(before.keys(), 'while the new copies are in trouble')
      for (const station of this.#there) station.trouble = null
    }
    await clock.pass(HANDOVER_MS)
    const { appended } = this.#mesh
    await clock.pass(2_000)
    this.#claims.presence([stations])
    this.#claims.allRun('healed')
    this.#claims.reconciled(before, meetings)
    this.#watch.say('rest', this.#mesh.appended === appended, 'ops are appended for ever')
  }

  /**
   * One of each pair goes where it does not come up at first, the other away from a node that is drained:
   * what still runs where it was calls neither back.
   */
  async #moveAndDrain(): Promise<void> {
    const { clock, stations, first } = this.#mesh
    const places = this.#claims.places()
    const webs = MICROSERVICES.filter(({ kind }) => kind === 'web')
    const drained = this.#mesh.byId(places.get('app/web-auto/1') ?? '')
    const free = stations.filter((one) => one !== drained)
    const wishes = new Map<string, string>()
    for (const { name } of webs) {
      const key = `app/${name}/0`
      const to = free.find(({ id }) => ![places.get(key), places.get(`app/${name}/1`)].includes(id))
      if (to !== undefined) wishes.set(key, to.id)
    }
    for (const station of free) station.trouble = 'failing'
    const availability = { mode: 'draining' as const, reason: '', deadlineMs: null }
    await first.append([
      ...movesTo(wishes),
      { type: 'node.set', node: drained.id, availability, over: null, at: 1 }
    ])
    // Longer than the grace: they are asked, and say no.
    await clock.pass(13_000)
    this.#claims.movedTo(wishes, drained, 'while it does not come up')
    this.#claims.serves(places.keys(), 'while they do not come up elsewhere')
    for (const station of free) station.trouble = null
    await clock.pass(TRIED_AGAIN_MS + HANDOVER_MS)
    this.#claims.movedTo(wishes, drained, 'at the end')
    this.#claims.allRun('moved and drained', free.length)
  }

  /** Moved, they are up, and in the grace their new node is cut off: who had them runs them still. */
  async #moveAndLose(): Promise<void> {
    const { clock, stations, first } = this.#mesh
    const before = this.#claims.places()
    const [last] = stations.slice(-1) as [Station]
    const slots = [...before.keys()].filter(
      (key) => keptOf(key).kind === 'web' && key.endsWith('/0')
    )
    const wishes = new Map(slots.map((key) => [key, last.id]))
    const ran = this.#claims.runs()
    await first.append(movesTo(wishes))
    await clock.pass(3_000)
    this.#mesh.split([[last], stations.filter((one) => one !== last)])
    await clock.pass(6_500)
    this.#claims.takenBack(wishes, before, ran)
    this.#mesh.split([])
    await clock.pass(HANDOVER_MS)
    this.#claims.allRun('moved and lost')
  }

  async #rollOut(): Promise<void> {
    const places = this.#claims.places()
    await this.#edit((spec) => ({ ...spec, env: { VERSION: '2' } }))
    await this.#mesh.clock.pass(6_500)
    this.#claims.allRun('rolled out')
    this.#claims.renewed(places)
  }

  async #edit(change: Change): Promise<void> {
    const { first, clock } = this.#mesh
    await first.append(edits(first.state, change))
    await clock.pass(1_500)
  }
}

const movesTo = (wishes: Places): Op[] =>
  [...wishes].map(([key, node]) => {
    const [application = '', microservice = '', slot] = key.split('/')
    return { type: 'slot.move', application, microservice, slot: Number(slot), node, at: 1 }
  })
