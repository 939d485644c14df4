/** What brume uses of the Holepunch packages, which ship no types. Nothing more is declared. */

declare module 'sodium-native' {
  export const crypto_sign_PUBLICKEYBYTES: number
  export const crypto_sign_SECRETKEYBYTES: number
  export const crypto_secretbox_NONCEBYTES: number
  export const crypto_secretbox_MACBYTES: number
  export const crypto_secretbox_KEYBYTES: number
  export function crypto_sign_keypair(publicKey: Buffer, secretKey: Buffer): void
  export function crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void
  export function crypto_sign_detached(out: Buffer, message: Buffer, secretKey: Buffer): void
  export function crypto_sign_verify_detached(
    signature: Buffer,
    message: Buffer,
    publicKey: Buffer
  ): boolean
  export function crypto_generichash(out: Buffer, input: Buffer, key?: Buffer): void
  export function crypto_hash_sha256(out: Buffer, input: Buffer): void
  export function crypto_secretbox_easy(
    out: Buffer,
    message: Buffer,
    nonce: Buffer,
    key: Buffer
  ): void
  export function crypto_secretbox_open_easy(
    out: Buffer,
    cipher: Buffer,
    nonce: Buffer,
    key: Buffer
  ): boolean
  export const crypto_box_PUBLICKEYBYTES: number
  export const crypto_box_SECRETKEYBYTES: number
  export const crypto_box_SEALBYTES: number
  export function crypto_sign_ed25519_pk_to_curve25519(out: Buffer, publicKey: Buffer): void
  export function crypto_sign_ed25519_sk_to_curve25519(out: Buffer, secretKey: Buffer): void
  export function crypto_box_seal(out: Buffer, message: Buffer, publicKey: Buffer): void
  export function crypto_box_seal_open(
    out: Buffer,
    cipher: Buffer,
    publicKey: Buffer,
    secretKey: Buffer
  ): boolean
  export function randombytes_buf(out: Buffer): void
}

declare module 'z32' {
  const z32: { encode(buffer: Buffer): string; decode(text: string): Uint8Array }
  export default z32
}

declare module 'hypercore' {
  import type { EventEmitter } from 'node:events'
  import type { Replicator } from 'hypercore/lib/replicator.js'
  export interface HypercoreManifest {
    version: number
    signers: { publicKey: Buffer }[]
  }
  export default class Hypercore extends EventEmitter {
    truncate(length: number): Promise<void>
    static key(manifest: HypercoreManifest): Buffer
    readonly key: Buffer
    readonly discoveryKey: Buffer
    /** null of one of which only the key is known. `prologue`: what it begins with, of another core. */
    readonly manifest: {
      readonly linked: Buffer[] | null
      readonly prologue: { readonly length: number } | null
    } | null
    readonly length: number
    /** Another one whenever it was cut back. */
    readonly fork: number
    readonly signedLength: number
    /** Blocks from the first on without a gap. */
    readonly contiguousLength: number
    readonly byteLength: number
    readonly opened: boolean
    readonly peers: {
      readonly remoteLength: number
      readonly remoteContiguousLength: number
      /** Tells it how long the core is here, where it can be given what it lacks. */
      signalUpgrade(): void
      /** Whether it said so. */
      _remoteHasBlock(index: number): boolean
    }[]
    /** No public part of it. */
    readonly core: { readonly replicator: Replicator }
    ready(): Promise<void>
    close(): Promise<void>
    append(blocks: Buffer | Buffer[]): Promise<{ length: number }>
    get: (index: number, options?: { timeout?: number; wait?: boolean }) => Promise<Buffer | null>
    has(start: number, end?: number): Promise<boolean>
    // What follows is read by `core/view-tracker.ts`.
    readonly state: {
      /** Of all blocks, as `treeHashFromStorage`. */
      hash(): Buffer
    }
    /** Of the first `length` blocks. @throws where the tree over them is not here */
    static treeHashFromStorage(core: Hypercore, length: number): Promise<Buffer>
    clear(start: number, end?: number): Promise<unknown>
    update(options?: { wait?: boolean }): Promise<boolean>
    download: (range: { start?: number; end?: number; blocks?: number[] }) => {
      done(): Promise<boolean>
      destroy(): void
    }
  }
}

