/**
 * A node's part of the mesh: its oplog and view, its links, gossip, calls and bundles. What the
 * roles and the handlers see of the world below them.
 */
import { EventEmitter } from 'node:events'
import { join } from 'node:path'
import { Bundles } from './bundles.ts'
import { Channel, unreachable } from './channel.ts'
import { bootNow } from './clock.ts'
import { randomBytes } from './crypto.ts'
import { takesLink } from './dialer.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'
import { Gossip, REFRESH_MS } from './gossip.ts'
import type { LinksBody } from './gossip-records.ts'
import type { Identity } from './identity.ts'
import { greet, type Greeting, type JoinSide, type Refusal, type Welcome } from './join.ts'
import { Links, type Link } from './links.ts'
import type { Logger } from './logger.ts'
import type { Membership } from './membership.ts'
import { networkRows, worldOf, type NetworkInput, type NetworkRow } from './network.ts'
import { encodeMeshKey, meshTopic } from './mesh-key.ts'
import { Oplog } from './oplog.ts'
import { aliveNodes, lastHeard, silentMs } from './presence.ts'
import type { Op } from './state/index.ts'
import { emptyState } from './state/read.ts'
import type { OpId } from './state/records.ts'
import type { NodeRecord, Role, State } from './state/state.ts'
import type { Store } from './store.ts'
import { Swarm, type Address, type Connections, type SwarmOptions } from './swarm.ts'
import type { Admission } from './admission.ts'

export interface MeshComponents {
  /** Data directory. */
  dir: string
  store: Store
  identity: Identity
  /** The real swarm where this is missing. */
  openSwarm?: (options: SwarmOptions) => Connections
  /** Carry the packets of other members where this node is openly reachable; default true. */
  relay?: boolean
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
const ROLES: Role[] = ['viewer', 'node', 'operator', 'admin']
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
  #reading: Promise<void> | null = null
  /** Reads asked for, and those of them that are answered. */
  #asked = 0
  #answered = 0
  #alive = ''
  #unsettledAt = bootNow()
  #tick: NodeJS.Timeout | null = null
  #closing = false
  readonly #joins: boolean

  constructor(
    components: MeshComponents,
    membership: Membership,
    met: MetOnTheWay | null,
    knownNodes: Address[] = []
  ) {
    super()
    const { dir, store, identity, log } = components
    this.#components = components
    this.#joins = met !== null
    this.membership = membership
    this.self = identity.id
    const meshKey = Buffer.from(membership.mesh, 'hex')
    const encryptionKey = Buffer.from(membership.encryptionKey, 'hex')
    const { keyPair } = identity
    this.oplog = new Oplog({ store, key: meshKey, keyPair, encryptionKey, log })
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
      reach: (node) => this.#reach(node),
      log
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
        bootstrap: membership.bootstrap,
        peers: membership.peers,
        knownNodes,
        relay: components.relay ?? true,
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
      this.links.start()
      await this.oplog.ready()
      await this.#read()
      this.#lookAround()
    } finally {
      clearTimeout(late)
    }
    // Links from before do not wake the oplog up for what their peers have: they are made anew. Who
    // joins has just made them, and is only slow.
    if (lacking && !this.#joins) for (const { connection } of this.links.all) connection.destroy()
    this.#swarm.start()
    if (this.#state.mesh === null && this.membership.defaultRole !== undefined) {
      const { defaultRole, paper } = this.membership
      await this.append([{ type: 'mesh.init', defaultRole, admission: paper, at: Date.now() }])
    }
    this.gossip.start()
    this.#tellLinks()
    const reachability = this.#swarm.reachability?.() ?? null
    if (reachability !== null) this.gossip.publish('net', reachability)
    this.#tick = setInterval(() => this.#onTick(), 1_000)
  }

