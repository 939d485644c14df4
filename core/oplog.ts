/**
 * The oplog: a multi-writer Autobase whose entries are ops, and the view they make. The only door
 * to autobase, and to the view's Hyperbee.
 *
 * Effects come from reading the view on `update`, never from apply calls: those repeat.
 *
 * INVARIANT: no op forks anybody's base but its author's, and that only while `recover` waits for
 * it. Autobase's fork is for ever once applied, also where the order later says otherwise, and breaks
 * the store of a node that lacks blocks: as an effect of an op it would poison nodes, and two forks
 * that meet would never become one. Others go over by `moveTo`, outside apply, as often as needed.
 */
import { EventEmitter } from 'node:events'
import Autobase, { type ApplyNode, type Host, type Writer } from 'autobase'
import Hyperbee, { type Batch } from 'hyperbee'
import type Hypercore from 'hypercore'
import type { Duplex } from 'node:stream'
import ProtomuxWakeup from 'protomux-wakeup'
import { Announcer } from './announce.ts'
import { fromId, toId, type KeyPair } from './crypto.ts'
import { syncBeforeTelling } from './durable.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import { NO_FORK, type Fork } from './fork.ts'
import type { Logger } from './logger.ts'
import './fewer-reads.ts'
import './one-write.ts'
import { acksAfterMerges, lackingIn, waitsForWhatPeersHave } from './merge.ts'
import { ACK_MS, lingerOpen, paceAcks, restBetweenLooks } from './pace.ts'
import './preload.ts'
import { encodeOp, MAX_OP_BYTES, operations, type Op, type Operations } from './state/index.ts'
import type { Indexers, ViewBatch, ViewReader } from './state/apply.ts'
import { keys } from './state/keys.ts'
import type { NodeRecord, State } from './state/state.ts'
import type { OpId } from './state/records.ts'
import type { Store } from './store.ts'
import {
  fetchNewest,
  fetchSystem,
  holdWhole,
  isWhole,
  land,
  mend,
  type Landing
} from './system-core.ts'
import { ViewTracker } from './view-tracker.ts'
import { writerKeyOf } from './writer-key.ts'

export interface OplogOptions {
  store: Store
  /** The base's key; null makes a new base whose first writer is this node. */
  key: Buffer | null
  keyPair: KeyPair
  /** 32 bytes: blocks are encrypted at rest and on the wire. */
  encryptionKey: Buffer
  /** Key of a system core, from the member that let this node in: where an empty store begins. */
  start?: Buffer | null
  /** What this version knows, where that is not `operations()`. */
  operations?: Operations
  log: Logger
}

type View = Hyperbee<unknown>

/** Of the view, or entries: what some fifty ops make of it. */
const MANY_BLOCKS = 256
/** At most this many refused ops are remembered, to log each one once. */
const MAX_REFUSED = 10_000
/** A whole order comes over a slow link in less, or in the next attempt. */
const MOVE_MS = 60_000
const START_MS = 20_000
const NEEDS_BLOCKS_MS = 20_000
/** A base that hangs on a block nobody has does not come to an end. */
const SETTLE_MS = 10_000
const FORKED_MS = 2_000
/** A peer that has a block sends it in less. */
const BLOCK_MS = 5_000
const LOOK_MS = 20
/** What peers confirmed comes and is applied in less. */
const STUCK_MS = 8_000
const FORK_KEY = 'brume/fork'
const FORKING_KEY = 'brume/forking'

/** What `recover` is about to do, kept until it is known to be done. */
interface Forking {
  /** Key of the system core before, z-base-32. */
  from: string
  epoch: number
  reached: number
}

/**
 * Emits `update` when the view changed, `reordered` when ops of others came before ones that were
 * applied already, `writable`, `order` when it stands on another order of ops, and `error` when the
 * base cannot go on.
 */
