/**
 * Gossip: one signed record a node and kind, the newest wins. New records are flooded to the
 * neighbours; two peers that meet exchange what the other lacks by version vector. Kept on disk,
 * encrypted, so that the last known status outlives a restart. Never in the oplog.
 */
import { EventEmitter } from 'node:events'
import type Protomux from 'protomux'
import { bootNow } from './clock.ts'
import { hash, seal, sign, toId, unseal, verify, type KeyPair } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'
import { gossipShapes, type GossipBodies, type GossipKind } from './gossip-records.ts'
import { decodeWires, encodeWires, vectors, wires, type Vector, type Wire } from './gossip-wire.ts'
import type { Logger } from './logger.ts'

interface Known {
  wire: Wire
  body: unknown
  /** Boot ms by this node's own clock; -Infinity for what was read from disk. */
  receivedAt: number
}

export interface GossipRecord<K extends GossipKind> {
  body: GossipBodies[K]
  receivedAt: number
}

export interface GossipOptions {
  /** Where records are kept. */
  path: string
  meshKey: Buffer
  keyPair: KeyPair
  encryptionKey: Buffer
  /** Records of others than members are dropped, not forwarded. */
  isMember(node: string): boolean
  log: Logger
}

const MAX_BODY_BYTES = 256 * 1024
/** Kinds of later versions are carried on, but no author gets more than this. */
const MAX_KINDS = 16
/** Records a second one author may send through this node; a burst of four seconds is let through. */
const MAX_RATE = 20
const SAVE_MS = 2_000
/** Every record is signed anew this often, so that others know its author by more than an old paper. */
export const REFRESH_MS = 60_000

/** Emits `change` with node id and kind, for own and foreign records. */
export class Gossip extends EventEmitter<{ change: [node: string, kind: string] }> {
  readonly #options: GossipOptions
  readonly #self: string
  readonly #records = new Map<string, Known>()
  readonly #peers = new Map<string, { send(records: Wire[]): void; greet(): void }>()
  readonly #budgets = new Map<string, { tokens: number; at: number }>()
  #save: NodeJS.Timeout | null = null
  #refresh: NodeJS.Timeout | null = null
  #saving: Promise<void> = Promise.resolve()

  constructor(options: GossipOptions) {
    super()
    this.#options = options
    this.#self = toId(options.keyPair.publicKey)
  }

  async load(): Promise<void> {
    const sealed = await readIfThere(this.#options.path)
    if (sealed === null) return
    const plain = unseal(sealed, this.#diskKey())
    if (plain === null) {
      this.#options.log.warn({ path: this.#options.path }, 'the gossip on disk cannot be read')
      return
    }
    for (const wire of decodeWires(plain)) {
      const body = this.#checked(wire)
      if (body === undefined) continue
      this.#records.set(recordKey(toId(wire.node), wire.kind), {
        wire,
        body,
        receivedAt: -Infinity
      })
    }
  }

  start(): void {
    this.#refresh = setInterval(() => this.#refreshOwn(), REFRESH_MS)
  }

