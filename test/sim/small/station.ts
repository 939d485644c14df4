/** One node of a small mesh. */
import { createActor, type Actor } from 'xstate'
import type {
  FactsBody,
  GossipBodies,
  GossipKind,
  StatusBody
} from '../../../core/gossip-records.ts'
import { Observer } from '../../../core/observer.ts'
import type { HeardLinks } from '../../../core/presence.ts'
import type { Op } from '../../../core/state/index.ts'
import { slotKey, type State } from '../../../core/state/state.ts'
import type { AgentComponents } from '../../../roles/agent/components.ts'
import { agentRuns } from '../../../roles/agent/machine/context.ts'
import { agentMachine } from '../../../roles/agent/machine.ts'
import type { SavedMemory } from '../../../roles/agent/memory.ts'
import {
  createController,
  type ControllerMachine,
  type ControllerWorld,
  type LeaderPlan
} from '../../../roles/controller/machine.ts'
import type { Member } from '../../helpers/members.ts'
import { FakeEngine } from '../fake-engine.ts'
import { facts } from '../worlds.ts'
import type { SmallMesh } from './mesh.ts'
import { keptOf } from './policies.ts'
import { ordered, type Entry } from './views.ts'

type Kind = Extract<GossipKind, 'links' | 'status' | 'facts'>
interface Heard<K extends Kind = Kind> {
  kind: K
  seq: number
  body: GossipBodies[K]
  receivedAt: number
}

const MISSES_MS = 3_000
const REFRESH_MS = 60_000
/** What a container takes to start, and then to be well. */
const START_MS = 300
const WELL_AFTER_MS = 800
const VIEW_MS = 100
const GOSSIP_MS = 200

export class Station {
  readonly id: string
  readonly engine: FakeEngine
  /** Ops it has, by id. */
  readonly entries = new Map<string, Entry>()
  /** Newest record of each node and kind. */
  readonly records = new Map<string, Heard>()
  /** By node id: when it was last heard, boot ms. */
  readonly links = new Map<string, number>()
  /** Boot ms since which it sees nobody else; null while it does. */
  aloneSince: number | null = null
  /** What is wrong with copies here that could be elsewhere: they fail their checks, or cannot be made. */
  trouble: 'sick' | 'failing' | null = null
  state!: State
  /** What its roles were told last. */
  told!: State
  readonly #member: Member
  readonly #mesh: SmallMesh
  readonly #observer: Observer
  #order: Entry[] = []
  #turn: Promise<void> = Promise.resolve()
  #seq = 0
  #unsettledAt: number
  #publishedAt = 0
  #random: number
  #due = { view: false, gossip: false }
  #saved: SavedMemory | null = null
  #agent!: Actor<typeof agentMachine>
  #controller!: Actor<ControllerMachine>