export class Oplog extends EventEmitter<{
  update: []
  writable: []
  reordered: []
  order: []
  error: [Error]
}> {
  readonly #options: OplogOptions
  readonly #operations: Operations
  readonly #log: Logger
  readonly #refused = new Map<OpId, string>()
  /** Outlives a base that is opened anew, as the links do. */
  readonly #wakeup = new ProtomuxWakeup()
  readonly #announcer = new Announcer()
  readonly #writers = new Map<string, string>()
  #base: Autobase<View>
  #fork = NO_FORK
  #indexers: string[] = []
  /** The format of a view that came by fast-forward, without apply. */
  #format = 0
  /** Set while `recover` waits for its op: whether the base was forked with it. */
  #forking: { done: boolean } | null = null
  /** Ends with the change of base under way; reads and appends wait for it. */
  #moving: Promise<unknown> = Promise.resolve()
  readonly #busy = new Set<Promise<unknown>>()
  #closed = false
  /** Of waiting for peers. */
  readonly #end = new AbortController()
  /** Own blocks when it was held, or opened since. */
  #ownAtHold = 0
  #held: { until: Promise<void>; release(): void; refuse(why: Error): void } | null = null
  readonly #snapshots = new Set<View>()
  /** While peers know more confirmed: how much is here, and since when no more. */
  #behind: { indexedLength: number; since: number } | null = null
  readonly #tracker = new ViewTracker()
  #wasRead = false
  /** What was read last, and of which view. */
  #shown: { state: State; whole: State } | null = null
  #readAt = ''

  constructor(options: OplogOptions) {
    super()
    this.#options = options
    this.#operations = options.operations ?? operations()
    this.#log = options.log
    syncBeforeTelling(options.store, () => this.#base.appending)
    this.#base = this.#create()
  }

  /** From now on nothing of this node is appended: appends wait, reading and replicating goes on. */
  hold(): void {
    if (this.#held !== null) return
    let release = (): void => {}
    let refuse = (_why: Error): void => {}
    const until = new Promise<void>((resolve, reject) => {
      release = resolve
      refuse = reject
    })
    // Told to who appends; most of the time nobody does.
    until.catch(() => {})
    this.#held = { until, release, refuse }
    this.#ownAtHold = this.#ownLength()
  }

  /** While it is held, who appends gets this instead of waiting. */
  refuseAppends(why: Error): void {
    this.#held?.refuse(why)
  }

  release(): void {
    this.#held?.release()
    this.#held = null
    this.#base.ack(true).catch((error: unknown) => this.emit('error', error as Error))
  }

  /**
   * Resolves while nothing holds it.
   *
   * @throws what `refuseAppends` was given.
   */
  async mayAppend(): Promise<void> {
    while (this.#held !== null) await this.#held.until
  }

  get held(): boolean {
    return this.#held !== null
  }

  /**
   * Blocks this node wrote: how many it can append to, and how many it knows of. While the two differ
   * it must not append: Autobase would spin, without a pause in which the missing ones could come, or
   * write where something is already.
   */
  ownLengths(): { here: number; known: number } {
    const known = this.#ownLength()
    // What came from peers while it was held is in the core, and the base does not know of it yet.
    const stale = this.#held !== null && known !== this.#ownAtHold
    return { here: stale ? this.#ownAtHold : this.#base.local.contiguousLength, known }
  }

  /**
   * Resolves once the blocks this node wrote are here again up to `length`, from peers. A peer may
   * know that there were so many and not have them all.
   *
   * @throws Error if no peer in reach gives the next one.
   */
  async regainOwn(length: number): Promise<void> {
    const { local } = this.#base
    const core = this.#options.store.get({ key: local.key })
    try {
      await core.ready()
      if (core.length < length) await core.update({ wait: true })
      if (core.length < length) throw new Error(`no peer in reach has ${length} of its blocks`)
      await downloadAll(core, length)
    } finally {
      await core.close()
    }
    // Autobase goes on where it believed its core to end when it was opened.
    await this.#reopen()
  }

  /** How many blocks of another writer's core are known here; 0 of one that is not. */
  async lengthOf(writer: Buffer): Promise<number> {
    const core = this.#options.store.get({ key: writer, active: false })
    try {
      await core.ready()
      return core.length
    } finally {
      await core.close()
    }
  }

  async ready(): Promise<void> {
    const { start } = this.#options
    if (start) this.#base.pause()
    await this.#base.ready()
    this.#announcer.viewsOf(this.#base)
    this.#ownAtHold = this.#ownLength()
    await this.#loadFork()
    if (start) {
      // Only where there is nothing yet: what is here knows its way.
      if (this.#base.core.length === 0) await this.#landAt(start)
      this.#base.resume()
    }
    await this.#base.update()
    this.#speedUp()
  }

  get key(): Buffer {
    return this.#base.key
  }

  get writable(): boolean {
    return this.#base.writable
  }

  /** Ops that apply refused since this daemon started, with the reason. */
  get refused(): ReadonlyMap<OpId, string> {
    return this.#refused
  }

  /** The newest format this version knows. */
  get knownFormat(): number {
    return this.#operations.format
  }

  /** Which order of ops this node stands on. */
  get fork(): Fork {
    return this.#fork
  }

  /** Key of the system core, and how much of it is confirmed; null for a moment while it is rebuilt. */
  get system(): { key: Buffer; length: number } | null {
    const core = this.#base.system?.core
    return core === undefined ? null : { key: core.key, length: this.#base.signedLength }
  }

  /** View lengths. */
  lengths(): { confirmed: number; tentative: number } {
    const { core } = this.#base.view
    return { confirmed: core.signedLength, tentative: core.length }
  }

  /**
   * Whether much that is known here is not confirmed, or not even applied: with a change of indexers every
   * node would apply it once more.
   */
  get merging(): boolean {
    const { confirmed, tentative } = this.lengths()
    return tentative - confirmed + lackingIn(this.#base) >= MANY_BLOCKS
  }

  /**
   * Appends ops as one batch and gives their ids once this node's own view holds them.
   *
   * @throws BrumeError OP_TOO_LARGE, NOT_A_MEMBER, UPGRADE_NEEDED, OP_REFUSED, OWN_OPS_MISSING.
   */
  async append(ops: Op[]): Promise<OpId[]> {
    if (ops.length === 0) return []
    const blocks = ops.map(encodeOp)
    blocks.forEach((block, i) => {
      if (block.length > MAX_OP_BYTES) throw tooLarge(ops[i], block.length)
    })
    await this.#moving
    const found = this.#foundFormat()
    if (found !== null) throw upgradeNeeded(found, this.knownFormat)
    if (!this.#base.writable) {
      throw new BrumeError(
        'NOT_A_MEMBER',
        'this node may not write: no member has admitted it yet',
        {
          next: 'wait until it has met a member, see `brume status`'
        }
      )
    }
    await this.mayAppend()
    await this.#moving
    const length = await this.#while(this.#base.append(blocks))
    const ids = blocks.map((_, i) => opId(this.#base.local.key, length - blocks.length + 1 + i))
    for (const [i, id] of ids.entries()) {
      const reason = this.#refused.get(id)
      if (reason === undefined) continue
      throw new BrumeError('OP_REFUSED', `${ops[i]?.type} was refused: ${reason}`)
    }
    return ids
  }

  /** The view of one moment, but for what is read on demand; the same object where nothing changed. */
  async read(): Promise<State> {
    await this.#moving
    return this.#while(this.#readView())
  }

  /** Answers from the whole view of one moment: conflicts, history, audit. */
  look<T>(ask: (view: ViewReader) => Promise<T>): Promise<T> {
    return this.#during((view) => ask(viewReader(view)))
  }

  /** Whether a peer has all that this node wrote. */
  get spread(): boolean {
    const { length, peers } = this.#base.local
    return peers.some(({ remoteContiguousLength }) => remoteContiguousLength >= length)
  }

  /** Values under a prefix that ends in `/`, in key order. */
  list<T>(prefix: string): Promise<T[]> {
    return this.#during(async (view) => {
      const found: T[] = []
      for await (const { value } of view.createReadStream(rangeOf(prefix))) found.push(value as T)
      return found
    })
  }

  /** Every record of the view in key order, of one moment: what must be the same on every node. */
  records(): Promise<{ key: string; value: unknown }[]> {
    return this.#during(async (view) => {
      const found: { key: string; value: unknown }[] = []
      for await (const { key, value } of view.createReadStream()) found.push({ key, value })
      return found
    })
  }

  /** How many entries of each writer (z-base-32 of its core's key) are in the order. */
  async order(): Promise<Map<string, number>> {
    const lengths = new Map<string, number>()
    for await (const { key, value } of this.#base.system?.list() ?? []) {
      lengths.set(toId(key), value.length)
    }
    return lengths
  }

  replicate(connection: Duplex): void {
    this.#options.store.replicate(connection)
    this.#wakeup.addStream(connection)
  }

  /**
   * Forks the order: this node alone confirms from here on, and no op is lost. `op` is the record of
   * it. Of one fork at a time.
   *
   * @throws BrumeError RECOVER_NEEDS_BLOCKS (nothing was appended), RECOVER_FAILED, NOT_FORKED (it
   *   may be tried again), and as `append`.
   */
  async recover(op: Extract<Op, { type: 'mesh.recover' }>): Promise<void> {
    await this.#moving
    if (this.#forking !== null) throw recoverFailed('another recovery is under way')
    const base = this.#base
    const forking = { done: false }
    this.#forking = forking
    try {
      if (!(await isWhole(base as never, this.#within(NEEDS_BLOCKS_MS)))) throw needsBlocks()
      // Autobase takes nobody for an indexer who has not written yet.
      if (base.local.length === 0) await base.append(null)
      const from = this.system
      if (from === null) throw recoverFailed('the order is being rebuilt')
      const mark: Forking = { from: toId(from.key), epoch: op.epoch, reached: op.reached.length }
      await base.setUserData(FORKING_KEY, Buffer.from(JSON.stringify(mark)))
      try {
        await this.append([op])
      } catch (error) {
        if (error instanceof BrumeError) throw error
        await this.#reopen()
        throw recoverFailed(sentenceOf(error))
      }
      if (!forking.done) throw recoverFailed('the order changed meanwhile')
      if (!(await this.#standsAlone(from.key))) throw notForked()
      await this.#finishForking()
    } finally {
      this.#forking = null
    }
  }

  /**
   * Goes over to another order: what is in it comes first, what this node had besides it after.
   * False where no peer in reach has all of it; then nothing has changed.
   */
  async moveTo(system: Buffer, fork: Fork): Promise<boolean> {
    await this.#moving
    const { store } = this.#options
    const landing = await fetchSystem(this.#base as never, store, system, this.#within(MOVE_MS))
    if (landing === null || this.#closed || this.#forking !== null) return false
    await this.#reopen(landing)
    await this.#setFork(fork)
    return true
  }

  /**
   * Asks all peers whose ops they have that are not confirmed, and tells those that lag behind what
   * is here. Both were said once; but the store closes a writer's core that was idle for some
   * seconds even while a request of it is under way, and a core that was not whole yet when it grew
   * does not say later that it is.
   */
  ask(): void {
    this.#base.wakeupSession?.broadcastLookup({})
    for (const { core } of this.#base.activeWriters) {
      for (const peer of core.peers) if (peer.remoteLength < core.length) peer.signalUpgrade()
    }
    this.#leapIfStuck()
  }

  /**
   * Peers may know more confirmed and lack the ops that led there: who joined later has none from
   * before. Autobase leaps over them where they are many, and waits for ever for few.
   */
  #leapIfStuck(): void {
    const { core, indexedLength, system, interrupted } = this.#base
    const isBehind = core.peers.some(({ remoteLength }) => remoteLength > indexedLength)
    const mayLeap = system !== null && interrupted === null && this.#held === null
    if (!isBehind || !mayLeap) this.#behind = null
    else if (this.#behind?.indexedLength !== indexedLength) {
      this.#behind = { indexedLength, since: performance.now() }
    } else if (performance.now() - this.#behind.since >= STUCK_MS) {
      this.#behind.since = Infinity
      this.#leap(indexedLength)
        .catch((error: unknown) => {
          if (!this.#closed) this.#log.debug({ error: sentenceOf(error) }, 'leaping ahead failed')
        })
        .finally(() => (this.#behind = null))
    }
  }

  async #leap(from: number): Promise<void> {
    const base = this.#base
    const { store } = this.#options
    // Whole, for the same reason as in `moveTo`.
    const landing = await fetchSystem(base as never, store, base.core.key, this.#within(MOVE_MS))
    if (landing === null || this.#closed || base !== this.#base || this.#forking !== null) return
    if (base.indexedLength !== from) return
    this.#log.info({ from, to: landing.length }, 'leaping over ops that nobody in reach has')
    land(base as never, landing)
    await base.update()
  }

  /** What waits for peers gives up: before those close who wait for it. */
  stopWaiting(): void {
    this.#end.abort()
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#end.signal, AbortSignal.timeout(ms)])
  }

  /** Reads that wait for blocks which nobody may ever send end with an error. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#moving
    await Promise.all([...this.#snapshots].map((snapshot) => snapshot.close()))
    await this.#base.close()
    this.#wakeup.destroy()
  }

  #ownLength(): number {
    const local = this.#base.local as Hypercore | null
    return local?.opened === true ? local.length : 0
  }

  #create(): Autobase<View> {
    const { store, key, encryptionKey, keyPair } = this.#options
    const base = new Autobase<View>(store.session(), key, {
      valueEncoding: 'binary',
      ackInterval: ACK_MS,
      bigBatches: false,
      encryptionKey,
      keyPair,
      wakeup: this.#wakeup,
      open: (views) =>
        new Hyperbee(views.get('view'), {
          extension: false,
          keyEncoding: 'utf-8',
          valueEncoding: 'json'
        }),
      apply: (nodes, view, host) => this.#apply(nodes, view, host),
      close: (view) => view.close()
    })
    void mend(base as never)
    restBetweenLooks(base as never)
    waitsForWhatPeersHave(base)
    base.on('writer', ({ core }: Writer) => {
      lingerOpen(core)
      if (!core.key.equals(base.local.key)) this.#announcer.others(core)
    })
    // An indexer appends by itself, to confirm what others wrote.
    const ack = base.ack.bind(base)
    const isMerged = acksAfterMerges()
    base.ack = (background) =>
      this.#held === null && (background !== true || isMerged(base))
        ? ack(background)
        : Promise.resolve()
    const whileCurrent = (tell: () => void) => () => {
      if (base === this.#base) tell()
    }
    base.on(
      'update',
      // Most of what comes are acknowledgements, which change nothing in the view.
      whileCurrent(() => {
        if (base.interrupted !== null || this.#mark() !== this.#readAt) this.emit('update')
      })
    )
    base.view.core.on(
      'truncate',
      whileCurrent(() => this.emit('reordered'))
    )
    base.on(
      'writable',
      whileCurrent(() => this.emit('writable'))
    )
    base.on(
      'interrupt',
      whileCurrent(() => this.emit('update'))
    )
    // After a fast-forward, and a change of indexers: what is not whole goes on in other cores.
    base.on(
      'reboot',
      whileCurrent(() => {
        this.#announcer.viewsOf(base)
        this.#holdWhole()
        this.emit('order')
      })
    )
    base.on('error', (error: Error) => {
      if (base !== this.#base) return
      if (this.#forking === null) this.emit('error', error)
      else
        this.#log.warn(
          { error: sentenceOf(error) },
          'the fork failed, the oplog is opened as it was'
        )
    })
    return base
  }

  /** Closes the base and opens it again, at the landing where there is one. Links stay. */
  #reopen(landing: Landing | null = null): Promise<void> {
    const done = this.#moving.then(async () => {
      await Promise.race([Promise.allSettled(this.#busy), timeout(SETTLE_MS)])
      const old = this.#base
      await old.close()
      if (this.#closed) return
      const base = this.#create()
      this.#base = base
      base.pause()
      await base.ready()
      this.#announcer.viewsOf(base)
      this.#ownAtHold = this.#ownLength()
      if (landing !== null) land(base as never, landing)
      base.resume()
      await Promise.race([base.update(), timeout(SETTLE_MS)])
      // What no core of the new order names is only known to be here, or at peers, by its writer.
      base.hintWakeup([...this.#writers.values()].map((key) => hint(Buffer.from(key, 'hex'))))
      this.#holdWhole()
      this.#speedUp()
    })
    this.#moving = done.catch(() => {})
    return done.then(() => {
      this.emit('update')
    })
  }

  /**
   * Merges are faster in big batches. A newcomer must not begin with one: the base moves to another
   * core at its first ops, and only from there it leaps over the history.
   */
  #speedUp(): void {
    const base = this.#base
    const isNew = !base.writable && base.view.core.length === 0
    if (isNew) base.once('writable', () => base.setBigBatches(true))
    else base.setBigBatches(true)
  }

  /** Not the whole of it, which takes a second for each thousand ops: the member it joins by has it. */
  async #landAt(start: Buffer): Promise<void> {
    const landing = await fetchNewest(this.#base as never, start, this.#within(START_MS))
    if (landing !== null) land(this.#base as never, landing)
  }

  /** Not before the first read: its blocks come one after another, and would queue behind all others. */
  #holdWhole(): void {
    if (!this.#wasRead) return
    holdWhole(this.#base as never, this.#options.store, (error) => {
      if (!this.#closed) this.#log.debug({ error: sentenceOf(error) }, 'holding the order failed')
    })
  }

  async #loadFork(): Promise<void> {
    const known = await this.#base.getUserData(FORK_KEY)
    if (known !== null) this.#fork = JSON.parse(known.toString()) as Fork
    await this.#finishForking()
  }

  /** Also for a fork that was made just before this node was killed. */
  async #finishForking(): Promise<void> {
    const bytes = await this.#base.getUserData(FORKING_KEY)
    const { system } = this.#base
    if (bytes === null || system === null) return
    const { from, epoch, reached } = JSON.parse(bytes.toString()) as Forking
    const id = toId(system.core.key)
    if (id !== from && this.#isAlone(system)) await this.#setFork({ epoch, reached, id })
    await this.#base.setUserData(FORKING_KEY, null)
  }

  async #setFork(fork: Fork): Promise<void> {
    this.#fork = fork
    await this.#base.setUserData(FORK_KEY, Buffer.from(JSON.stringify(fork)))
    this.#log.info({ ...fork }, 'this node stands on another order of ops')
    this.emit('order')
  }

  /** Another one where a read would show something else. */
  #mark(): string {
    const { view, system } = this.#base
    const indexers = this.#confirming().map((key) => key.toString('hex'))
    return `${view.core.fork}/${view.core.length}/${system === null}/${indexers.join()}`
  }

  /** Keys of the writers that confirm the order, or will. */
  #confirming(): Buffer[] {
    const { system } = this.#base
    return system === null
      ? []
      : [...system.indexers.map(({ key }) => key), ...system.pendingIndexers]
  }

  #readView(): Promise<State> {
    const mark = this.#mark()
    return this.#during(async (view) => {
      const state = await this.#tracker.read(view)
      if (!this.#wasRead) {
        this.#wasRead = true
        this.#holdWhole()
      }
      this.#format = state.format
      paceAcks(this.#base as never, [...state.nodes.values()].filter(isMember).length)
      for (const id of state.nodes.keys()) this.#writerOf(id)
      if (this.#base.system !== null) {
        const writers = new Set(this.#confirming().map((key) => key.toString('hex')))
        const indexers = [...state.nodes.keys()].filter((id) => writers.has(this.#writerOf(id)))
        if (indexers.join() !== this.#indexers.join()) this.#indexers = indexers
      }
      this.#readAt = mark
      return this.#show(state)
    })
  }

  #show(state: State): State {
    const [indexers, fork] = [this.#indexers, this.#fork]
    const shown = this.#shown
    if (shown?.state === state && shown.whole.indexers === indexers && shown.whole.fork === fork) {
      return shown.whole
    }
    const whole = { ...state, indexers, fork }
    this.#shown = { state, whole }
    return whole
  }

  async #during<T>(act: (view: View) => Promise<T>): Promise<T> {
    // A base that is being closed gives a snapshot, and nothing of it.
    await this.#moving
    return this.#while(this.#snapshot(act))
  }

  async #snapshot<T>(act: (view: View) => Promise<T>): Promise<T> {
    const snapshot = this.#base.view.snapshot()
    // It is one already.
    snapshot._sessions = false
    this.#snapshots.add(snapshot)
    try {
      return await act(snapshot)
    } finally {
      this.#snapshots.delete(snapshot)
      await snapshot.close()
    }
  }

  /** Hex. */
  #writerOf(node: string): string {
    const known = this.#writers.get(node)
    if (known !== undefined) return known
    const nodeKey = fromId(node)
    const writer = nodeKey === null ? '' : writerKeyOf(nodeKey).toString('hex')
    if (writer !== '') this.#writers.set(node, writer)
    return writer
  }

  async #while<T>(promise: Promise<T>): Promise<T> {
    this.#busy.add(promise)
    try {
      return await promise
    } finally {
      this.#busy.delete(promise)
    }
  }

  /** A format this version does not know, in words; null where all is well. */
  #foundFormat(): string | null {
    if (this.#base.interrupted !== null) return this.#base.interrupted
    return this.#format > this.knownFormat ? `format ${this.#format}` : null
  }

  /** INVARIANT: throws only what the store throws and `host.interrupt`; no clock, no random. */
  async #apply(nodes: ApplyNode[], view: View, host: Host): Promise<void> {
    const batch = view.batch({ update: false })
    const inBatch = viewBatch(batch)
    const formatNow = async (): Promise<number> => {
      const format = (await inBatch.get<number>(keys.format)) ?? 1
      if (format > this.knownFormat) host.interrupt(`format ${format}`)
      return format
    }
    let format = await formatNow()
    for (const node of nodes) {
      if (node.value === null) continue
      const type = await this.#applyOne(node.value, node, inBatch, host, format)
      if (type === 'format.activate' || type === 'mesh.init') format = await formatNow()
    }
    await batch.flush()
  }

  async #applyOne(
    block: Buffer,
    node: ApplyNode,
    view: ViewBatch,
    host: Host,
    format: number
  ): Promise<Op['type'] | null> {
    const writer = node.from.key
    const authorId = await view.get<string>(keys.writer(writer))
    const author = authorId === null ? null : await view.get<NodeRecord>(keys.node(authorId))
    const op = opId(writer, node.length)
    const decoded = this.#operations.decode(block)
    if (typeof decoded === 'string') {
      this.#refuse(op, decoded)
      return null
    }
    const verdict = await this.#operations.apply(decoded, {
      view,
      meshKey: this.#base.key,
      writer,
      author,
      op,
      format,
      addWriter: (key) => host.addWriter(key, { indexer: false }),
      indexers: this.#indexersOf(host)
    })
    if (verdict !== null) this.#refuse(op, `${decoded.type}: ${verdict}`)
    else if (decoded.type === 'mesh.recover') await this.#forkWith(writer, host)
    return decoded.type
  }

  #indexersOf(host: Host): Indexers {
    return {
      confirming: host.system.indexers.map(({ key }) => key.toString('hex')),
      coming: host.system.pendingIndexers.map((key) => key.toString('hex')),
      add: async (nodeKey) => {
        // Without its manifest Autobase leaves an indexer out of the keys of views, and this node
        // would make other ones than those that have a block of it.
        const manifest = { version: 1, signers: [{ publicKey: nodeKey }] }
        const core = this.#options.store.get({ manifest, active: false })
        await core.ready()
        await core.close()
        await host.addWriter(writerKeyOf(nodeKey), { indexer: true })
      },
      remove: (writer) => host.addWriter(writer, { indexer: false })
    }
  }

  async #forkWith(writer: Buffer, host: Host): Promise<void> {
    const { local, indexedLength } = this.#base
    if (this.#forking === null || this.#forking.done || !writer.equals(local.key)) return
    const { key } = host.system.core
    this.#forking.done = await host.fork([writer], { key, length: indexedLength })
  }

  /**
   * Autobase goes over to a fork after the append that brought it; not if a change of indexers that
   * was under way came first.
   */
  async #standsAlone(from: Buffer): Promise<boolean> {
    const until = performance.now() + FORKED_MS
    for (;;) {
      const { system } = this.#base
      const stands = system !== null && !system.core.key.equals(from) && this.#isAlone(system)
      if (stands || performance.now() > until) return stands
      await timeout(LOOK_MS)
    }
  }

  #isAlone({ indexers }: { indexers: { key: Buffer }[] }): boolean {
    return indexers.length === 1 && indexers[0]?.key.equals(this.#base.local.key) === true
  }

  #refuse(op: OpId, reason: string): void {
    if (this.#refused.has(op)) return
    if (this.#refused.size < MAX_REFUSED) this.#refused.set(op, reason)
    this.#log.warn({ op, reason }, 'an op was refused')
  }
}

async function downloadAll(core: Hypercore, length: number): Promise<void> {
  while (core.contiguousLength < length) {
    const start = core.contiguousLength
    const range = core.download({ start, end: length })
    await Promise.race([range.done(), timeout(BLOCK_MS)])
    range.destroy()
    if (core.contiguousLength === start) {
      throw new Error(`no peer in reach has op ${start + 1} of the ${length} it wrote`)
    }
  }
}

const isMember = ({ state }: NodeRecord): boolean => state === 'member'

const opId = (writer: Buffer, length: number): OpId => `${toId(writer)}.${length}`

const viewBatch = (batch: Batch<unknown>): ViewBatch => ({
  ...viewReader(batch),
  put: (key, value) => batch.put(key, value),
  del: (key) => batch.del(key)
})

function viewReader(of: Pick<Batch<unknown>, 'get' | 'createReadStream'>): ViewReader {
  return {
    async get<T>(key: string) {
      const entry = await of.get(key)
      return entry === null ? null : (entry.value as T)
    },
    async list<T>(prefix: string) {
      const found: { key: string; value: T }[] = []
      for await (const { key, value } of of.createReadStream(rangeOf(prefix))) {
        found.push({ key, value: value as T })
      }
      return found
    }
  }
}

const rangeOf = (prefix: string): { gte: string; lt: string } => ({
  gte: prefix,
  lt: `${prefix.slice(0, -1)}0`
})

const tooLarge = (op: Op | undefined, bytes: number): BrumeError =>
  new BrumeError(
    'OP_TOO_LARGE',
    `${op?.type ?? 'the op'} is ${Math.ceil(bytes / 1024)} KiB, the most is ${MAX_OP_BYTES / 1024} KiB`,
    { next: 'put large values into `files` (a bundle) and leave paths in the record' }
  )

const upgradeNeeded = (found: string, known: number): BrumeError =>
  new BrumeError(
    'UPGRADE_NEEDED',
    `this mesh uses ${found}, this brume knows format ${known}: containers keep running, nothing can be changed from here`,
    { next: 'upgrade brume on this node and start it again' }
  )

const notForked = (): BrumeError =>
  new BrumeError('NOT_FORKED', 'a change of indexers came first', { next: 'brume recover again' })

const needsBlocks = (): BrumeError =>
  new BrumeError(
    'RECOVER_NEEDS_BLOCKS',
    'this node lacks a part of the oplog that nobody in reach has: forked without it, its store would break',
    { next: 'run `brume recover` on a node that has been a member for longer' }
  )

const recoverFailed = (why: string): BrumeError =>
  new BrumeError('RECOVER_FAILED', `the mesh was not recovered: ${why}`, {
    next: 'run `brume recover` again'
  })

const hint = (key: Buffer): { key: Buffer; length: number } => ({ key, length: -1 })

const timeout = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms).unref())
