/**
 * A node's part of the mesh: its oplog and view, its links, gossip, calls and bundles. What the
 * roles and the handlers see of the world below them.
 */
import { EventEmitter } from 'node:events'
import { join } from 'node:path'
import { Bundles } from './bundles.ts'
import { Channel, unreachable } from './channel.ts'
import { bootNow } from './clock.ts'
import { fromId, randomBytes, toId } from './crypto.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'
import { Gossip, REFRESH_MS } from './gossip.ts'
import type { LinksBody } from './gossip-records.ts'
import type { Identity } from './identity.ts'
import { Door } from './door.ts'
import { greet, type Greeting, type JoinSide } from './join.ts'
import type { Refusal } from './judge.ts'
import { Follower } from './follower.ts'
import { KeyRing } from './key-ring.ts'
import { Links, type Link } from './links.ts'
import type { Logger } from './logger.ts'
import { saveMembership, type Membership } from './membership.ts'
import { meshTopic } from './mesh-key.ts'
import { Oplog } from './oplog.ts'
import { aliveNodes, lastHeard, silentMs } from './presence.ts'
import type { Op, Operations } from './state/index.ts'
import { emptyState } from './state/read.ts'
import type { OpId } from './state/records.ts'
import { survey } from './state/recover.ts'
import type { NodeRecord, Role, State } from './state/state.ts'
import type { Store } from './store.ts'
import { Swarm, type Address, type Connections, type SwarmOptions } from './swarm.ts'
import { verifyProof, type Proof } from './proof.ts'

export interface MeshComponents {
  /** Data directory. */
  dir: string
  store: Store
  identity: Identity
  /** The real swarm where this is missing. */
  openSwarm?: (options: SwarmOptions) => Connections
  /** What this version knows, where that is not all of `core/state/index.ts`. */
  operations?: Operations
  log: Logger
}

export const openSwarm = (
  { openSwarm }: Pick<MeshComponents, 'openSwarm'>,
  options: SwarmOptions
): Connections => openSwarm?.(options) ?? new Swarm(options)

/** Whom a newcomer greeted on its way in, and the swarm it met them with. */
export interface MetOnTheWay {
  swarm: Connections
  greetings: Greeting[]
}

/** Uptimes the election ranks by: a minute, an hour, a day, a week. */
const UPTIME_STEPS_MS = [60_000, 3_600_000, 86_400_000, 604_800_000]
/** Links this node lets others make; its own attempts stop earlier (`swarm.ts`). */
const MAX_LINKS = 12
const REACH_MS = 5_000
const ADMIT_MS = 30_000
/** A whole store opens in less. */
const LATE_MS = 3_000
/** Ended links are told of until their node is back, the newest so many of them. */
const MAX_ENDED = 64

/**
 * Emits `view` with the new State when it changed, `gossip` for every new record, `peers` when a
 * link or the set of alive nodes changed.
 */
