/** The gossip channel to one peer: five messages, and what the peer may cost. */
import type Protomux from 'protomux'
import { Budget } from './budget.ts'
import {
  digests,
  refreshes,
  wants,
  wires,
  type Digests,
  type Refreshed,
  type Want,
  type Wire
} from './gossip-wire.ts'

export interface GossipHandlers {
  /** Whole records, asked for or not. */
  onRecords(peer: GossipPeer, list: Wire[]): void
  onRefreshed(peer: GossipPeer, list: Refreshed[]): void
  onDigests(peer: GossipPeer, message: Digests): void
  onWants(peer: GossipPeer, list: Want[]): void
  onEnd(peer: GossipPeer): void
  now: () => number
}

interface Sends {
  records(list: Wire[]): unknown
  refreshed(list: Refreshed[]): unknown
  digests(message: Digests): unknown
  wants(list: Want[]): unknown
}

export const GOSSIP_PROTOCOL = 'brume/gossip/2'
/** Records go out in messages of about this size. */
const CHUNK_BYTES = 64 * 1024
/** Entries of any message a second; the reserve is a first meeting in a large mesh. */
const IN_ENTRIES = { perSecond: 500, burst: 20_000 }
const IN_BYTES = { perSecond: 512 * 1024, burst: 24 * 1024 * 1024 }
const OUT_BYTES = { perSecond: 512 * 1024, burst: 24 * 1024 * 1024 }
/** Wrong signatures, unreadable messages: an honest peer sends none. */
const MAX_FAULTS = 100
/** Beside its body. */
const RECORD_BYTES = 128

export class GossipPeer {
  readonly id: string
  /** Something it told was not taken for lack of budget: ask again. */
  behind = false
  /** Records by key whose newest number it has told or been told. */
  readonly has = new Set<string>()
  readonly #handlers: GossipHandlers
  readonly #send: Sends
  readonly #entries: Budget
  readonly #bytes: Budget
  readonly #out: Budget
  #faults = 0

  /** Null where the connection is gone or speaks gossip already. */
  static attach(id: string, mux: Protomux, handlers: GossipHandlers): GossipPeer | null {
    const channel = mux.createChannel({
      protocol: GOSSIP_PROTOCOL,
      onclose: () => handlers.onEnd(peer)
    })
    if (channel === null) return null
    // Their order is the protocol.
    const records = channel.addMessage<Wire[] | null>({
      encoding: wires,
      onmessage: (list) => peer.#take(list, (some) => handlers.onRecords(peer, some))
    })
    const refreshed = channel.addMessage<Refreshed[] | null>({
      encoding: refreshes,
      onmessage: (list) => peer.#take(list, (some) => handlers.onRefreshed(peer, some))
    })
    const digest = channel.addMessage<Digests | null>({
      encoding: digests,
      onmessage: (message) =>
        peer.#take(message?.list ?? null, (list) =>
          handlers.onDigests(peer, { complete: message?.complete === true, list })
        )
    })
    const want = channel.addMessage<Want[] | null>({
      encoding: wants,
      onmessage: (list) => peer.#take(list, (some) => handlers.onWants(peer, some))
    })
    const peer = new GossipPeer(id, handlers, {
      records: (list) => !channel.closed && records.send(list),
      refreshed: (list) => !channel.closed && refreshed.send(list),
      digests: (message) => !channel.closed && digest.send(message),
      wants: (list) => !channel.closed && want.send(list)
    })
    channel.open()
    return peer
  }

  private constructor(id: string, handlers: GossipHandlers, send: Sends) {
    this.id = id
    this.#handlers = handlers
    this.#send = send
    const now = handlers.now()
    this.#entries = new Budget(IN_ENTRIES, now)
    this.#bytes = new Budget(IN_BYTES, now)
    this.#out = new Budget(OUT_BYTES, now)
  }

  /** What this peer may not be sent for now is left out: it asks again. */
  records(list: Wire[]): void {
    let chunk: Wire[] = []
    let bytes = 0
    for (const wire of list) {
      const size = wire.body.length + RECORD_BYTES
      if (!this.#out.take(size, this.#handlers.now())) break
      if (chunk.length > 0 && bytes + size > CHUNK_BYTES) {
        this.#send.records(chunk)
        chunk = []
        bytes = 0
      }
      chunk.push(wire)
      bytes += size
    }
    if (chunk.length > 0) this.#send.records(chunk)
  }

  refreshed(list: Refreshed[]): void {
    if (list.length > 0) this.#send.refreshed(list)
  }

  digests(message: Digests): void {
    if (message.complete || message.list.length > 0) this.#send.digests(message)
  }

  wants(list: Want[]): void {
    if (list.length > 0) this.#send.wants(list)
  }

  /** Counts what an honest peer does not send; after a hundred nothing it says is read. */
  fault(): void {
    this.#faults++
  }

  #take<T>(list: T[] | null, then: (list: T[]) => void): void {
    if (this.#faults >= MAX_FAULTS) return
    if (list === null) return this.fault()
    const now = this.#handlers.now()
    const bytes = list.reduce((sum, each) => sum + sizeOf(each), 0)
    if (this.#entries.take(list.length, now) && this.#bytes.take(bytes, now)) then(list)
    else this.behind = true
  }
}

const sizeOf = (entry: unknown): number =>
  ((entry as Partial<Wire>).body?.length ?? 0) + RECORD_BYTES
