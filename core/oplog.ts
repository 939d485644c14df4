/**
 * The oplog: a multi-writer Autobase whose entries are ops, and the view they make. The only door
 * to autobase, and to the view's Hyperbee.
 *
 * Effects come from reading the view on `update`, never from apply calls: those repeat.
 */
import { EventEmitter } from 'node:events'
import Autobase, { type ApplyNode, type Host } from 'autobase'
import Hyperbee, { type Batch } from 'hyperbee'
import type { Duplex } from 'node:stream'
import { toId, type KeyPair } from './crypto.ts'
import { BrumeError } from './errors.ts'
import type { Logger } from './logger.ts'
import { applyOp, decodeOp, encodeOp, MAX_OP_BYTES, type Op } from './state/index.ts'
import type { ViewBatch } from './state/apply.ts'
import { keys } from './state/keys.ts'
import { FORMAT } from './state/mesh.ts'
import { readState } from './state/read.ts'
import type { NodeRecord, State } from './state/state.ts'
import type { OpId } from './state/records.ts'
import type { Store } from './store.ts'

export interface OplogOptions {
  store: Store
  /** The base's key; null makes a new base whose first writer is this node. */
  key: Buffer | null
  keyPair: KeyPair
  /** 32 bytes: blocks are encrypted at rest and on the wire. */
  encryptionKey: Buffer
  log: Logger
}

type View = Hyperbee<unknown>

/** At most this many refused ops are remembered, to log each one once. */
const MAX_REFUSED = 10_000

/**
 * Emits `update` when the view changed, `reordered` when ops of others came before ones that were
 * applied already, `writable`, and `error` when the base cannot go on.
 */