/** Of the bitfields of a core and its peers. */
declare module 'hypercore/lib/compat.js' {
  export interface ChunkIndex {
    /** Pages of the bitfield, by their offset in bytes. */
    readonly chunks: { field: Uint32Array; offset: number }[]
    update(bit: number): boolean
    /** The first bit from `position` on that may be another than `value`, or the last down from it. */
    skipFirst(value: boolean, position: number): number
    skipLast(value: boolean, position: number): number
  }
  export const quickbit: {
    Index: { from(given: Uint8Array | ChunkIndex['chunks'], byteLength?: number): unknown }
  }
}

declare module 'hypercore/lib/remote-bitfield.js' {
  export default class RemoteBitfield {
    get(index: number): boolean
    set(index: number, value: boolean): void
    setRange(start: number, end: number, value: boolean): void
    /** From a multiple of 32 on. */
    insert(start: number, bits: Uint32Array): boolean
    findFirst(value: boolean, position: number): number
    findLast(value: boolean, position: number): number
  }
}

declare module 'hypercore/lib/replicator.js' {
  import type Protomux from 'protomux'
  export interface SyncMessage {
    fork: number
    length: number
  }
  export interface RangeMessage {
    drop: boolean
    start: number
    length: number
  }
  export interface Peer {
    readonly core: { readonly state: { readonly fork: number; readonly length: number } }
    readonly remoteFork: number
    readonly remoteLength: number
    /** Whether it has said how long the core is at its end. */
    readonly remoteSynced: boolean
    readonly protomux: Protomux
    onsync: (message: SyncMessage) => Promise<void>
    ondata: (message: unknown) => Promise<void>
    wireSync: { send(message: SyncMessage): boolean }
    wireRange: { send(message: RangeMessage): boolean }
  }
  export interface Replicator {
    readonly peers: Peer[]
    _addPeer: (peer: Peer) => void
    /** ms after which a core that nobody waits for is closed towards peers. */
    _notDownloadingLinger: number
  }
}

declare module 'hypercore/lib/core.js' {
  export default class Core {
    /** Whether what is known of lengths is to be written down. */
    hintsChanged: boolean
    updateRemoteContiguousLength: (this: Core, length: number) => void
  }
}

declare module 'hypercore/lib/merkle-tree.js' {
  /** The state of a core's session. */
  export interface MerkleSession {
    storage: { read(): { hasTreeNode(index: number): Promise<boolean>; tryFlush(): void } }
  }
  export const MerkleTree: {
    /** How many nodes of the tree over `length` blocks are not here, from `index` up to one that is. */
    missingNodes(session: MerkleSession, index: number, length: number): Promise<number>
    /** Whether a proof can be made for a peer that has `length` blocks. */
    upgradeable(session: MerkleSession, length: number): Promise<boolean>
  }
}

declare module 'hypercore-storage' {
  export default class CorestoreStorage {
    /** Bytes. */
    constructor(path: string, options?: { writeBufferSize?: number })
  }
}

declare module 'hypercore-storage/lib/tx.js' {
  /** Questions to the store that are asked in one. */
  export class CoreRX {
    /** Those for the disk. */
    readonly read: { readonly _operations: readonly object[] }
    tryFlush: (this: CoreRX) => void
    destroy(): void
  }
}

declare module 'corestore' {
  import type { Duplex } from 'node:stream'
  import type CorestoreStorage from 'hypercore-storage'
  import type Hypercore from 'hypercore'
  import type Rache from 'rache'
  export interface StoreWrite {
    tryPut(key: Buffer, value: Buffer): void
    tryDelete(key: Buffer): void
    tryDeleteRange(start: Buffer, end: Buffer): void
    flush(): Promise<void>
  }
  export interface Atom {
    db: { write(options?: Record<string, unknown>): StoreWrite }
  }
  export default class Corestore {
    readonly globalCache: Rache
    constructor(storage: string | CorestoreStorage, options?: Record<string, unknown>)
    ready(): Promise<void>
    close(): Promise<void>
    get(options: {
      name?: string
      key?: Buffer
      discoveryKey?: Buffer
      manifest?: { version: number; signers: { publicKey: Buffer }[] }
      encryption?: { key: Buffer }
      active?: boolean
    }): Hypercore
    namespace(name: string): Corestore
    /** Discovery keys of all cores. */
    list(): AsyncIterable<Buffer>
    /** Closed apart from the store it is of. */
    session(): Corestore
    replicate(stream: Duplex | boolean): Duplex
    readonly storage: {
      readonly db: { readonly path: string }
      compact(): Promise<void>
      createAtom(): Atom
    }
  }
}