  async close(): Promise<void> {
    if (this.#refresh !== null) clearInterval(this.#refresh)
    if (this.#save !== null) {
      clearTimeout(this.#save)
      this.#save = null
      this.#saving = this.#write()
    }
    await this.#saving
  }

  get<K extends GossipKind>(node: string, kind: K): GossipRecord<K> | null {
    const known = this.#records.get(recordKey(node, kind))
    if (known === undefined || this.#isOutdated(node, known)) return null
    return known as unknown as GossipRecord<K>
  }

  /** Newest record of every node that sent one of this kind. */
  all<K extends GossipKind>(kind: K): Map<string, GossipRecord<K>> {
    const found = new Map<string, GossipRecord<K>>()
    for (const [key, known] of this.#records) {
      const [node, of] = key.split('/')
      if (of === kind && node !== undefined && !this.#isOutdated(node, known)) {
        found.set(node, known as unknown as GossipRecord<K>)
      }
    }
    return found
  }

  /** Says something about this node. The same body again is not sent. */
  publish<K extends GossipKind>(kind: K, body: GossipBodies[K]): void {
    const bytes = Buffer.from(JSON.stringify(body))
    const old = this.#records.get(recordKey(this.#self, kind))
    if (old?.receivedAt !== -Infinity && old?.wire.body.equals(bytes) === true) return
    this.#publish(kind, bytes, body)
  }

  /** Speaks gossip on a connection to a member until it ends. */
  attach(id: string, mux: Protomux): void {
    const channel = mux.createChannel({
      protocol: 'brume/gossip/1',
      onclose: () => {
        if (this.#peers.get(id) === peer) this.#peers.delete(id)
      }
    })
    if (channel === null) return
    const records = channel.addMessage<Wire[]>({
      encoding: wires,
      onmessage: (news) => this.#onRecords(id, news)
    })
    const vector = channel.addMessage<Vector>({
      encoding: vectors,
      onmessage: (theirs) => {
        const news = this.#newerThan(theirs)
        if (news.length > 0) records.send(news)
      }
    })
    const peer = {
      send: (news: Wire[]) => {
        if (!channel.closed) records.send(news)
      },
      greet: () => {
        if (!channel.closed) vector.send(this.#vector())
      }
    }
    this.#peers.set(id, peer)
    channel.open()
    peer.greet()
  }

  /** Asks all neighbours for what is missing here: after new members became known. */
  ask(): void {
    for (const peer of this.#peers.values()) peer.greet()
  }

  /** What this node said of itself in an earlier run is kept for its number, and not believed. */
  #isOutdated(node: string, { receivedAt }: Known): boolean {
    return node === this.#self && receivedAt === -Infinity
  }

  #publish(kind: GossipKind, bytes: Buffer, body: unknown): void {
    const old = this.#records.get(recordKey(this.#self, kind))
    const seq = Math.max((old?.wire.seq ?? 0) + 1, Date.now())
    const { publicKey, secretKey } = this.#options.keyPair
    const unsigned = { node: publicKey, kind, seq, body: bytes }
    const wire = { ...unsigned, signature: sign(this.#signable(unsigned), secretKey) }
    this.#store(wire, body, null)
  }

  #refreshOwn(): void {
    for (const kind of ['links', 'facts', 'status', 'holds', 'net'] as const) {
      const own = this.#records.get(recordKey(this.#self, kind))
      if (own !== undefined && own.receivedAt !== -Infinity) {
        this.#publish(kind, own.wire.body, own.body)
      }
    }
    this.ask()
  }

  #onRecords(from: string, news: Wire[]): void {
    for (const wire of news) {
      const node = toId(wire.node)
      const key = recordKey(node, wire.kind)
      const known = this.#records.get(key)
      if (known !== undefined && known.wire.seq >= wire.seq) continue
      if (!this.#options.isMember(node) || !this.#mayStore(node, wire.kind)) continue
      const body = this.#checked(wire)
      if (body === undefined) {
        this.#options.log.warn({ node, kind: wire.kind, from }, 'a gossip record was refused')
        continue
      }
      if (node === this.#self) {
        // My own words from before a lost disk: go on past them.
        if (known !== undefined) this.#outrun(wire, known)
        continue
      }
      this.#store(wire, body, from)
    }
  }

  #outrun(heard: Wire, own: Known): void {
    own.wire = { ...own.wire, seq: heard.seq }
    this.#publish(heard.kind as GossipKind, own.wire.body, own.body)
  }

  #store(wire: Wire, body: unknown, from: string | null): void {
    const node = toId(wire.node)
    this.#records.set(recordKey(node, wire.kind), { wire, body, receivedAt: bootNow() })
    for (const [id, peer] of this.#peers) if (id !== from) peer.send([wire])
    this.#save ??= setTimeout(() => {
      this.#save = null
      this.#saving = this.#saving.then(() => this.#write())
    }, SAVE_MS)
    this.emit('change', node, wire.kind)
  }

  #mayStore(node: string, kind: string): boolean {
    if (!this.#records.has(recordKey(node, kind))) {
      let kinds = 0
      for (const key of this.#records.keys()) if (key.startsWith(`${node}/`)) kinds++
      if (kinds >= MAX_KINDS) return false
    }
    const now = bootNow()
    const budget = this.#budgets.get(node) ?? { tokens: MAX_RATE * 4, at: now }
    const grown = budget.tokens + ((now - budget.at) / 1000) * MAX_RATE
    const tokens = Math.min(MAX_RATE * 4, grown)
    this.#budgets.set(node, { tokens: Math.max(0, tokens - 1), at: now })
    return tokens >= 1
  }

  #checked(wire: Wire): unknown {
    if (wire.body.length > MAX_BODY_BYTES || !/^[a-z]{1,16}$/.test(wire.kind)) return undefined
    if (!verify(wire.signature, this.#signable(wire), wire.node)) return undefined
    let body: unknown
    try {
      body = JSON.parse(wire.body.toString())
    } catch {
      return undefined
    }
    const known = Object.hasOwn(gossipShapes, wire.kind)
    if (known && !gossipShapes[wire.kind as GossipKind].check(body)) return undefined
    return body
  }

  #signable({ node, kind, seq, body }: Omit<Wire, 'signature'>): Buffer {
    const head = Buffer.from(`${kind}/${seq}/`)
    return hash('gossip', this.#options.meshKey, node, head, body)
  }

  #vector(): Vector {
    return [...this.#records.values()].map(({ wire: { node, kind, seq } }) => ({ node, kind, seq }))
  }

  #newerThan(theirs: Vector): Wire[] {
    const has = new Map(theirs.map(({ node, kind, seq }) => [recordKey(toId(node), kind), seq]))
    const news: Wire[] = []
    for (const [key, { wire }] of this.#records) {
      if ((has.get(key) ?? -1) < wire.seq) news.push(wire)
    }
    return news
  }

  #diskKey(): Buffer {
    return hash('gossip at rest', this.#options.encryptionKey)
  }

  async #write(): Promise<void> {
    const plain = encodeWires([...this.#records.values()].map(({ wire }) => wire))
    try {
      await writeWhole(this.#options.path, seal(plain, this.#diskKey()))
    } catch (error) {
      this.#options.log.error({ error: sentenceOf(error) }, 'gossip could not be saved')
    }
  }
}

const recordKey = (node: string, kind: string): string => `${node}/${kind}`
