/**
 * Gossip: one signed record a node and kind, the newest wins. What changed is flooded to the
 * neighbours at once, large bodies as a digest for them to pull; what was only refreshed goes as a
 * digest with the next second's; two peers that meet exchange what the other lacks. Kept on disk,
 * encrypted, so that the last known status outlives a restart. Never in the oplog.
 */
import { EventEmitter } from 'node:events'
import type Protomux from 'protomux'
import { jittered } from './backoff.ts'
import { Budget } from './budget.ts'
import { bootNow } from './clock.ts'
import { fromId, hash, sign, toId, verify, type KeyPair } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import { GossipBook, type Entry } from './gossip-book.ts'
import { loadGossip, saveGossip } from './gossip-file.ts'
import { GossipPeer } from './gossip-peer.ts'
import { gossipShapes, type GossipBodies, type GossipKind } from './gossip-records.ts'
import {
  bodyHash,
  MARK_BYTES,
  MAX_SEQ,
  PREFIX_BYTES,
  type Digest,
  type Digests,
  type Refreshed,
  type Want,
  type Wire
} from './gossip-wire.ts'
import type { Logger } from './logger.ts'
import { delayed, throttle, type Throttled, type Timers } from './throttle.ts'

export interface GossipRecord<K extends GossipKind> {
  body: GossipBodies[K]
  seq: number
  receivedAt: number
}

export interface GossipOptions {
  /** Where records are kept. */
  path: string
  meshKey: Buffer
  keyPair: KeyPair
  encryptionKey: Buffer
  /** Records of others than members are not taken, not forwarded. */
  isMember(node: string): boolean
  /** ms since each node's last sign of life, to be kept on disk. */
  heardMs?(): ReadonlyMap<string, number>
  /** Boot and wall ms; the machine's own where missing. */
  now?: () => number
  wallNow?: () => number
  timers?: Timers
  log: Logger
}

/** Every `links` record is signed anew this often, so that a dead node's last one grows old. */
export const REFRESH_MS = 60_000

const MAX_BODY_BYTES = 256 * 1024
/** Larger bodies are not sent to neighbours who may have them by now: those are told, and ask. */
const FLOOD_BYTES = 1024
const TICK_MS = 1_000
/** News that come close together go to a neighbour in one message, and not to who told meanwhile. */
const FLOOD_MS = 20
/**
 * News of others go on to so many neighbours at once; those who have not told of them themselves a
 * moment later hear that there are any, and ask. All would get each from all of theirs else.
 */
const EAGER_PEERS = 4
const LAZY_MS = 250
/** Of what one author may have carried on here. */
const AUTHOR_RECORDS = { perSecond: 20, burst: 80 }
const AUTHOR_BYTES = { perSecond: 256 * 1024, burst: 1024 * 1024 }
/** Then another of those who have it is asked. */
const ANSWER_MS = 2_000
/** For what a lost message or a full budget left open. */
const VECTOR_MS = 600_000
const BEHIND_MS = 2_000
const SAVE_MS = 2_000
/** For what was only refreshed: the disk must not work for a mesh that does nothing. */
const SAVE_REFRESHED_MS = 600_000
/** Records of authors who are not members here yet: their admission may be on its way. */
const MAX_WAITING = 128
const MAX_WAITING_BYTES = 256 * 1024
const MAX_WAITING_MS = 60_000
/** Of a clock that is set to beyond the year 6000 nothing is believed: numbers must not run out. */
const MAX_WALL_MS = 2 ** 47
const MAX_ASKED = 10_000
const MAX_TOLD = 1_000

interface Asked {
  at: number
  /** Others who said that they have it: a peer that does not answer must not keep it from here. */
  others: Set<GossipPeer>
  want: Want
}

