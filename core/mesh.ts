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
import { takesLink } from './dialer.ts'
import { mustHaveRoom } from './disk.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'
import { Gossip, REFRESH_MS } from './gossip.ts'
import { MAX_HOLDS_TOLD, type LinksBody } from './gossip-records.ts'
import type { Identity } from './identity.ts'
import { newInvite, type InviteTerms } from './invite.ts'
import { Door } from './door.ts'
import { greet, type Greeting, type JoinSide } from './join.ts'
import type { Refusal } from './judge.ts'
import { Follower } from './follower.ts'
import { KeyRing } from './key-ring.ts'
import { Links, type Link } from './links.ts'
import type { Logger } from './logger.ts'
import { saveMembership, type Membership } from './membership.ts'
import { meshTopic } from './mesh-key.ts'
import { networkRows, worldOf, type NetworkInput, type NetworkRow } from './network.ts'
import { Oplog } from './oplog.ts'
import { takeBackFrom, untilOwnEnd, type OwnEnd } from './own-end.ts'
import { beginRun, bootId, endRun, type Run } from './run.ts'
import { Observer } from './observer.ts'
import type { Op, Operations } from './state/index.ts'
import { emptyState } from './state/read.ts'
import type { OpId } from './state/records.ts'
import { survey } from './state/recover.ts'
import type { NodeRecord, Role, State } from './state/state.ts'
import type { Store } from './store.ts'
import { Strangers } from './strangers.ts'
import { Swarm, type Address, type Connections, type SwarmOptions } from './swarm.ts'
import { throttle } from './throttle.ts'
import { Tunnels } from './tunnels.ts'
import type { WideArea } from './tunnel-ways.ts'
import { verifyProof, writeProof, type Proof } from './proof.ts'
import type { InviteSet } from './state/invites.ts'
import { writerKeyOf } from './writer-key.ts'