export class Mesh extends EventEmitter<{
  view: [State]
  gossip: [node: string, kind: string]
  peers: []
  failed: [Error]
}> {
  readonly self: string
  readonly membership: Membership
  readonly oplog: Oplog
  readonly gossip: Gossip
  readonly links: Links
  readonly channel: Channel
  readonly bundles: Bundles
  readonly keyRing: KeyRing
  readonly follower: Follower
  readonly #door: Door
  readonly #components: MeshComponents
  readonly #swarm: Connections
  readonly #session = randomBytes(8).toString('hex')
  readonly #startedAt = bootNow()
  readonly #ended = new Map<string, number>()
  /** Boot ms of the last frame of links that ended. */
  readonly #lastSeen = new Map<string, number>()
  /** Boot ms since which this daemon listens without a gap. */
  #listeningSince = bootNow()
  #state: State = emptyState()
  #refusal: Refusal | null = null
  #reading: Promise<void> | null = null
  /** Reads asked for, and those of them that are answered. */
  #asked = 0
  #answered = 0
  #alive = ''
  readonly #aliveSince = new Map<string, number>()
  #unsettledAt = bootNow()
  #outside = false
  #saysBack = false
  #tick: NodeJS.Timeout | null = null
  #closing = false

  constructor(
    components: MeshComponents,
    membership: Membership,
    met: MetOnTheWay | null,
    knownNodes: Address[] = []
  ) {
    super()
    const { dir, store, identity, log } = components
    this.#components = components
    this.membership = membership
    this.self = identity.id
    const meshKey = Buffer.from(membership.mesh, 'hex')
    const encryptionKey = Buffer.from(membership.encryptionKey, 'hex')
    const { keyPair } = identity
    const start = membership.system === undefined ? null : fromId(membership.system)
    const { operations } = components
    const oplogOptions = { store, key: meshKey, keyPair, encryptionKey, start, log }
    this.oplog = new Oplog(operations ? { ...oplogOptions, operations } : oplogOptions)
    this.links = new Links()
    this.gossip = new Gossip({
      path: join(dir, 'gossip'),
      meshKey,
      keyPair,
      encryptionKey,
      isMember: (id) =>
        this.links.get(id) !== null || this.#state.nodes.get(id)?.state === 'member',
      log
    })
    this.channel = new Channel({
      self: this.self,
      links: this.links,
      roleOf: (node) => roleOf(this.#state, node),
      reach: (node) => this.#reach(node),
      log
    })
    this.follower = new Follower({
      oplog: this.oplog,
      gossip: this.gossip,
      state: () => this.#state,
      log
    })
    this.keyRing = new KeyRing({
      dir,
      identity,
      membership,
      channel: this.channel,
      state: () => this.#state,
      alive: () => this.alive(),
      log
    })
    this.#door = new Door({
      membership,
      state: () => this.#state,
      system: () => {
        const { system } = this.oplog
        return system === null || system.length === 0 ? null : toId(system.key)
      },
      append: (ops) => this.append(ops),
      writable: () => this.#becomesWritable()
    })
    this.bundles = new Bundles({
      store,
      dir: join(dir, 'bundles'),
      encryptionKey,
      log,
      onHeld: () => this.gossip.publish('holds', { digests: [...this.bundles.held].sort() })
    })
    this.#swarm =
      met?.swarm ??
      openSwarm(components, {
        keyPair,
        topic: meshTopic(meshKey),
        bootstrap: [...membership.bootstrap, ...membership.peers],
        knownNodes,
        log
      })
    this.#wire(met)
  }

  /** Opens the store and starts to look for peers; waits for them only where it lacks blocks. */
  async open(): Promise<void> {
    let lacking = false
    // A store that was killed amid a fast-forward opens only with blocks that peers have.
    const late = setTimeout(() => {
      lacking = true
      this.#components.log.warn({}, 'the store lacks blocks of the view: looking for who has them')
      this.#swarm.start()
    }, LATE_MS)
    try {
      await this.gossip.load()
      this.#outside = this.membership.removal !== null
      if (!this.#outside) this.links.start()
      await this.oplog.ready()
      await this.#read()
    } finally {
      clearTimeout(late)
    }
    // Links from before do not wake the oplog up for what their peers have: they are made anew.
    if (lacking) for (const { connection } of this.links.all) connection.destroy()
    if (!this.#outside) this.#swarm.start()
    if (this.#state.mesh === null && this.membership.defaultRole !== undefined) {
      const { defaultRole, paper } = this.membership
      await this.append([
        {
          type: 'mesh.init',
          defaultRole,
          admission: paper,
          format: this.oplog.knownFormat,
          at: Date.now()
        }
      ])
    }
    this.gossip.start()
    this.follower.start()
    this.#tellLinks()
    this.#tick = setInterval(() => this.#onTick(), 1_000)
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#tick !== null) clearInterval(this.#tick)
    await writeWhole(knownNodesPath(this.#components.dir), JSON.stringify(this.#swarm.knownNodes()))
    this.links.stop()
    await this.#swarm.close()
    await this.follower.close()
    await this.#reading
    await this.gossip.close()
    await this.bundles.close()
    await this.oplog.close()
  }

  /** The view as last read; a new object whenever it changed. */
  get state(): State {
    return this.#state
  }

  /** This node's own record; null until its admission reached its view. */
  get me(): NodeRecord | null {
    return this.#state.nodes.get(this.self) ?? null
  }

  /** ms since the set of alive nodes or the order of ops last changed. */
  get settledMs(): number {
    return bootNow() - this.#unsettledAt
  }

  /** Appends ops; resolves with their ids once this node's own state shows them. */
  async append(ops: Op[]): Promise<OpId[]> {
    if (this.#outside) throw removed()
    const ids = await this.oplog.append(ops)
    await this.#read()
    return ids
  }

  /**
   * The survivors go on without the indexers that are lost for good: forks the order here; others
   * follow. Whether it is needed and enough are in reach is its caller's to ask (`survey`).
   *
   * @throws BrumeError RECOVER_NEEDS_BLOCKS, RECOVER_FAILED, and as `append`.
   */
  async recover(): Promise<void> {
    if (this.#outside) throw removed()
    const { epoch, reached, most } = survey(this.#state, this.alive())
    const op = {
      type: 'mesh.recover' as const,
      epoch: Math.max(epoch, this.oplog.fork.epoch + 1),
      reached: reached.map(({ id }) => id),
      minority: !most,
      at: Date.now()
    }
    await this.oplog.recover(op)
    await this.#read()
  }

  /** Nodes that can be reached over links both ends list, this one included. */
  alive(): Set<string> {
    return aliveNodes({
      self: this.self,
      myPeers: new Set(this.links.ids),
      links: this.gossip.all('links'),
      now: bootNow(),
      refreshMs: REFRESH_MS
    })
  }

  /** ms for which each of the alive has been so without a gap, this node since it started. */
  aliveMs(): Map<string, number> {
    const now = bootNow()
    return new Map([...this.#aliveSince].map(([id, since]) => [id, now - since]))
  }

  /** ms of silence of each member that is not alive. */
  silent(alive: ReadonlySet<string>): Map<string, number> {
    return silentMs({
      self: this.self,
      lastFrame: this.#lastFrames(),
      links: this.gossip.all('links'),
      now: bootNow(),
      refreshMs: REFRESH_MS,
      nodes: this.#state.nodes.keys(),
      alive,
      since: this.#listeningSince
    })
  }

  /** Age of each node's last sign of life, in ms; nodes never heard since this daemon started are absent. */
  lastHeardMs(): Map<string, number> {
    const now = bootNow()
    const links = this.gossip.all('links')
    const heard = lastHeard({
      self: this.self,
      lastFrame: this.#lastFrames(),
      links,
      now,
      refreshMs: REFRESH_MS
    })
    return new Map([...heard].map(([id, at]) => [id, Math.max(0, Math.round(now - at))]))
  }

  /** Why peers do not let this node in, as the last of them said; null once one did. */
  get refusal(): Refusal | null {
    return this.#refusal
  }

  #wire(met: MetOnTheWay | null): void {
    const { log } = this.#components
    this.oplog.on('update', () => void this.#read())
    this.oplog.on('reordered', () => (this.#unsettledAt = bootNow()))
    this.oplog.on('error', (error) => this.emit('failed', error))
    this.gossip.on('change', (node, kind) => {
      this.emit('gossip', node, kind)
      if (kind === 'links') this.#checkAlive()
    })
    this.links.on('up', (link) => this.#onUp(link))
    this.links.on('down', (link, silent) => this.#onDown(link, silent))
    this.links.on('gap', () => (this.#listeningSince = bootNow()))
    for (const greeting of met?.greetings ?? []) greeting.enter(this.#side(log))
    this.#swarm.on('connection', (connection) => greet(connection, this.#side(log)))
  }

  #side(log: Logger): JoinSide {
    return {
      inside: true,
      shows: () => ({
        paper: this.membership.paper,
        proof: this.membership.proof,
        wants: !this.oplog.writable
      }),
      judge: (shown) => this.#door.judge(shown),
      admit: (paper) => this.#door.admit(paper),
      onWelcome: () => {},
      onRefused: (refusal, by) => this.#onRefused(refusal, by),
      onPeer: (id, connection) => {
        // A mesh is a connected random graph, not a full one: who comes later finds others.
        const full = this.links.ids.length >= MAX_LINKS && this.links.get(id) === null
        if (full && !connection.isInitiator) connection.destroy()
        else this.links.add(id, connection)
      },
      log
    }
  }

  /** A link to a member the topic did not bring: kept for as long as it lasts. */
  #reach(node: string): Promise<Link> {
    if (this.#state.nodes.get(node)?.state !== 'member') return Promise.reject(unreachable(node))
    this.#swarm.want(node)
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        this.links.off('up', look)
        this.#swarm.unwant(node)
      }
      const timer = setTimeout(() => {
        end()
        reject(unreachable(node))
      }, REACH_MS)
      const look = (link: Link): void => {
        if (link.id !== node) return
        end()
        resolve(link)
      }
      this.links.on('up', look)
    })
  }

  #becomesWritable(): Promise<boolean> {
    if (this.oplog.writable) return Promise.resolve(true)
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.oplog.off('writable', done)
        resolve(this.oplog.writable)
      }
      const timer = setTimeout(done, ADMIT_MS)
      this.oplog.on('writable', done)
    })
  }

  /** A removal is believed if an admin this node knows signed it: no single peer can say so. */
  #onRefused(refusal: Refusal, by: string): void {
    const { log } = this.#components
    this.#refusal = refusal
    log.warn(
      { by, code: refusal.code, message: refusal.message },
      'a peer does not let this node in'
    )
    const { proof } = refusal
    if (proof === undefined || proof.what !== 'removal' || proof.subject !== this.self) return
    const admin = this.#state.nodes.get(proof.by)
    if (admin?.role !== 'admin' || !verifyProof(proof, this.membership.paper.mesh)) return
    void this.#becomeRemoved(proof)
  }

  /** Out of the mesh: asks for nothing more of anybody, and lets the Agent stop what it runs. */
  async #becomeRemoved(proof: Proof | null): Promise<void> {
    if (this.#outside) return
    this.#outside = true
    const { dir, log } = this.#components
    log.warn({ by: proof?.by }, 'this node was removed from the mesh')
    this.#state = withoutWork(this.#state, this.self)
    this.emit('view', this.#state)
    try {
      if (proof !== null) await saveMembership(dir, { ...this.membership, removal: proof })
      this.links.stop()
      await this.#swarm.close()
    } catch (error) {
      log.error({ error: sentenceOf(error) }, 'the removal could not be written down')
    }
  }

  /** Who is no member (any more) has no link; who was given up and is back says so. */
  #enforce(): void {
    const { me } = this
    if (me?.state === 'removed') void this.#becomeRemoved(me.removal)
    for (const { id, connection } of this.links.all) {
      const state = this.#state.nodes.get(id)?.state
      if (state === 'removed' || state === 'pending') connection.destroy()
    }
    if (me?.lost === true && this.links.ids.length > 0 && !this.#saysBack) {
      this.#saysBack = true
      this.append([{ type: 'node.set', node: me.id, lost: false, over: me.op, at: Date.now() }])
        .catch((error: unknown) =>
          this.#components.log.warn(
            { error: sentenceOf(error) },
            'it could not say that it is back'
          )
        )
        .finally(() => (this.#saysBack = false))
    }
  }

  #onUp(link: Link): void {
    this.#refusal = null
    this.#ended.delete(link.id)
    this.oplog.replicate(link.connection)
    this.gossip.attach(link.id, link.mux)
    this.follower.onPeer()
    this.#tellLinks()
    this.#checkAlive()
    this.emit('peers')
  }

  #onDown(link: Link, silentMs: number): void {
    if (this.#closing) return
    this.#ended.set(link.id, Math.round(silentMs))
    const oldest = this.#ended.keys().next().value
    if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#ended.delete(oldest)
    this.#lastSeen.set(link.id, link.heardAt)
    this.#tellLinks()
    this.#checkAlive()
    this.emit('peers')
  }

  #lastFrames(): Map<string, number> {
    const frames = new Map(this.#lastSeen)
    for (const { id, heardAt } of this.links.all) frames.set(id, heardAt)
    return frames
  }

  #tellLinks(): void {
    const uptime = bootNow() - this.#startedAt
    const body: LinksBody = {
      peers: this.links.ids.sort(),
      ended: [...this.#ended].map(([peer, silentMs]) => ({ peer, silentMs })),
      uptimeRank: UPTIME_STEPS_MS.filter((step) => uptime >= step).length,
      session: this.#session
    }
    this.gossip.publish('links', body)
  }

  #onTick(): void {
    this.#tellLinks()
    this.#checkAlive()
  }

  #checkAlive(): void {
    const alive = this.alive()
    const seen = [...alive].sort().join(' ')
    if (seen === this.#alive) return
    this.#alive = seen
    const now = bootNow()
    for (const id of this.#aliveSince.keys()) if (!alive.has(id)) this.#aliveSince.delete(id)
    for (const id of alive) if (!this.#aliveSince.has(id)) this.#aliveSince.set(id, now)
    this.#unsettledAt = bootNow()
    const members = [...this.#state.nodes.values()].filter(({ state }) => state === 'member')
    this.#swarm.setMissing(members.some(({ id }) => !alive.has(id)))
    this.emit('peers')
  }

  /** Resolves once `state` comes from a read that began after this call. Calls share reads. */
  async #read(): Promise<void> {
    const mine = ++this.#asked
    while (this.#answered < mine && !this.#closing) {
      this.#reading ??= this.#readOnce().finally(() => (this.#reading = null))
      await this.#reading
    }
  }

  async #readOnce(): Promise<void> {
    const upTo = this.#asked
    try {
      const known = this.#state.nodes.size
      const state = await this.oplog.read()
      this.#state = this.#outside ? withoutWork(state, this.self) : state
      await this.keyRing.onView(this.#state)
      this.#enforce()
      if (this.#state.nodes.size > known) this.gossip.ask()
      this.follower.look()
      this.emit('view', this.#state)
    } catch (error) {
      if (this.#closing) return
      this.#components.log.error({ error: sentenceOf(error) }, 'the view could not be read')
    } finally {
      this.#answered = upTo
    }
  }
}

/** What a node that is no member any more goes by: nothing is asked of it. */
const withoutWork = (state: State, self: string): State => {
  const me = state.nodes.get(self)
  const nodes = new Map(state.nodes)
  if (me !== undefined) nodes.set(self, { ...me, state: 'removed' })
  return {
    ...state,
    nodes,
    applications: new Map(),
    microservices: new Map(),
    placements: new Map()
  }
}

const roleOf = ({ nodes }: State, id: string): Role | null => {
  const node = nodes.get(id)
  return node?.state === 'member' ? node.role : null
}

const removed = (): BrumeError =>
  new BrumeError('NODE_REMOVED', 'this node was removed from the mesh', {
    next: '`brume leave --purge` cleans up; it may join again as a new node then'
  })

const knownNodesPath = (dir: string): string => join(dir, 'dht-nodes.json')

/** DHT nodes of the last run; none where the file is missing or damaged. */
export async function loadKnownNodes(dir: string): Promise<Address[]> {
  const bytes = await readIfThere(knownNodesPath(dir))
  try {
    return bytes === null ? [] : (JSON.parse(bytes.toString()) as Address[])
  } catch {
    return []
  }
}