  async close(): Promise<void> {
    this.#closing = true
    if (this.#tick !== null) clearInterval(this.#tick)
    await writeWhole(knownNodesPath(this.#components.dir), JSON.stringify(this.#swarm.knownNodes()))
    this.links.stop()
    await this.#swarm.close()
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
    const ids = await this.oplog.append(ops)
    await this.#read()
    return ids
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

  /** Every member, and the way this node has to it. */
  network(): NetworkRow[] {
    return networkRows({
      ...this.#networkInput(),
      endedAt: this.#lastSeen,
      pathOf: ({ connection }) =>
        this.#swarm.pathOf?.(connection) ?? { kind: 'direct', relayKey: null, address: '' },
      dialOf: (id) => this.#swarm.dialOf?.(id) ?? null
    })
  }

  /** The mesh key. @throws BrumeError FORBIDDEN where the role may not show it. */
  key(): string {
    const { mesh } = this.#state
    const role = this.me?.role ?? 'viewer'
    if (mesh !== null && ROLES.indexOf(role) < ROLES.indexOf(mesh.defaultRole)) {
      throw new BrumeError(
        'FORBIDDEN',
        `this node is a ${role}: only a node that is at least ${mesh.defaultRole} may show the mesh key`,
        { next: 'run `brume key` on an admin node' }
      )
    }
    return encodeMeshKey({
      meshId: Buffer.from(this.membership.mesh, 'hex'),
      joinSecret: Buffer.from(this.membership.joinSecret, 'hex'),
      keyEpoch: this.membership.keyEpoch,
      bootstrap: this.membership.bootstrap
    })
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
    this.#swarm.on('reachability', (body) => this.gossip.publish('net', body))
    this.#swarm.on('spare', (id) => this.links.get(id)?.connection.destroy())
  }

  #networkInput(): NetworkInput {
    const bodies = <T>(records: Map<string, { body: T }>): Map<string, T> =>
      new Map([...records].map(([id, { body }]) => [id, body]))
    return {
      self: this.self,
      now: bootNow(),
      nodes: this.#state.nodes,
      alive: this.alive(),
      saidLinks: bodies(this.gossip.all('links')),
      saidNet: bodies(this.gossip.all('net')),
      links: this.links.all
    }
  }

  /** Tells the swarm whom there is to dial. */
  #lookAround(): void {
    this.#swarm.see?.(worldOf(this.#networkInput()))
  }

  #side(log: Logger): JoinSide {
    return {
      inside: true,
      paper: () => this.membership.paper,
      wants: () => !this.oplog.writable,
      judge: (paper) => this.#judge(paper),
      admit: (paper) => this.#admit(paper),
      onWelcome: () => {},
      onRefused: ({ message }) => log.warn({ message }, 'a peer does not let this node in'),
      onPeer: (id, connection) => {
        // A mesh is a connected random graph, not a full one: who comes later finds others.
        const { members } = worldOf(this.#networkInput())
        const known = new Map(
          [...members].map(([node, { alive, peers }]) => [node, { alive, degree: peers.length }])
        )
        const seen = { self: this.self, members: known, links: new Set(this.links.ids) }
        if (!connection.isInitiator && !takesLink(id, seen)) connection.destroy()
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

  #judge(paper: Admission): Refusal | null {
    const known = this.#state.nodes.get(paper.node)
    if (known?.state === 'removed') {
      return { code: 'NODE_REMOVED', message: 'this node was removed from the mesh' }
    }
    if (known?.state === 'member') return null
    const mine = this.#state.mesh ?? this.membership.paper
    const epoch = this.#state.mesh?.keyEpoch ?? this.membership.keyEpoch
    if (paper.mesh !== this.membership.paper.mesh || paper.joinPublicKey !== mine.joinPublicKey) {
      return { code: 'JOIN_REFUSED', message: 'the mesh key is not the key of this mesh' }
    }
    if (paper.epoch !== epoch) {
      return { code: 'JOIN_REFUSED', message: 'the mesh key is an old one, it was changed since' }
    }
    return null
  }

  async #admit(paper: Admission): Promise<Welcome | null> {
    if (!this.#state.nodes.has(paper.node)) {
      // A newcomer itself a moment ago: its own admission may still be on its way here.
      if (!this.oplog.writable && !(await this.#becomesWritable())) return null
      await this.append([{ type: 'node.admit', admission: paper, at: Date.now() }])
    }
    return { encryptionKey: this.membership.encryptionKey }
  }

  #becomesWritable(): Promise<boolean> {
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

  #onUp(link: Link): void {
    this.#ended.delete(link.id)
    this.oplog.replicate(link.connection)
    this.gossip.attach(link.id, link.mux)
    this.#tellLinks()
    this.#checkAlive()
    this.#lookAround()
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
    this.#lookAround()
  }

  #checkAlive(): void {
    const alive = this.alive()
    const seen = [...alive].sort().join(' ')
    if (seen === this.#alive) return
    this.#alive = seen
    this.#unsettledAt = bootNow()
    const members = [...this.#state.nodes.values()].filter(({ state }) => state === 'member')
    this.#swarm.setMissing(members.some(({ id }) => !alive.has(id)))
    this.#lookAround()
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
      this.#state = await this.oplog.read()
      if (this.#state.nodes.size > known) this.gossip.ask()
      this.emit('view', this.#state)
    } catch (error) {
      if (this.#closing) return
      this.#components.log.error({ error: sentenceOf(error) }, 'the view could not be read')
    } finally {
      this.#answered = upTo
    }
  }
}

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
