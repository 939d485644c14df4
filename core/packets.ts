/**
 * Lets no packet of a UDX line carry parts of two messages. udx-native hands over a message of HyperDHT's
 * encryption when it is there whole, in `framed` mode; the first packet that holds the end of one and the
 * beginning of the next ends that for good (`on_udx_stream_read` of its binding), and from then on each
 * packet is an event of its own, for about a tenth of what a flow costs both daemons.
 *
 * UDX fills a packet with what is written until it is sent: at the end of the event loop's turn, in the
 * next millisecond where it paces, later where its window is full. So a message either ends where a packet
 * does, or nothing is written behind it until it has gone.
 *
 * What cannot be kept is given up, and costs what it cost before: on a long line, where the processor is
 * not what is short and finding out how large packets may be takes seconds; where that changes under way;
 * and where packets were lost, unseen.
 */
import type { UnderWay } from './under-way.ts'

/** What UDX measures; nothing where it is another transport. */
export interface Measured {
  /** Bytes of a packet of IP, as far as it is known to go through. */
  readonly mtu?: number
  /** ms; 0 where nothing was acknowledged yet. */
  readonly rtt?: number
  /** 4 or 6. */
  readonly remoteFamily?: number
}

/** What HyperDHT's encryption puts around a message: its length, its kind and a tag. */
const AROUND_BYTES = 3 + 1 + 16
/** Of IP, UDP and UDX. */
const HEADERS_BYTES = { 4: 20 + 8 + 20, 6: 40 + 8 + 20 }
/** UDX tries for no larger ones. */
const MOST_MTU = 1_500
/** Of a message meanwhile that cannot be cut: what asks for a flow has half of it. */
const FINDING_BYTES = 16 * 1024
/** So many full packets are acknowledged without a larger one: this is how large they get. */
const SAME_TIMES = 8
/** Of a line that is short. */
const SHORT_MS = 10
/** With so many packets under way, the least window of UDX, what is written may wait. */
const BUSY = 4

export class Packets {
  readonly #measured: () => Measured
  readonly #underWay: UnderWay
  /** `finding`: how large they may be; mostly a packet at a time. `mixed`: given up. */
  #state: 'finding' | 'whole' | 'mixed' = 'finding'
  #mtu = 0
  #same = 0

  constructor(measured: () => Measured, underWay: UnderWay) {
    this.#measured = measured
    this.#underWay = underWay
  }

  /** As large as a message of at most `bytes` may be, which are more than a packet has. */
  most(bytes: number): number {
    const packet = this.#look()
    if (this.#state === 'mixed') return bytes
    if (this.#state === 'finding') return Math.min(bytes, FINDING_BYTES)
    return bytes - ((bytes + AROUND_BYTES) % packet)
  }

  /** Bytes of a message of so many that are better left for the next one, behind its last whole packet. */
  excess(bytes: number): number {
    const packet = this.#look()
    const whole = bytes + AROUND_BYTES
    if (this.#state === 'mixed' || whole < packet) return 0
    return this.#state === 'finding' ? whole - packet : whole % packet
  }

  /** Bytes to put behind a message of so many that was not cut: at least `least`, or none. */
  padding(bytes: number, least: number): number {
    const packet = this.#look()
    if (this.#state !== 'whole' || this.#underWay.bytes < BUSY * packet) return 0
    const rest = (packet - ((bytes + AROUND_BYTES) % packet)) % packet
    return rest > 0 && rest < least ? rest + packet : rest
  }

  /** Whether nothing may be written behind a message of so many until it has gone. */
  mustGo(bytes: number): boolean {
    const packet = this.#look()
    if (this.#state === 'mixed') return false
    return this.#state === 'finding' || (bytes + AROUND_BYTES) % packet > 0
  }

  /** A message of so many is written. Gives what to call once it is acknowledged. */
  add(bytes: number): () => void {
    this.#look()
    const mtu = this.#mtu
    return () => this.#heard(bytes, mtu)
  }

  /** The first packet after a larger one went through is as small as before: a message shows how large. */
  #heard(bytes: number, mtuThen: number): void {
    const packet = this.#look()
    const isFull = bytes + AROUND_BYTES >= packet && mtuThen === this.#mtu
    if (this.#state !== 'finding' || !isFull) return
    const { rtt = 0 } = this.#measured()
    this.#same++
    if (rtt > SHORT_MS) this.#state = 'mixed'
    else if (this.#same >= SAME_TIMES || this.#mtu >= MOST_MTU) this.#state = 'whole'
  }

  /** Bytes of messages in a packet; Infinity where that is given up. */
  #look(): number {
    const { mtu, rtt, remoteFamily } = this.#measured()
    if (this.#state === 'mixed' || mtu === undefined || rtt === undefined) {
      this.#state = 'mixed'
      return Infinity
    }
    if (this.#state === 'whole' && mtu !== this.#mtu && this.#underWay.bytes > 0)
      this.#state = 'mixed'
    if (mtu !== this.#mtu) this.#same = 0
    this.#mtu = mtu
    return mtu - HEADERS_BYTES[remoteFamily === 6 ? 6 : 4]
  }
}