declare module 'hyperbee' {
  import type Hypercore from 'hypercore'
  export interface Entry<V> {
    seq: number
    key: string
    value: V
  }
  export interface BeeCache<T = unknown> {
    /** null where it has none. */
    get(seq: number): T | null
    set(seq: number, value: T): void
    gc(length: number): void
    clear(): void
  }
  /** A block of the tree, decoded; `inflated`: its index too, once that was read. */
  export interface TreeEntry {
    key: Buffer
    value: Buffer | null
    index: Buffer
    inflated: unknown
  }
  /** Of a batch what is no public part of it; see `core/tree-cache.ts`. */
  export interface TreeBatch {
    readonly core: Hypercore
    readonly tree: {
      readonly core: Hypercore
      readonly _keyCache: BeeCache<Buffer> | null
      readonly _nodeCache: BeeCache<TreeEntry> | null
    }
    /** Blocks it has read or put; null of one that reads once. */
    readonly blocks: ReadonlyMap<number, object> | null
    rootSeq: number
    getKey: (this: TreeBatch, seq: number) => Promise<Buffer> | Buffer
    getBlock: (this: TreeBatch, seq: number) => Promise<object> | object
    _getBlock(seq: number): Promise<object>
    _appendBatch(blocks: Buffer | Buffer[]): Promise<void>
    _unlock(): void
  }
  export interface Batch<V> {
    get(key: string): Promise<Entry<V> | null>
    put(key: string, value: V): Promise<void>
    del(key: string): Promise<void>
    createReadStream(range?: { gte?: string; lt?: string }): AsyncIterable<Entry<V>>
    flush(): Promise<void>
    close(): Promise<void>
  }
  export default class Hyperbee<V> {
    constructor(core: Hypercore, options: Record<string, unknown>)
    readonly core: Hypercore
    readonly version: number
    ready(): Promise<void>
    close(): Promise<void>
    get(key: string): Promise<Entry<V> | null>
    batch(options?: { update?: boolean }): Batch<V>
    snapshot(): Hyperbee<V>
    checkout(version: number): Hyperbee<V>
    createReadStream(range?: { gte?: string; lt?: string }): AsyncIterable<Entry<V>>
    /** What this version has (left) that the older one has not or has otherwise (right). */
    /** No public part of it; see `core/view-tracker.ts` and `Oplog`. */
    _keyCache: BeeCache
    _nodeCache: BeeCache
    /** Whether each read makes a snapshot of its own. */
    _sessions: boolean
    checkout(version: number, options: { reuseSession: boolean }): Hyperbee<V>
    createDiffStream(
      version: Hyperbee<V>,
      range?: { gte?: string; lt?: string }
    ): AsyncIterable<{ left: Entry<V> | null; right: Entry<V> | null }>
  }
}

declare module 'hyperbee/lib/messages.js' {
  export const Node: {
    decode(block: Buffer): { key: Buffer; value: Buffer | null; index: Buffer }
  }
}

declare module 'rache' {
  /** A cache that lets go of any of its entries where it is full. */
  export default class Rache {
    constructor(options: { maxSize: number })
    readonly maxSize: number
    /** Entries of it and of all that share its room. */
    readonly globalSize: number
  }
}