export interface MeshComponents {
  /** Data directory. */
  dir: string
  store: Store
  identity: Identity
  /** The real swarm where this is missing. */
  openSwarm?: (options: SwarmOptions) => Connections
  /** Of the machine's boot, where a test says it is another. */
  boot?: string
  /** Carry the packets of other members where this node is openly reachable; default true. */
  relay?: boolean
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
const REACH_MS = 5_000
/** The number of the DHT's socket, in TCP; another one where that is taken. */
const DATA_PORT = 49_737
const ADMIT_MS = 30_000
/** A whole store opens in less. */
const LATE_MS = 3_000
/** Seconds between questions for ops that were missed. */
const ASK_TICKS = 10
/** A link to a node that left lasts so long. */
const GOODBYE_MS = 5_000
/** A fork that a change of indexers forestalls is made again. */
const MAX_FORKS = 3
/** A node that loses many at once says so in few records; who meets many has more time. */
const TELL_LINKS_MS = 200
const TELL_NEW_LINKS_MS = 1_000
/** Who is alive is worked out at once, and then not anew for each of many records. */
const CHECK_MS = 200

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
  /** null where the links are simulated. */
  readonly tunnels: Tunnels | null
  readonly keyRing: KeyRing
  readonly follower: Follower
  readonly #door: Door
  /** Names the boot of this machine that boot ms are of. */
  readonly boot: string
  readonly #components: MeshComponents
  readonly #swarm: Connections
  readonly #session = randomBytes(8).toString('hex')
  readonly #startedAt = bootNow()
  readonly #observer: Observer
  readonly #strangers = new Strangers()
  /** Who is a member and who no longer, as gossip was told. */
  #reviewed = ''
  #run: Run = { last: 'ended', era: '' }
  #state: State = emptyState()
  /** As the oplog gave it, once all has followed it. */
  #readState: State | null = null
  /** The oplog says nothing of what it believes to be read: the next tick tries again. */
  #readFailed = false
  #refusal: Refusal | null = null
  #reading: Promise<void> | null = null
  /** Reads asked for, and those of them that are answered. */
  #asked = 0
  #answered = 0
  readonly #aliveSince = new Map<string, number>()
  #unsettledAt = bootNow()
  #outside = false
  #saysBack = false
  #tick: NodeJS.Timeout | null = null
  #ticks = 0
  #closing = false
  readonly #ending = new AbortController()
  readonly #tellLinks = throttle(() => this.#publishLinks(), TELL_LINKS_MS)
  readonly #tellNewLinks = throttle(() => this.#publishLinks(), TELL_NEW_LINKS_MS)
  readonly #checkSoon = throttle(() => this.#checkAlive(), CHECK_MS)
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
    this.boot = components.boot ?? bootId()
    this.#joins = met !== null
    this.membership = membership
    this.self = identity.id
    const meshKey = Buffer.from(membership.mesh, 'hex')
    const encryptionKey = Buffer.from(membership.encryptionKey, 'hex')
    const { keyPair } = identity
    const start = membership.system === undefined ? null : fromId(membership.system)
    const { operations } = components
    const oplogOptions = { store, key: meshKey, keyPair, encryptionKey, start, log }
    this.oplog = new Oplog(operations ? { ...oplogOptions, operations } : oplogOptions)
    // Until it is known how the last run ended.
    this.oplog.hold()
    this.links = new Links()
    this.gossip = new Gossip({
      path: join(dir, 'gossip'),
      meshKey,
      keyPair,
      encryptionKey,
      isMember: (id) =>
        this.links.get(id) !== null || this.#state.nodes.get(id)?.state === 'member',
      heardMs: () => this.lastHeardMs(),
      log
    })
    this.#observer = new Observer({
      self: this.self,
      links: () => this.links.all,
      records: () => this.gossip.all('links'),
      refreshMs: REFRESH_MS,
      now: bootNow
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
      remembers: (node) => this.gossip.knows(node),
      system: () => {
        const { system } = this.oplog
        return system === null || system.length === 0 ? null : toId(system.key)
      },
      append: (ops) => this.append(ops),
      writable: () => this.#becomesWritable(),
      removal: (node) =>
        this.me?.role === 'admin'
          ? writeProof(identity, membership.paper.mesh, 'removal', node)
          : null
    })
    this.bundles = new Bundles({
      store,
      dir: join(dir, 'bundles'),
      encryptionKey,
      era: () => this.#run.era,
      log,
      onHeld: () => this.#tellHolds()
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
    const wide = this.#swarm
    this.tunnels = !isWideArea(wide)
      ? null
      : new Tunnels({
          keyPair,
          wide,
          isMember: (id) => this.#state.nodes.get(id)?.state === 'member',
          said: () => this.gossip.all('tunnel'),
          saidNet: (id) => this.gossip.get(id, 'net')?.body ?? null,
          log
        })
    this.#wire(met)
  }

  /** Opens the store and starts to look for peers; waits for them only where it lacks blocks. */
  async open(): Promise<void> {
    this.#run = await beginRun(this.#components.dir, this.boot)
    await this.gossip.load()
    this.#outside = this.membership.removal !== null
    if (!this.#outside) this.links.start()
    const lacking = await this.#readFirst()
    this.#lookAround()
    // Links from before do not wake the oplog up for what their peers have: they are made anew. Who
    // joins has just made them, and is only slow.
    if (lacking && !this.#joins) for (const { connection } of this.links.all) connection.destroy()
    if (!this.#outside) this.#swarm.start()
    this.#release()
    if (this.#state.mesh === null && this.membership.defaultRole !== undefined) await this.#begin()
    this.gossip.start()
    this.follower.start()
    this.#tellLinks()
    await this.bundles.recall()
    if (this.bundles.held.size > 0 || this.gossip.get(this.self, 'holds')) this.#tellHolds()
    const reachability = this.#swarm.reachability?.() ?? null
    if (reachability !== null) this.gossip.publish('net', reachability)
    await this.#openTunnels()
    this.#tick = setInterval(() => this.#onTick(), 1_000)
  }

  #tellHolds(): void {
    const digests = [...this.bundles.held].sort().slice(0, MAX_HOLDS_TOLD)
    this.gossip.publish('holds', { digests })
  }

  async #openTunnels(): Promise<void> {
    if (this.tunnels === null || this.#outside) return
    this.gossip.publish('tunnel', await this.tunnels.listen(DATA_PORT))
  }

  /** The first op of a mesh. */
  async #begin(): Promise<void> {
    await this.oplog.mayAppend()
    await this.#read()
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
  }

  /**
   * A store that was killed amid a fast-forward opens only with blocks that peers have. Who was
   * removed gets none, and goes on without. True if it had to wait.
   */
  async #readFirst(): Promise<boolean> {
    let late: NodeJS.Timeout | null = null
    const waiting = new Promise<'late'>((resolve) => {
      late = setTimeout(() => resolve('late'), LATE_MS)
    })
    const reading = this.oplog.ready().then(() => this.#read())
    const { log } = this.#components
    try {
      if ((await Promise.race([waiting, reading])) !== 'late') return false
      if (this.#outside) {
        log.warn(
          {},
          'the store lacks blocks of the view, and no member gives them to who was removed'
        )
        reading.catch((error: unknown) => log.debug({ error: sentenceOf(error) }, 'it ended'))
        return true
      }
      log.warn({}, 'the store lacks blocks of the view: looking for who has them')
      this.#swarm.start()
      await reading
      return true
    } finally {
      if (late !== null) clearTimeout(late)
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#ending.abort()
    if (this.#tick !== null) clearInterval(this.#tick)
    // Of use at the next start, and no more: on a full disk the rest has to close as well.
    await this.#gently(
      writeWhole(knownNodesPath(this.#components.dir), JSON.stringify(this.#swarm.knownNodes()))
    )
    this.links.stop()
    await this.#swarm.close()
    // Nothing comes in any more that would ask for them again.
    this.#tellLinks.end()
    this.#tellNewLinks.end()
    this.#checkSoon.end()
    this.oplog.stopWaiting()
    await this.tunnels?.close()
    await this.follower.close()
    await this.gossip.close()
    await this.bundles.close()
    await this.oplog.close()
    await this.#reading
    await this.#gently(endRun(this.#components.dir, this.#run))
  }

  async #gently(writing: Promise<void>): Promise<void> {
    try {
      await writing
    } catch (error) {
      this.#components.log.warn(
        { error: sentenceOf(error) },
        'a file could not be written at the end'
      )
    }
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
    await mustHaveRoom(this.#components.dir)
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
    for (let tries = 1; ; tries++) {
      try {
        await this.#recover()
        return
      } catch (error) {
        const again = error instanceof BrumeError && error.code === 'NOT_FORKED'
        if (!again || tries === MAX_FORKS) throw error
        this.#components.log.warn({ tries }, 'a change of indexers came before the fork')
      }
    }
  }

  async #recover(): Promise<void> {
    if (this.#outside) throw removed()
    const { epoch, reached, most } = survey(this.#state, this.alive())
    const op = {
      type: 'mesh.recover' as const,
      epoch: Math.max(epoch, this.oplog.fork.epoch + 1),
      reached: reached.map(({ id }) => id),
      minority: !most,
      at: Date.now()
    }
    try {
      await this.oplog.recover(op)
    } finally {
      await this.#read()
    }
  }

  /** Nodes that can be reached over links both ends list, this one included. */
  alive(): Set<string> {
    return this.#observer.alive()
  }

  /** ms for which each of the alive has been so without a gap, this node since it started. */
  aliveMs(): Map<string, number> {
    const now = bootNow()
    return new Map([...this.#aliveSince].map(([id, since]) => [id, now - since]))
  }

  /** ms of silence of each member that is not alive. */
  silent(alive: ReadonlySet<string>): Map<string, number> {
    return this.#observer.silent(this.#state.nodes.keys(), alive)
  }

  /**
   * Age of each node's last sign of life, in ms; of those not heard in this run by the wall clock,
   * from what was kept on disk. Nodes never heard are absent.
   */
  lastHeardMs(): Map<string, number> {
    const ages = new Map<string, number>()
    for (const [id, wallMs] of this.gossip.heardBefore) {
      const age = Date.now() - wallMs
      // A clock that was set back since cannot tell.
      if (age >= 0) ages.set(id, Math.round(age))
    }
    for (const [id, age] of this.#observer.lastHeardMs()) ages.set(id, age)
    return ages
  }

  /** Every member, and the way this node has to it. */
  network(): NetworkRow[] {
    return networkRows({
      ...this.#networkInput(),
      endedAt: this.#observer.lastFrames,
      pathOf: ({ connection }) =>
        this.#swarm.pathOf?.(connection) ?? { kind: 'direct', relayKey: null, address: '' },
      dialOf: (id) => this.#swarm.dialOf?.(id) ?? null,
      tunnels: this.tunnels?.report() ?? []
    })
  }

  /** An invite and its op, by this node as its admin. */
  invite(terms: InviteTerms): { op: InviteSet; text: string } {
    return newInvite(this.#components.identity, this.membership, terms)
  }

  /** The op that removes a node, and with it the mesh key unless `keepKey`. */
  removal(node: string, keepKey: boolean): Op[] {
    const { identity } = this.#components
    const proof = writeProof(identity, this.membership.paper.mesh, 'removal', node)
    const at = Date.now()
    const over = this.#state.nodes.get(node)?.op ?? null
    if (keepKey) return [{ type: 'node.rm', node, proof, over, at }]
    const { rotation, seals } = this.keyRing.rotation(node)
    return [{ type: 'node.rm', node, proof, rotation, over, at }, ...seals]
  }

  /** Why peers do not let this node in, as the last of them said; null once one did. */
  get refusal(): Refusal | null {
    return this.#refusal
  }

  /** Lets this node append: at once, unless a power cut may have taken the end of what it wrote. */
  #release(): void {
    const { mesh, nodes } = this.#state
    const alone = mesh !== null && nodes.size === 1
    const { here, known } = this.oplog.ownLengths()
    const whole = here === known && (this.#run.last !== 'cut' || alone)
    const end = this.#ownEnd()
    if (whole || this.#outside) {
      if (!alone && !this.#outside) this.#askLater(end)
      return this.oplog.release()
    }
    untilOwnEnd(end, this.#ending.signal)
      .then((how) => {
        if (how === 'alone') this.#askLater(end)
      })
      .catch((error: unknown) => this.emit('failed', error as Error))
      .finally(() => this.oplog.release())
  }

  /**
   * Until somebody was asked, who comes may still know more: a snapshot of earlier need not tell of a
   * power cut. Once this node has appended it is too late.
   */
  #askLater(end: OwnEnd): void {
    const { known } = end.lengths()
    const look = ({ id }: Link): void => {
      if (end.lengths().known !== known) return void this.links.off('up', look)
      this.oplog.hold()
      takeBackFrom(id, end, this.#ending.signal)
        .then(() => this.links.off('up', look))
        .catch((error: unknown) => end.log.debug({ error: sentenceOf(error) }, 'nothing was said'))
        .finally(() => this.oplog.release())
    }
    this.links.on('up', look)
  }

  #ownEnd(): OwnEnd {
    return {
      lengths: () => this.oplog.ownLengths(),
      regain: async (length) => {
        await this.oplog.regainOwn(length)
        // A base that was opened anew hears nothing of peers it was not there to greet.
        for (const { connection } of this.links.all) connection.destroy()
      },
      refuse: (why) => this.oplog.refuseAppends(why),
      peers: () => this.links.ids,
      ask: async (node) =>
        (await this.channel.ask<{ length: number }>(node, 'own-length', null)).length,
      onLink: (look) => {
        this.links.on('up', look)
        return () => this.links.off('up', look)
      },
      log: this.#components.log
    }
  }

  #wire(met: MetOnTheWay | null): void {
    const { log } = this.#components
    this.oplog.on('update', () => void this.#read())
    this.oplog.on('order', () => void this.#read())
    this.oplog.on('reordered', () => (this.#unsettledAt = bootNow()))
    this.oplog.on('error', (error) => this.emit('failed', error))
    this.gossip.on('change', (node, kind) => {
      this.emit('gossip', node, kind)
      if (kind === 'links') this.#checkSoon()
    })
    this.links.on('up', (link) => this.#onUp(link))
    this.links.on('down', (link) => this.#onDown(link))
    this.channel.answer('own-length', async (from) => ({
      length: await this.oplog.lengthOf(writerKeyOf(fromId(from) ?? Buffer.alloc(32)))
    }))
    this.links.on('gap', () => this.#observer.onGap())
    for (const greeting of met?.greetings ?? []) greeting.enter(this.#side(log))
    this.#swarm.on('connection', (connection) => greet(connection, this.#side(log)))
    this.#swarm.on('reachability', (body) => this.gossip.publish('net', body))
    this.#swarm.on('spare', (id) => this.links.get(id)?.connection.destroy())
  }

  #networkInput(): NetworkInput {
    const bodies = <T>(records: ReadonlyMap<string, { body: T }>): Map<string, T> =>
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
  async #becomeRemoved(proof: Proof): Promise<void> {
    if (this.#outside) return
    this.#outside = true
    const { dir, log } = this.#components
    log.warn({ by: proof.by }, 'this node was removed from the mesh')
    this.#state = withoutWork(this.#state, this.self)
    this.emit('view', this.#state)
    try {
      await saveMembership(dir, { ...this.membership, removal: proof })
      this.links.stop()
      await this.tunnels?.close()
      await this.#swarm.close()
    } catch (error) {
      log.error({ error: sentenceOf(error) }, 'the removal could not be written down')
    }
  }

  /** Who is no member (any more) has no link; who was given up and is back says so. */
  #enforce(): void {
    const { me } = this
    if (me?.state === 'removed' && me.removal !== null) void this.#becomeRemoved(me.removal)
    for (const { id, connection } of this.links.all) {
      const node = this.#state.nodes.get(id)
      if (node === undefined || node.state === 'member') continue
      // One that left learns by the link that its word is here.
      const left = node.state === 'removed' && node.removal === null
      if (left) setTimeout(() => connection.destroy(), GOODBYE_MS).unref()
      else connection.destroy()
    }
    // Who has left says nothing more: each time it was refused, the view would change and it would say it again.
    const isGivenUp = me?.state === 'member' && me.lost
    if (isGivenUp && this.links.ids.length > 0 && !this.#saysBack) {
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
    this.oplog.replicate(link.connection)
    this.gossip.attach(link.id, link.mux)
    this.follower.onPeer()
    this.#tellNewLinks()
    this.#checkAlive()
    this.#lookAround()
    this.emit('peers')
  }

  #onDown(link: Link): void {
    if (this.#closing) return
    this.#observer.onLinkEnded(link.id, link.heardAt)
    // What was asked of it is asked of others.
    this.oplog.ask()
    this.#checkAlive()
    this.#tellLinks()
    this.emit('peers')
  }

  #publishLinks(): void {
    const now = bootNow()
    const uptime = now - this.#startedAt
    const body: LinksBody = {
      peers: this.links.ids.sort(),
      ended: this.#observer.ended(),
      answers: this.#observer.answers(),
      uptimeRank: UPTIME_STEPS_MS.filter((step) => uptime >= step).length,
      session: this.#session
    }
    this.gossip.publish('links', body)
  }

  #onTick(): void {
    if (++this.#ticks % ASK_TICKS === 0) this.oplog.ask()
    // Who does not find itself in its view is no judge of others.
    if (this.me !== null) {
      const overdue = this.#strangers.overdue(this.links.all, this.#state.nodes, bootNow())
      for (const { connection } of overdue) connection.destroy()
    }
    if (this.#readFailed) void this.#read()
    this.#enforce()
    this.#checkAlive()
    this.#tellNewLinks()
    this.#lookAround()
  }

  #checkAlive(): void {
    if (!this.#observer.look()) return
    const alive = this.alive()
    const now = bootNow()
    for (const id of this.#aliveSince.keys()) if (!alive.has(id)) this.#aliveSince.delete(id)
    for (const id of alive) if (!this.#aliveSince.has(id)) this.#aliveSince.set(id, now)
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
      const state = await this.oplog.read()
      this.#readFailed = false
      if (state === this.#readState) return
      this.#state = this.#outside ? withoutWork(state, this.self) : state
      await this.keyRing.onView(this.#state)
      this.#enforce()
      this.#reviewGossip()
      this.follower.look()
      this.#readState = state
      this.emit('view', this.#state)
    } catch (error) {
      if (this.#closing) return
      this.#readFailed = true
      this.#components.log.error({ error: sentenceOf(error) }, 'the view could not be read')
    } finally {
      this.#answered = upTo
    }
  }

  /** Whom gossip is taken from follows the view. */
  #reviewGossip(): void {
    const nodes = [...this.#state.nodes.values()]
    const seen = nodes.map(({ id, state }) => `${id}/${state}`).join(' ')
    if (seen === this.#reviewed) return
    this.#reviewed = seen
    const members = nodes.filter(({ state }) => state === 'member').map(({ id }) => id)
    const gone = nodes.filter(({ state }) => state === 'removed').map(({ id }) => id)
    this.gossip.review(new Set(members), gone)
    this.tunnels?.review()
  }
}

const isWideArea = (swarm: Connections): swarm is Connections & WideArea =>
  swarm.takeData !== undefined

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
    services: new Map(),
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