export class Oplog extends EventEmitter<{
  update: []
  writable: []
  reordered: []
  error: [Error]
}> {
  readonly #base: Autobase<View>
  readonly #log: Logger
  readonly #refused = new Map<OpId, string>()
  readonly #snapshots = new Set<View>()

  constructor(options: OplogOptions) {
    super()
    this.#log = options.log
    this.#base = new Autobase<View>(options.store, options.key, {
      valueEncoding: 'binary',
      ackInterval: 1000,
      bigBatches: false,
      encryptionKey: options.encryptionKey,
      keyPair: options.keyPair,
      open: (store) =>
        new Hyperbee(store.get('view'), {
          extension: false,
          keyEncoding: 'utf-8',
          valueEncoding: 'json'
        }),
      apply: (nodes, view, host) => this.#apply(nodes, view, host),
      close: (view) => view.close()
    })
    this.#base.on('update', () => this.emit('update'))
    this.#base.view.core.on('truncate', () => this.emit('reordered'))
    this.#base.on('writable', () => this.emit('writable'))
    this.#base.on('interrupt', () => this.emit('update'))
    this.#base.on('error', (error: Error) => this.emit('error', error))
  }

  async ready(): Promise<void> {
    await this.#base.ready()
    await this.#base.update()
    // Merges are faster in big batches. A newcomer must not begin with one: the base moves to
    // another core at its first ops, and only from there it leaps over the history.
    const isNew = !this.#base.writable && this.#base.view.core.length === 0
    if (isNew) this.#base.once('writable', () => this.#base.setBigBatches(true))
    else this.#base.setBigBatches(true)
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

  /** View lengths. */
  lengths(): { confirmed: number; tentative: number } {
    const { core } = this.#base.view
    return { confirmed: core.signedLength, tentative: core.length }
  }

  /**
   * Appends ops as one batch and gives their ids once this node's own view holds them.
   *
   * @throws BrumeError OP_TOO_LARGE, NOT_A_MEMBER, UPGRADE_NEEDED, OP_REFUSED.
   */
  async append(ops: Op[]): Promise<OpId[]> {
    if (ops.length === 0) return []
    const blocks = ops.map(encodeOp)
    blocks.forEach((block, i) => {
      if (block.length > MAX_OP_BYTES) throw tooLarge(ops[i], block.length)
    })
    if (this.#base.interrupted !== null) throw upgradeNeeded(this.#base.interrupted)
    if (!this.#base.writable) {
      throw new BrumeError(
        'NOT_A_MEMBER',
        'this node may not write: no member has admitted it yet',
        {
          next: 'wait until it has met a member, see `brume status`'
        }
      )
    }
    const length = await this.#base.append(blocks)
    const ids = blocks.map((_, i) => opId(this.#base.local.key, length - blocks.length + 1 + i))
    for (const [i, id] of ids.entries()) {
      const reason = this.#refused.get(id)
      if (reason === undefined) continue
      throw new BrumeError('OP_REFUSED', `${ops[i]?.type} was refused: ${reason}`)
    }
    return ids
  }

  /** The whole view, of one moment. */
  read(): Promise<State> {
    return this.#look((view) => readState(view.createReadStream()))
  }

  /** Whether a peer has all that this node wrote. */
  get spread(): boolean {
    const { length, peers } = this.#base.local
    return peers.some(({ remoteContiguousLength }) => remoteContiguousLength >= length)
  }

  /** Values under a prefix that ends in `/`, in key order. */
  list<T>(prefix: string): Promise<T[]> {
    return this.#look(async (view) => {
      const found: T[] = []
      for await (const { value } of view.createReadStream(rangeOf(prefix))) found.push(value as T)
      return found
    })
  }

  /** Every record of the view in key order, of one moment: what must be the same on every node. */
  records(): Promise<{ key: string; value: unknown }[]> {
    return this.#look(async (view) => {
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
    this.#base.replicate(connection)
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
  }

  /** Reads that wait for blocks which nobody may ever send end with an error. */
  async close(): Promise<void> {
    await Promise.all([...this.#snapshots].map((snapshot) => snapshot.close()))
    await this.#base.close()
  }

  async #look<T>(act: (view: View) => Promise<T>): Promise<T> {
    const snapshot = this.#base.view.snapshot()
    this.#snapshots.add(snapshot)
    try {
      return await act(snapshot)
    } finally {
      this.#snapshots.delete(snapshot)
      await snapshot.close()
    }
  }

  /** INVARIANT: throws only what the store throws and `host.interrupt`; no clock, no random. */
  async #apply(nodes: ApplyNode[], view: View, host: Host): Promise<void> {
    const batch = view.batch({ update: false })
    const inBatch = viewBatch(batch)
    const format = (await inBatch.get<number>(keys.format)) ?? FORMAT
    if (format > FORMAT) host.interrupt(`format ${format}`)
    for (const node of nodes) {
      if (node.value === null) continue
      await this.#applyOne(node.value, node, inBatch, host)
    }
    await batch.flush()
  }

  async #applyOne(block: Buffer, node: ApplyNode, view: ViewBatch, host: Host): Promise<void> {
    const writer = node.from.key
    const authorId = await view.get<string>(keys.writer(writer))
    const author = authorId === null ? null : await view.get<NodeRecord>(keys.node(authorId))
    const op = opId(writer, node.length)
    const decoded = decodeOp(block)
    if (typeof decoded === 'string') return this.#refuse(op, decoded)
    const verdict = await applyOp(decoded, {
      view,
      meshKey: this.#base.key,
      writer,
      author,
      op,
      addWriter: (key) => host.addWriter(key, { indexer: false })
    })
    if (verdict !== null) this.#refuse(op, `${decoded.type}: ${verdict}`)
  }

  #refuse(op: OpId, reason: string): void {
    if (this.#refused.has(op)) return
    if (this.#refused.size < MAX_REFUSED) this.#refused.set(op, reason)
    this.#log.warn({ op, reason }, 'an op was refused')
  }
}

const opId = (writer: Buffer, length: number): OpId => `${toId(writer)}.${length}`

function viewBatch(batch: Batch<unknown>): ViewBatch {
  return {
    async get<T>(key: string) {
      const entry = await batch.get(key)
      return entry === null ? null : (entry.value as T)
    },
    put: (key, value) => batch.put(key, value),
    del: (key) => batch.del(key),
    async list<T>(prefix: string) {
      const found: { key: string; value: T }[] = []
      for await (const { key, value } of batch.createReadStream(rangeOf(prefix))) {
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

const upgradeNeeded = (found: string): BrumeError =>
  new BrumeError(
    'UPGRADE_NEEDED',
    `this mesh uses ${found}, this brume knows format ${FORMAT}: containers keep running, nothing can be changed from here`,
    { next: 'upgrade brume on this node and start it again' }
  )