declare module 'autobase' {
  import type { EventEmitter } from 'node:events'
  import type { Duplex } from 'node:stream'
  import type Corestore from 'corestore'
  import type Hypercore from 'hypercore'
  import type ProtomuxWakeup from 'protomux-wakeup'
  export interface ApplyNode {
    value: Buffer | null
    from: Hypercore
    length: number
  }
  export interface System {
    readonly core: Hypercore
    readonly indexers: { key: Buffer; length: number }[]
    readonly pendingIndexers: Buffer[]
    readonly views: { key: Buffer; length: number }[]
    readonly encryptionLength: number
    /** The writers; not while apply runs. */
    list(): AsyncIterable<{ key: Buffer; value: { length: number; isRemoved: boolean } }>
    get(key: Buffer): Promise<{ isIndexer: boolean; isRemoved: boolean; length: number } | null>
  }
  export interface FastForwardTo {
    key: Buffer
    length: number
    manifestVersion: number
    /** That of encryption keys first, from version 2 on. */
    views: { key: Buffer; length: number }[]
  }
  export interface Host {
    readonly system: System
    addWriter(key: Buffer, options: { indexer: boolean }): Promise<void>
    removeWriter(key: Buffer): Promise<void>
    interrupt(reason: string): never
    /** False where the order is another one, or not known up to that length. */
    fork(indexers: Buffer[], system: { key: Buffer; length: number }): Promise<boolean>
  }
  export interface AutobaseOptions<V> {
    valueEncoding: 'binary'
    ackInterval: number
    bigBatches: boolean
    encryptionKey: Buffer
    keyPair: { publicKey: Buffer; secretKey: Buffer }
    wakeup?: ProtomuxWakeup
    open(store: { get(name: string): Hypercore }): V
    apply(nodes: ApplyNode[], view: V, host: Host): Promise<void>
    close?(view: V): Promise<void>
  }
  /** No public part of it; see `core/fewer-reads.ts`. */
  export interface Writer {
    readonly core: Hypercore
    readonly opened: boolean
    /** Of its core, as far as they were read. */
    readonly nodes: { readonly length: number }
    /** As far as they are applied. */
    readonly length: number
    updateActivity(): void
    update(boot: null): Promise<boolean>
  }
  export default class Autobase<V> extends EventEmitter {
    constructor(store: Corestore, key: Buffer | null, options: AutobaseOptions<V>)
    readonly key: Buffer
    readonly discoveryKey: Buffer
    readonly local: Hypercore
    readonly core: Hypercore
    readonly view: V
    readonly writable: boolean
    readonly isIndexer: boolean
    readonly interrupted: string | null
    readonly activeWriters: Iterable<Writer>
    readonly wakeupSession: { broadcastLookup(request: object): void } | null
    readonly signedLength: number
    readonly indexedLength: number
    /** null for a moment while it is rebuilt. */
    readonly system: System | null
    ready(): Promise<void>
    close(): Promise<void>
    update(): Promise<void>
    pause(): void
    resume(): void
    setBigBatches(big: boolean): void
    /** Its length afterwards; null for a block without an op. */
    append(value: Buffer | Buffer[] | null): Promise<number>
    /** Whether something of this node's own is on its way into its core. */
    readonly appending: boolean
    ack(background?: boolean): Promise<void>
    replicate(stream: Duplex): Duplex
    hintWakeup(hints: { key: Buffer; length: number }[]): void
    setUserData(key: string, value: Buffer | null): Promise<void>
    getUserData(key: string): Promise<Buffer | null>
    // What follows is no public part of it (7.28.1); see `core/system-core.ts`.
    readonly store: Corestore
    readonly encryption: {
      core: Hypercore | null
      sessions: Map<string, { keys: unknown; keysById: Map<number, unknown> }>
      reload(core: Hypercore): Promise<void>
    } | null
    readonly _preopen: Promise<void> | null
    fastForwardTo: FastForwardTo | null
    readonly _viewStore: {
      /** `moveTo` while it changes over: what is there, and its core. */
      readonly byName: Map<
        string,
        {
          batch: Hypercore
          moveTo: [Hypercore, Hypercore] | null
        }
      >
      findViewByKey(key: Buffer, ...rest: unknown[]): Promise<unknown>
    }
    _moveTo(): Promise<void>
    // And of these: `core/pace.ts`.
    _ackInterval: number
    /** null of who is no writer yet. */
    readonly _ackTimer: { interval: number } | null
    _advance(): Promise<void>
    _onremotewriterchangeBound: () => void
    _updateAll: (this: { readonly activeWriters: Iterable<Writer> }) => Promise<unknown>
    // And of these: `core/merge.ts`.
    readonly linearizer: { readonly indexers: Writer[] }
    _waitForIndexers: (this: {
      readonly linearizer: { readonly indexers: Writer[] }
    }) => Promise<boolean>
  }
}