/** Emits `change` with node id and kind where a body is new, or its author heard of again. */
export class Gossip extends EventEmitter<{ change: [node: string, kind: string] }> {
  /** Wall ms at which nodes were last heard in earlier runs, by their id. */
  heardBefore: ReadonlyMap<string, number> = new Map()
  readonly #options: GossipOptions
  readonly #self: string
  readonly #now: () => number
  readonly #wallNow: () => number
  readonly #book = new GossipBook()
  readonly #peers = new Map<string, GossipPeer>()
  readonly #authors = new Map<string, { records: Budget; bytes: Budget }>()
  /** News to be flooded, by key. */
  readonly #news = new Map<string, Entry>()
  readonly #flood: Throttled
  /** News of which some neighbours are to be told only, by key. */
  readonly #untold = new Map<string, Entry>()
  readonly #tellLazily: Throttled
  /** Refreshed since the last tick, by key: told to all at once. */
  readonly #refreshed = new Map<string, Entry>()
  readonly #asked = new Map<string, Asked>()
  /** Own records heard with a number beyond mine; gone past at the next tick. */
  readonly #outrun = new Map<string, number>()
  readonly #told = new Set<string>()
  #members: ReadonlySet<string> = new Set()
  #waiting: { wire: Wire; from: string; at: number }[] = []
  #ticks = 0
  #refreshAt: number
  #vectorAt: number
  #timer: NodeJS.Timeout | null = null
  #save: NodeJS.Timeout | null = null
  #saveDue = Infinity
  #saving: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: GossipOptions) {
    super()
    this.#options = options
    this.#now = options.now ?? bootNow
    this.#wallNow = options.wallNow ?? Date.now
    this.#self = toId(options.keyPair.publicKey)
    this.#flood = throttle(() => this.#tellNews(), FLOOD_MS, options.timers)
    this.#tellLazily = delayed(() => this.#tell(this.#untold), LAZY_MS, options.timers)
    this.#refreshAt = this.#now() + jittered(REFRESH_MS)
    this.#vectorAt = this.#now() + jittered(VECTOR_MS)
  }

  async load(): Promise<void> {
    const saved = await loadGossip(this.#options.path, this.#diskKey())
    if (saved === null) return
    if (saved === 'damaged') {
      this.#options.log.warn({ path: this.#options.path }, 'the gossip on disk cannot be read')
      return
    }
    this.heardBefore = saved.heardAt
    for (const wire of saved.records) {
      const entry = this.#checked(wire, -Infinity)
      if (entry === null || !this.#book.hasRoom(entry.node, wire.kind, wire.body.length)) continue
      // What this node said of itself in an earlier run is kept for its number, and not believed.
      this.#book.put(entry, { believe: entry.node !== this.#self })
    }
  }

  /** Whether a member of this id was heard of; what is on disk counts, as long as nobody removed it. */
  knows(node: string): boolean {
    return this.#book.of(node).length > 0
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#flood.end()
    this.#tellLazily.end()
    if (this.#save !== null) {
      clearTimeout(this.#save)
      this.#saving = this.#saving.then(() => this.#write())
    }
    await this.#saving
  }

  get<K extends GossipKind>(node: string, kind: K): GossipRecord<K> | null {
    return (this.#book.believed(kind).get(node) ?? null) as GossipRecord<K> | null
  }

  /** Newest record of every node that sent one of this kind; goes on changing. */
  all<K extends GossipKind>(kind: K): ReadonlyMap<string, GossipRecord<K>> {
    return this.#book.believed(kind) as ReadonlyMap<string, GossipRecord<K>>
  }

  /** Says something about this node. The same body again is not sent. */
  publish<K extends GossipKind>(kind: K, body: GossipBodies[K]): void {
    const bytes = Buffer.from(JSON.stringify(body))
    if (this.#book.believed(kind).get(this.#self)?.wire.body.equals(bytes) === true) return
    this.#sign(kind, bytes, body)
  }

  /** Speaks gossip on a connection to a member until it ends. */
  attach(id: string, mux: Protomux): void {
    const peer = GossipPeer.attach(id, mux, {
      now: this.#now,
      onRecords: (from, list) => this.#onRecords(from, list),
      onRefreshed: (from, list) => this.#onRefreshed(from, list),
      onDigests: (from, message) => this.#onDigests(from, message),
      onWants: (from, list) => this.#onWants(from, list),
      onEnd: (from) => {
        if (this.#peers.get(from.id) === from) this.#peers.delete(from.id)
      }
    })
    if (peer === null) return
    this.#peers.set(id, peer)
    peer.digests(this.#vector())
  }

  /**
   * Who belongs to the mesh now, and who no longer does: the records of these are dropped, those of
   * newcomers taken from where they waited and asked for.
   */
  review(members: ReadonlySet<string>, gone: Iterable<string>): void {
    for (const node of gone) {
      if (node === this.#self) continue
      if (this.#book.of(node).length > 0) this.#saveWithin(SAVE_MS)
      this.#book.forget(node)
      this.#authors.delete(node)
    }
    const newcomers = [...members].filter((id) => !this.#members.has(id) && id !== this.#self)
    this.#members = new Set(members)
    if (newcomers.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const { wire, from } of waiting) this.#onRecord(this.#peers.get(from) ?? null, wire)
    const unheard = newcomers.filter((id) => this.#book.of(id).length === 0)
    const keys = unheard.map((id) => ({ prefix: prefixOfId(id), kind: '', whole: true }))
    // Each that is asked answers in full.
    for (const peer of shuffled([...this.#peers.values()]).slice(0, 2)) peer.wants(keys)
  }

  /** What is due each second: `start` calls it. */
  tick(): void {
    const now = this.#now()
    this.#ticks++
    this.#goPast()
    if (now >= this.#refreshAt) {
      const own = this.#book.believed('links').get(this.#self)
      if (own !== undefined) this.#sign('links', own.wire.body, own.body)
    }
    this.#tell(this.#refreshed)
    this.#askOthers(now)
    const all = now >= this.#vectorAt
    if (all) this.#vectorAt = now + jittered(VECTOR_MS)
    const again = this.#ticks % (BEHIND_MS / TICK_MS) === 0
    for (const peer of this.#peers.values()) {
      if (!all && !(again && peer.behind)) continue
      peer.behind = false
      peer.digests(this.#vector())
    }
  }

  #sign(kind: string, bytes: Buffer, body: unknown): void {
    const old = this.#book.get(this.#self, kind)
    const wall = Math.floor(Math.min(Math.max(this.#wallNow(), 0), MAX_WALL_MS))
    const seq = Math.max((old?.seq ?? 0) + 1, wall)
    if (seq > MAX_SEQ)
      return this.#tellOnce(`numbers/${kind}`, { kind }, 'gossip has no number left')
    const { publicKey, secretKey } = this.#options.keyPair
    const digest = bodyHash(bytes)
    const unsigned = { node: publicKey, kind, seq, body: bytes }
    const wire = { ...unsigned, signature: sign(this.#signable(unsigned, digest), secretKey) }
    const entry = { node: this.#self, seq, body, receivedAt: this.#now(), wire, bodyHash: digest }
    if (kind === 'links') this.#refreshAt = this.#now() + jittered(REFRESH_MS)
    this.#store(entry, null)
  }

  #onRecords(from: GossipPeer, list: Wire[]): void {
    for (const wire of list) this.#onRecord(from, wire)
  }

  #onRecord(from: GossipPeer | null, wire: Wire): void {
    const node = toId(wire.node)
    const known = this.#book.get(node, wire.kind)
    if (!isNews(known, wire.seq, () => bodyHash(wire.body))) return
    if (!this.#options.isMember(node)) return this.#wait(wire, from)
    if (!this.#book.hasRoom(node, wire.kind, wire.body.length)) return
    if (!this.#mayStore(node, wire.body.length)) {
      if (from !== null) from.behind = true
      return
    }
    const entry = this.#checked(wire, this.#now())
    if (entry === null) {
      // A body that only this version cannot read is nobody's fault.
      if (!this.#isSigned(wire, bodyHash(wire.body))) from?.fault()
      const { kind } = wire
      const fields = { node, kind, from: from?.id ?? node }
      return this.#tellOnce(`${node}/${kind}/${fields.from}`, fields, 'a gossip record was refused')
    }
    if (node === this.#self) this.#outrun.set(wire.kind, wire.seq)
    else this.#store(entry, from)
  }

  #onRefreshed(from: GossipPeer, list: Refreshed[]): void {
    const missing: Want[] = []
    for (const { prefix, kind, seq, signature } of list) {
      const node = this.#book.nodeOf(prefix)
      const known = node === null ? null : this.#book.get(node, kind)
      if (known !== null && !isNews(known, seq)) continue
      if (node !== null && !this.#options.isMember(node)) continue
      if (known === null || known.node === this.#self) {
        missing.push({ prefix, kind, whole: true })
        continue
      }
      if (!this.#mayStore(known.node, 0)) {
        from.behind = true
        continue
      }
      const wire = { ...known.wire, seq, signature }
      if (this.#isSigned(wire, known.bodyHash)) {
        this.#store({ ...known, seq, wire, receivedAt: this.#now() }, from)
      } else {
        // Of another body than the one here, or of none.
        missing.push({ prefix, kind, whole: true })
      }
    }
    from.wants(missing)
  }

  #onDigests(from: GossipPeer, { complete, list }: Digests): void {
    if (complete) return this.#giveWhatLacks(from, list)
    const asks: Want[] = []
    for (const { prefix, kind, seq, mark } of list) {
      const node = this.#book.nodeOf(prefix)
      const known = node === null ? null : this.#book.get(node, kind)
      if (known !== null && !isNews(known, seq, () => mark)) {
        if (known.seq === seq && isMarked(known, mark)) from.has.add(keyOf(known.node, kind))
        continue
      }
      const key = `${prefix.toString('hex')}/${kind}`
      const asked = this.#asked.get(key)
      if (asked !== undefined) {
        asked.others.add(from)
        continue
      }
      if (this.#asked.size >= MAX_ASKED) continue
      const whole = known === null || !isMarked(known, mark)
      const want = { prefix, kind, whole }
      this.#asked.set(key, { at: this.#now(), others: new Set(), want })
      asks.push(want)
    }
    from.wants(asks)
  }

  /** What a peer said is all it has: it gets the rest. */
  #giveWhatLacks(peer: GossipPeer, list: Digest[]): void {
    const theirs = new Map(
      list.map((each) => [`${each.prefix.toString('hex')}/${each.kind}`, each])
    )
    const records: Wire[] = []
    const refreshed: Refreshed[] = []
    for (const entry of this.#book.all()) {
      const has = theirs.get(wireKeyOf(entry))
      if (has !== undefined && !isNewer(entry.seq, entry.bodyHash, has.seq, has.mark)) continue
      const same = has !== undefined && isMarked(entry, has.mark)
      if (same && has.seq > 0) refreshed.push(refreshedOf(entry))
      else records.push(entry.wire)
    }
    peer.refreshed(refreshed)
    peer.records(records)
  }

  #onWants(peer: GossipPeer, list: Want[]): void {
    const whole = new Set<Entry>()
    const refreshed = new Set<Entry>()
    for (const want of list) {
      const node = this.#book.nodeOf(want.prefix)
      if (node === null) continue
      for (const entry of this.#book.of(node)) {
        if (want.kind !== '' && entry.wire.kind !== want.kind) continue
        ;(want.whole ? whole : refreshed).add(entry)
      }
    }
    peer.refreshed([...refreshed].map(refreshedOf))
    peer.records([...whole].map(({ wire }) => wire))
  }

  #store(entry: Entry, from: GossipPeer | null): void {
    const { node, wire, receivedAt } = entry
    const key = keyOf(node, wire.kind)
    const old = this.#book.believed(wire.kind).get(node)
    this.#book.put(entry, { believe: true })
    this.#asked.delete(wireKeyOf(entry))
    for (const peer of this.#peers.values()) peer.has.delete(key)
    from?.has.add(key)
    if (old?.bodyHash.equals(entry.bodyHash) === true) {
      this.#refreshed.set(key, entry)
      this.#saveWithin(SAVE_REFRESHED_MS)
      if (receivedAt - old.receivedAt > 2 * REFRESH_MS) this.emit('change', node, wire.kind)
      return
    }
    this.#refreshed.delete(key)
    this.#untold.delete(key)
    this.#news.set(key, entry)
    this.#flood()
    this.#saveWithin(SAVE_MS)
    this.emit('change', node, wire.kind)
  }

  #tellNews(): void {
    const news = [...this.#news]
    this.#news.clear()
    const whole = news
      .filter(([, entry]) => isFlooded(entry))
      .map(([key, entry]) => ({ wire: entry.wire, to: this.#eagerPeers(key, entry) }))
    for (const peer of this.#peers.values()) {
      peer.records(whole.filter(({ to }) => to.has(peer)).map(({ wire }) => wire))
    }
    this.#tell(new Map(news.filter(([, entry]) => !isFlooded(entry))))
  }

  /** Who gets it at once; where that are not all who lack it, the others are told of it later. */
  #eagerPeers(key: string, entry: Entry): Set<GossipPeer> {
    const lacking = [...this.#peers.values()].filter((peer) => !peer.has.has(key))
    const all = entry.node === this.#self || lacking.length <= EAGER_PEERS
    const eager = all ? lacking : shuffled(lacking).slice(0, EAGER_PEERS)
    for (const peer of eager) peer.has.add(key)
    if (!all) {
      this.#untold.set(key, entry)
      this.#tellLazily()
    }
    return new Set(eager)
  }

  /** Neighbours that may not have these are told which there are. */
  #tell(news: Map<string, Entry>): void {
    for (const peer of this.#peers.values()) {
      const lacking = [...news].filter(([key]) => !peer.has.has(key))
      peer.digests({ complete: false, list: lacking.map(([, entry]) => digestOf(entry)) })
    }
    news.clear()
  }

  #askOthers(now: number): void {
    for (const [key, asked] of this.#asked) {
      if (now - asked.at < ANSWER_MS) continue
      const [next] = asked.others
      if (next === undefined) {
        this.#asked.delete(key)
        continue
      }
      asked.others.delete(next)
      asked.at = now
      // Whatever was wrong with the answer, a whole record is right.
      next.wants([{ ...asked.want, whole: true }])
    }
  }

  /** My own words from before a lost disk, or of a copy of this node: at most once a second. */
  #goPast(): void {
    for (const [kind, heard] of this.#outrun) {
      const own = this.#book.believed(kind).get(this.#self)
      if (own === undefined || own.seq > heard) continue
      own.seq = heard
      own.wire.seq = heard
      this.#sign(kind, own.wire.body, own.body)
    }
    this.#outrun.clear()
  }

  #wait(wire: Wire, from: GossipPeer | null): void {
    const now = this.#now()
    this.#waiting = this.#waiting.filter(({ at }) => now - at < MAX_WAITING_MS)
    const bytes = this.#waiting.reduce((sum, each) => sum + each.wire.body.length, 0)
    const full = this.#waiting.length >= MAX_WAITING || bytes + wire.body.length > MAX_WAITING_BYTES
    if (from === null || full) return
    this.#waiting.push({ wire, from: from.id, at: now })
  }

  #mayStore(node: string, bytes: number): boolean {
    const now = this.#now()
    const budget = this.#authors.get(node) ?? {
      records: new Budget(AUTHOR_RECORDS, now),
      bytes: new Budget(AUTHOR_BYTES, now)
    }
    this.#authors.set(node, budget)
    return budget.records.take(1, now) && budget.bytes.take(bytes, now)
  }

  #checked(wire: Wire, receivedAt: number): Entry | null {
    if (wire.body.length > MAX_BODY_BYTES || !/^[a-z]{1,16}$/.test(wire.kind)) return null
    const digest = bodyHash(wire.body)
    if (!this.#isSigned(wire, digest)) return null
    let body: unknown
    try {
      body = JSON.parse(wire.body.toString())
    } catch {
      return null
    }
    const known = Object.hasOwn(gossipShapes, wire.kind)
    if (known && !gossipShapes[wire.kind as GossipKind].check(body)) return null
    return { node: toId(wire.node), seq: wire.seq, body, receivedAt, wire, bodyHash: digest }
  }

  #isSigned(wire: Omit<Wire, 'body'>, digest: Buffer): boolean {
    return verify(wire.signature, this.#signable(wire, digest), wire.node)
  }

  #signable({ node, kind, seq }: Omit<Wire, 'signature' | 'body'>, digest: Buffer): Buffer {
    const head = Buffer.from(`${kind}/${seq}/`)
    return hash('gossip', this.#options.meshKey, node, head, digest)
  }

  #vector(): Digests {
    // What is off the disk is asked for again, as if it were older than all.
    const list = [...this.#book.all()].map((entry) => {
      const doubted = entry.receivedAt === -Infinity && entry.node !== this.#self
      return doubted ? { ...digestOf(entry), seq: 0 } : digestOf(entry)
    })
    return { complete: true, list }
  }

  #tellOnce(what: string, fields: object, sentence: string): void {
    if (this.#told.has(what) || this.#told.size >= MAX_TOLD) return
    this.#told.add(what)
    this.#options.log.warn(fields, sentence)
  }

  #diskKey(): Buffer {
    return hash('gossip at rest', this.#options.encryptionKey)
  }

  #saveWithin(ms: number): void {
    const due = this.#now() + ms
    if (this.#closed || due >= this.#saveDue) return
    if (this.#save !== null) clearTimeout(this.#save)
    this.#saveDue = due
    this.#save = setTimeout(() => {
      this.#save = null
      this.#saveDue = Infinity
      this.#saving = this.#saving.then(() => this.#write())
    }, ms)
  }

  async #write(): Promise<void> {
    const wall = this.#wallNow()
    const heardAt = new Map(this.heardBefore)
    for (const [id, ms] of this.#options.heardMs?.() ?? []) heardAt.set(id, wall - ms)
    for (const id of heardAt.keys()) if (this.#book.of(id).length === 0) heardAt.delete(id)
    const records = [...this.#book.all()].map(({ wire }) => wire)
    try {
      await saveGossip(this.#options.path, this.#diskKey(), { records, heardAt })
    } catch (error) {
      this.#options.log.error({ error: sentenceOf(error) }, 'gossip could not be saved')
    }
  }
}

/**
 * A record off the disk is also news when it comes as it is: somebody carries it on.
 *
 * @param digest Hash of its body or the beginning of it; missing where only the number is known.
 */
const isNews = (known: Entry | null, seq: number, digest?: () => Buffer): boolean => {
  if (known === null || seq > known.seq) return true
  if (seq < known.seq) return false
  if (known.receivedAt === -Infinity) return true
  return digest !== undefined && isNewer(seq, digest(), known.seq, known.bodyHash)
}

/**
 * The higher number is newer. One number for two bodies is what is left where an author lost the end
 * of its disk: all keep the same one of the two, and so the author hears of it and goes past both.
 */
function isNewer(seq: number, digest: Buffer, than: number, thanDigest: Buffer): boolean {
  if (seq !== than) return seq > than
  return Buffer.compare(markOf(digest), markOf(thanDigest)) > 0
}

const isFlooded = ({ wire }: Entry): boolean =>
  wire.kind === 'links' || wire.body.length <= FLOOD_BYTES

const isMarked = ({ bodyHash: digest }: Entry, mark: Buffer): boolean => markOf(digest).equals(mark)

const markOf = (digest: Buffer): Buffer => digest.subarray(0, MARK_BYTES)

const keyOf = (node: string, kind: string): string => `${node}/${kind}`
const prefixOfKey = (key: Buffer): Buffer => key.subarray(0, PREFIX_BYTES)
const wireKeyOf = ({ wire }: Entry): string =>
  `${wire.node.toString('hex', 0, PREFIX_BYTES)}/${wire.kind}`

const digestOf = ({ wire, seq, bodyHash: digest }: Entry): Digest => ({
  prefix: prefixOfKey(wire.node),
  kind: wire.kind,
  seq,
  mark: markOf(digest)
})

const refreshedOf = ({ wire, seq }: Entry): Refreshed => ({
  prefix: prefixOfKey(wire.node),
  kind: wire.kind,
  seq,
  signature: wire.signature
})

function shuffled<T>(list: T[]): T[] {
  return list
    .map((value): [number, T] => [Math.random(), value])
    .sort(([a], [b]) => a - b)
    .map(([, value]) => value)
}

const prefixOfId = (id: string): Buffer => prefixOfKey(fromId(id) ?? Buffer.alloc(PREFIX_BYTES))