  constructor(member: Member, mesh: SmallMesh) {
    this.#member = member
    this.#mesh = mesh
    this.id = member.id
    this.#random = 1 + member.writer.readUInt16BE()
    const { clock } = mesh
    this.#unsettledAt = clock.now()
    this.engine = new FakeEngine(clock.now)
    this.engine.gate = {
      create: (subject) => refuseIf(this.trouble === 'failing' && isMovable(subject)),
      exec: (id) => {
        const container = this.engine.containers.get(id)
        const isNew = clock.now() - (container?.startedAt ?? 0) < WELL_AFTER_MS
        const key = container === undefined ? '' : slotKey(container)
        return refuseIf(isNew || (this.trouble === 'sick' && isMovable(key)))
      },
      start: async (subject) => {
        await clock.sleep(START_MS)
        mesh.options.onStart(this, subject)
      },
      stop: (subject) => this.#onEnd(subject),
      remove: (subject) => this.#onEnd(subject)
    }
    this.#observer = new Observer({
      self: this.id,
      links: () => [...this.links].map(([id, heardAt]) => ({ id, heardAt })),
      records: () => this.#all('links') as ReadonlyMap<string, HeardLinks>,
      refreshMs: REFRESH_MS,
      now: clock.now
    })
  }

  get name(): string {
    return this.state.nodes.get(this.id)?.displayName ?? this.id
  }

  get alive(): Set<string> {
    return this.#observer.alive()
  }

  get settledMs(): number {
    return this.#mesh.clock.now() - this.#unsettledAt
  }

  get leads(): boolean {
    return this.#controller.getSnapshot().matches('leading')
  }

  /** What this node says of its containers. */
  get status(): StatusBody {
    return this.statusOf(this.id)
  }

  statusOf(id: string): StatusBody {
    return (this.#all('status').get(id)?.body ?? { containers: [], failing: [] }) as StatusBody
  }

  async begin(): Promise<void> {
    this.state = this.told = await this.#mesh.views.at([])
    const { clock } = this.#mesh
    this.#publish('facts', FACTS)
    this.#controller = createActor(this.#createController(), { clock })
    this.#agent = createActor(agentMachine, { clock, input: this.#agentComponents() })
    this.#controller.start()
    this.#agent.start()
    this.#tellView()
    this.#tellPeers()
  }

  end(): void {
    this.#agent.stop()
    this.#controller.stop()
  }

  /** Resolves once its own view shows them. */
  async append(ops: readonly Op[]): Promise<void> {
    const writer = this.#member.writer.toString('hex').slice(0, 8)
    const newest = Math.max(0, ...[...this.entries.values()].map(({ time }) => time))
    const own = [...this.entries.values()].filter(({ author }) => author === this.#member).length
    const made = ops.map((op, i): Entry => ({
      ...{ id: `${writer}.${100 + own + i}`, op, author: this.#member, time: newest + 1 + i }
    }))
    this.#mesh.appended += made.length
    await this.take(made)
  }

  /** Resolves once its view shows them. */
  take(entries: Iterable<Entry>): Promise<void> {
    const fresh = [...entries].filter(({ id }) => !this.entries.has(id))
    if (fresh.length === 0) return this.#turn
    for (const entry of fresh) this.entries.set(entry.id, entry)
    this.#turn = this.#turn.then(() => this.#follow())
    return this.#turn
  }

  hear(records: ReadonlyMap<string, Heard>): void {
    let isNews = false
    for (const [key, record] of records) {
      if ((this.records.get(key)?.seq ?? -1) >= record.seq) continue
      this.records.set(key, { ...record, receivedAt: this.#mesh.clock.now() })
      isNews = true
    }
    if (!isNews) return
    this.#look()
    this.#tellGossip()
    this.#mesh.spread(this)
  }

  tick(): void {
    const { clock, stations } = this.#mesh
    const now = clock.now()
    let isNews = now - this.#publishedAt >= REFRESH_MS
    for (const other of stations) {
      if (other === this) continue
      const heardAt = this.links.get(other.id)
      if (this.#mesh.reaches(this, other)) {
        if (heardAt === undefined) isNews = true
        this.links.set(other.id, now)
        if (heardAt === undefined) this.#mesh.bring(this, other)
      } else if (heardAt !== undefined && now - heardAt >= MISSES_MS) {
        this.#observer.onLinkEnded(other.id, heardAt)
        this.links.delete(other.id)
        isNews = true
      }
    }
    this.#look()
    if (isNews) this.#publishLinks()
  }

  /** For how long the newest run of a container has gone on, by its subject. */
  ranMs(subject: string): number {
    const found = [...this.engine.containers.values()].find(
      (c) => `${slotKey(c)}@${c.revision}` === subject
    )
    return this.#mesh.clock.now() - (found?.startedAt ?? 0)
  }

  /** Whether it runs a slot healthily under that placement, as it would tell who asks. */
  runs(key: string, placement: string): boolean {
    return agentRuns(this.#agent.getSnapshot().context, key, placement)
  }

  async #follow(): Promise<void> {
    const before = this.#order
    const after = ordered(this.entries.values(), this.#mesh.options.last)
    const state = await this.#mesh.views.at(after)
    this.#order = after
    if (before.some(({ id }, i) => after[i]?.id !== id)) this.#unsettledAt = this.#mesh.clock.now()
    this.state = state
    this.#tellView()
    this.#mesh.spread(this)
  }

  #look(): void {
    if (!this.#observer.look()) return
    const now = this.#mesh.clock.now()
    this.#unsettledAt = now
    this.aloneSince = this.alive.size > 1 ? null : (this.aloneSince ?? now)
    this.#publishLinks()
    this.#tellPeers()
  }

  #publishLinks(): void {
    this.#publishedAt = this.#mesh.clock.now()
    this.#publish('links', {
      peers: [...this.links.keys()].sort(),
      ended: this.#observer.ended(),
      answers: this.#observer.answers(),
      uptimeRank: 0,
      session: 'one'
    })
  }

  #publish<K extends Kind>(kind: K, body: GossipBodies[K]): void {
    const receivedAt = this.#mesh.clock.now()
    const record = { kind, seq: ++this.#seq, body, receivedAt } as unknown as Heard
    this.records.set(`${kind} ${this.id}`, record)
    this.#tellGossip()
    this.#mesh.spread(this)
  }

  #all(kind: Kind): ReadonlyMap<string, Heard> {
    const found = [...this.records].filter(([, record]) => record.kind === kind)
    return new Map(found.map(([key, record]) => [key.slice(kind.length + 1), record]))
  }

  #tellView(): void {
    if (this.#due.view) return
    this.#due.view = true
    this.#mesh.clock.setTimeout(() => {
      this.#due.view = false
      this.told = this.state
      this.#agent.send({ type: 'view.changed', state: this.state })
      this.#controller.send({ type: 'view.changed', state: this.state })
    }, VIEW_MS)
  }

  #tellGossip(): void {
    if (this.#due.gossip || this.#agent === undefined) return
    this.#due.gossip = true
    this.#mesh.clock.setTimeout(() => {
      this.#due.gossip = false
      this.#agent.send({ type: 'gossip.changed' })
      this.#controller.send({ type: 'gossip.changed' })
    }, GOSSIP_MS)
  }

  #tellPeers(): void {
    this.#agent.send({ type: 'peers.changed', alive: this.alive })
    this.#controller.send({ type: 'peers.changed' })
  }

  async #onEnd(subject: string): Promise<void> {
    if (this.engine.running().includes(subject)) this.#mesh.options.onEnd(this, subject)
  }

  readonly #chance = (): number =>
    (this.#random = (this.#random * 16_807) % 2_147_483_647) / 2_147_483_647

  #createController(): ControllerMachine {
    let seen: ControllerWorld | null = null
    return createController({
      readWorld: () => (seen = this.#world()),
      appendPlan: async (plan: LeaderPlan, term: number) => {
        if (seen !== null) this.#mesh.options.onPlan(this, plan, seen)
        const at = this.#mesh.clock.now()
        await this.append([
          ...plan.rm.map(({ application, microservice, slot }): Op => ({
            ...{ type: 'placement.rm', application, microservice, slot, term, at }
          })),
          ...plan.set.map((set): Op => ({ ...{ type: 'placement.set', term, at }, ...set })),
          ...plan.ends.map(({ failed: _, ...end }): Op => ({
            ...{ type: 'rollout.end', log: [], term, at },
            ...end
          }))
        ])
      },
      claimLease: (term) =>
        this.append([{ type: 'lease.claim', term, at: this.#mesh.clock.now() }]),
      reportPlan: () => undefined,
      reportFailure: (error) => this.#mesh.failures.push(`${this.name}: ${String(error)}`),
      now: this.#mesh.clock.now,
      random: this.#chance
    })
  }

  #world(): ControllerWorld {
    const { state, alive } = this
    const bodies = <K extends Kind>(kind: K) =>
      new Map([...this.#all(kind)].map(([id, { body }]) => [id, body as GossipBodies[K]]))
    return {
      self: this.id,
      state,
      alive,
      status: bodies('status'),
      silentMs: this.#observer.silent(state.nodes.keys(), alive),
      facts: bodies('facts'),
      // Nothing here has files.
      holds: new Map(),
      uptimeRank: new Map(),
      settledMs: this.settledMs,
      // Nobody has been there for long enough to confirm the order beside the first.
      aliveMs: new Map(),
      merging: false,
      stableMs: Infinity
    }
  }

  #agentComponents(): AgentComponents {
    const mesh = this.#mesh
    return {
      self: this.id,
      openEngine: () => Promise.resolve(this.engine),
      filesDir: () => Promise.reject(new Error('nothing here has files')),
      resolver: () => Promise.resolve(null),
      serviceEnv: () => Promise.resolve({}),
      drained: () => Promise.resolve(),
      asksRuns: (node, key, placement) => {
        const other = mesh.byId(node)
        return mesh.ask(this, other, () => other.runs(key, placement))
      },
      readStatus: () =>
        new Map([...this.#all('status')].map(([id, { body }]) => [id, body as StatusBody])),
      publishStatus: (body) => this.#publish('status', body),
      reportEngine: () => undefined,
      reportImages: () => undefined,
      store: {
        load: () => Promise.resolve(this.#saved),
        save: async (memory) => void (this.#saved = memory)
      },
      now: mesh.clock.now,
      boot: 'one',
      wallNow: mesh.clock.now,
      random: this.#chance,
      log: {
        info: () => undefined,
        warn: () => undefined,
        error: (fields, message) =>
          mesh.failures.push(`${this.name}: ${message} ${JSON.stringify(fields)}`)
      }
    }
  }
}

const FACTS: FactsBody = facts()

const isMovable = (key: string): boolean => keptOf(key).kind === 'web'

const refuseIf = (isSo: boolean): Promise<void> =>
  isSo ? Promise.reject(new Error('it cannot')) : Promise.resolve()