declare module 'autobase/lib/fast-forward.js' {
  import type Autobase from 'autobase'
  import type { FastForwardTo } from 'autobase'
  export default class FastForward {
    constructor(
      base: Autobase<never>,
      key: Buffer,
      options: { verified: boolean; force: boolean; timeout: number }
    )
    upgrade(): Promise<FastForwardTo | null>
    close(): Promise<void>
  }
}

declare module 'autobase/lib/system.js' {
  export interface Reader {
    get(key: Buffer, options: object): Promise<{ value: object } | null>
  }
  export default class SystemView {
    core: {
      length: number
      manifest: { prologue: { length: number } | null } | null
      truncate?: () => Promise<void>
    }
    db: Reader & {
      createHistoryStream?: () => Iterable<never>
      batch(options: object): Reader & { close(): Promise<void> }
    }
    /** What is not written yet. */
    _changes: { key: Buffer; value: object }[]
    _get: (this: SystemView, key: Buffer, timeout: number) => Promise<object | null>
    /** As it was at a length. */
    getIndexedInfo(length: number): Promise<{ readonly indexers: object[] }>
    fork: (this: SystemView, ...given: unknown[]) => Promise<number>
  }
}

declare module 'autobase/lib/apply-state.js' {
  import type SystemView from 'autobase/lib/system.js'
  export default class ApplyState {
    readonly base: { readonly recoveries: number }
    readonly store: { flush?: () => Promise<void> }
    /** Of the system core. */
    readonly key: Buffer
    readonly systemView: { readonly indexedLength: number }
    /** In the local core; goes to the disk with the store. */
    readonly localState: { setBootRecord(record: object): void; flush(): Promise<void> }
    /** null of who never wrote. */
    readonly localCheckpoint: object | null
    readonly fastForwarding: boolean
    readonly indexersUpdated: boolean
    /** Of the system core, as far as it is confirmed. */
    readonly indexedLength: number
    readonly system: SystemView & { readonly indexers: object[] }
    shouldMigrate: (this: ApplyState) => Promise<boolean>
    _flush: (this: ApplyState, localNodes: object[] | null) => Promise<void>
  }
}

declare module 'autobase/lib/caps.js' {
  export const BOOT_RECORD_VERSION: number
}

declare module 'autobase/lib/fork.js' {
  export default class Fork {
    readonly system: { core: { length: number } }
    readonly state: {
      systemView: { indexedLength: number }
      pendingFork: { length: number }
      localIndexer: boolean
      finalize(key: Buffer): Promise<void>
    }
    _upgrade: (this: Fork) => Promise<void>
  }
}

declare module 'protomux-wakeup' {
  import type { Duplex } from 'node:stream'
  export default class ProtomuxWakeup {
    addStream(stream: Duplex): void
    destroy(): void
  }
}

declare module 'hyperblobs' {
  import type { Readable, Writable } from 'node:stream'
  import type Hypercore from 'hypercore'
  export interface BlobId {
    blockOffset: number
    blockLength: number
    byteOffset: number
    byteLength: number
  }
  export default class Hyperblobs {
    constructor(core: Hypercore, options?: { blockSize?: number })
    readonly core: Hypercore
    ready(): Promise<void>
    close(): Promise<void>
    put(blob: Buffer): Promise<BlobId>
    get(id: BlobId, options?: { timeout?: number; wait?: boolean }): Promise<Buffer | null>
    createReadStream(id: BlobId): Readable
    createWriteStream(): Writable & { id: BlobId }
    clear(id: BlobId): Promise<unknown>
  }
}

declare module 'protomux' {
  import type { Duplex } from 'node:stream'
  export interface Message<T> {
    send(message: T): boolean
  }
  export interface Channel {
    readonly protocol: string
    readonly opened: boolean
    readonly closed: boolean
    readonly drained: boolean
    open(): void
    close(): void
    cork(): void
    uncork(): void
    addMessage<T>(options: { encoding: unknown; onmessage(message: T): void }): Message<T>
  }
  export default class Protomux {
    static from(stream: Duplex | Protomux): Protomux
    readonly stream: Duplex
    readonly drained: boolean
    cork(): void
    uncork(): void
    /** What is to go out in one frame, while it is corked. No public part of it. */
    _batch: { localId: number; buffer: Buffer }[] | null
    createChannel(options: {
      protocol: string
      id?: Buffer | null
      unique?: boolean
      onopen?(): void
      onclose?(): void
      ondrain?(): void
    }): Channel | null
    pair(options: { protocol: string; id?: Buffer | null }, callback: () => void): void
    unpair(options: { protocol: string; id?: Buffer | null }): void
    /** Channels that are open here. */
    [Symbol.iterator](): Iterator<Channel>
  }
}

declare module 'hyperdht' {
  import type { EventEmitter } from 'node:events'
  import type { Connection } from 'hyperswarm'
  export interface Address {
    host: string
    port: number
  }
  export interface ConnectOptions {
    keyPair?: { publicKey: Buffer; secretKey: Buffer }
    /** Asked for the peer before the DHT is. */
    relayAddresses?: Address[] | null
    relayThrough?: Buffer | null
    /** False: no packet is sent to where the peer may be before it says where it is. */
    fastOpen?: boolean
    /** Asked before a punch; false: none. */
    holepunch?(): boolean
  }
  export interface DhtRequest {
    command: number
    target: Buffer | null
    reply(value: Buffer | null, options?: { token?: boolean; closerNodes?: boolean }): void
  }
  export interface DhtServer {
    /** Of DHT nodes that know it, and of this node where it is openly reachable. */
    readonly relayAddresses: Address[]
    /** Announces it anew. */
    refresh(): void
    listen(keyPair: { publicKey: Buffer; secretKey: Buffer }): Promise<DhtServer>
    close(): Promise<void>
  }
  export default class HyperDHT extends EventEmitter {
    constructor(options?: Record<string, unknown>)
    static bootstrapper(port: number, host: string, options?: Record<string, unknown>): HyperDHT
    /** As others see this node: null while they disagree; port 0 where each sees another. */
    readonly host: string | null
    readonly port: number
    readonly firewalled: boolean
    /** Servers that listen. */
    readonly listening: ReadonlySet<DhtServer>
    ready(): Promise<void>
    bind(): Promise<void>
    fullyBootstrapped(): Promise<void>
    address(): Address
    localAddress(): Address | null
    /** null unless it is openly reachable. */
    remoteAddress(): Address | null
    destroy(options?: { force: boolean }): Promise<void>
    toArray(): Address[]
    connect(key: Buffer, options?: ConnectOptions): Connection
    createServer(
      options: { firewall?(key: Buffer): boolean },
      onconnection: (connection: Connection) => void
    ): DhtServer
    createRawStream(options: Record<string, unknown>): unknown
    lookup(
      topic: Buffer
    ): AsyncIterable<{ peers: { publicKey: Buffer; relayAddresses: Address[] }[] }>
    request(
      request: { command: number; target: Buffer; value?: Buffer | null },
      to: Address
    ): Promise<{ value: Buffer | null }>
    onrequest(request: DhtRequest): boolean
    /** Asks others to send to the server socket: true once one of them came through. */
    protected _updateNetworkState(onlyFirewall: boolean): Promise<boolean>
  }
}

declare module '@hyperswarm/secret-stream' {
  import { Duplex } from 'node:stream'
  import type { KeyPair } from './crypto.ts'
  /** Noise (XX) and encryption over any byte stream. */
  export default class NoiseSecretStream extends Duplex {
    /** `rawStream` is a duplex stream of Node's or of streamx's. */
    constructor(isInitiator: boolean, rawStream: object, options?: { keyPair: KeyPair })
    readonly isInitiator: boolean
    /** Known once it is open. */
    readonly remotePublicKey: Buffer
    /** false where the handshake failed. */
    readonly opened: Promise<boolean>
    readonly rawStream: { remoteAddress?: string; remotePort?: number } | null
    readonly rawBytesRead: number
    readonly rawBytesWritten: number
  }
}

declare module 'noise-handshake' {
  import type { KeyPair } from './crypto.ts'
  /** One end of a handshake; a static key as its curve has them. */
  export default class Noise {
    constructor(pattern: 'IK', isInitiator: boolean, keyPair: KeyPair, options: { curve: object })
    initialise(prologue: Buffer, remoteKey?: Buffer): void
    send(): Buffer
    /** @throws where the message is another than what is to come, or of another key. */
    recv(message: Buffer): Buffer
    /** Of the other end, once it has said it. */
    readonly rs: Buffer
    /** Once it is over: `tx` of one end is `rx` of the other. */
    readonly tx: Buffer
    readonly rx: Buffer
  }
}

declare module 'noise-curve-ed' {
  /** Ed25519. */
  const curve: object
  export default curve
}

declare module 'blind-relay' {
  import type { EventEmitter } from 'node:events'
  import type { Connection } from 'hyperswarm'
  export class Server extends EventEmitter {
    constructor(options: { createStream(options: Record<string, unknown>): unknown })
    readonly stats: { streams: { active: number } }
    accept(connection: Connection, options: { id: Buffer }): EventEmitter
    close(): Promise<void>
  }
}

declare module 'hyperdht/testnet.js' {
  import type HyperDHT from 'hyperdht'
  import type { Address } from 'hyperdht'
  export interface Testnet {
    bootstrap: Address[]
    createNode(options?: Record<string, unknown>): HyperDHT
    destroy(): Promise<void>
  }
  export default function createTestnet(size?: number): Promise<Testnet>
}

declare module 'hyperswarm' {
  import type { EventEmitter } from 'node:events'
  import type { Duplex } from 'node:stream'
  import type HyperDHT from 'hyperdht'
  /** A Noise-encrypted connection. */
  export interface Connection extends Duplex {
    readonly remotePublicKey: Buffer
    readonly isInitiator: boolean
    readonly handshakeHash: Buffer
    readonly rawBytesRead: number
    readonly rawBytesWritten: number
    /** Resolves once all that was written is acknowledged, or the connection ends. */
    flush?(): Promise<boolean>
    /** Room for the next message, which is then not copied. */
    alloc?(bytes: number): Buffer
    /**
     * Changes its remote when a relayed connection becomes a direct one; null once closed. UDX
     * counts packets and measures the line; other transports and relays need not.
     */
    readonly rawStream: {
      remoteHost: string
      remotePort: number
      readonly packetsReceived?: number
      /** Packets that may be under way. */
      readonly cwnd?: number
      /** Bytes of one. */
      readonly mtu?: number
      /** ms. */
      readonly rtt?: number
      /** 4 or 6. */
      readonly remoteFamily?: number
    } | null
  }
  export interface PeerInfo {
    publicKey: Buffer
    client: boolean
    banned: boolean
    ban(banned: boolean): void
  }
  export interface Discovery {
    refresh(options?: { client?: boolean; server?: boolean }): Promise<void>
    destroy(): Promise<void>
    flushed(): Promise<boolean>
  }
  export default class Hyperswarm extends EventEmitter {
    constructor(options: Record<string, unknown>)
    readonly dht: HyperDHT
    /** Emits `connection` with what comes in, which the swarm takes as its own. */
    readonly server: EventEmitter
    readonly connections: Set<Connection>
    join(topic: Buffer, options: { client: boolean; server: boolean }): Discovery
    joinPeer(key: Buffer): void
    leavePeer(key: Buffer): void
    listen(): Promise<void>
    suspend(): Promise<void>
    resume(): Promise<void>
    destroy(options?: { force?: boolean }): Promise<void>
  }
}
