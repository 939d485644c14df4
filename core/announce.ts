/**
 * When peers are told how much of a core is here. Hypercore tells each of them of each block at once,
 * which with many nodes is most of what goes over their links, and mostly no news. Uses what is no
 * public API of Hypercore, whose version is pinned.
 */
import type Autobase from 'autobase'
import type Hypercore from 'hypercore'
import type { Peer, RangeMessage, Replicator, SyncMessage } from 'hypercore/lib/replicator.js'

/** Who differs by more of a view lacks what leads there, and is told at once. */
const NEAR_BLOCKS = 256
const MAX_RANGES = 16

/** All that is due in it goes out at once: several cores tell a peer in one frame. */
class Round {
  readonly ms: number
  readonly #due = new Set<(round: Round) => void>()

  constructor(ms: number) {
    this.ms = ms
  }

  add(onRound: (round: Round) => void): void {
    if (this.#due.size === 0) setTimeout(() => this.#run(), this.ms).unref()
    this.#due.add(onRound)
  }

  #run(): void {
    const due = [...this.#due]
    this.#due.clear()
    for (const onRound of due) onRound(this)
  }
}

interface Manner {
  /** When a peer is to be told; null: at once. `gave`: it has sent a block since it was told last. */
  roundOf: (peer: Peer, gave: boolean) => Round | null
  /** Who has more can be asked for it only once it knows how much is here: is it told so then? */
  asksWhoHasMore: boolean
}

type Views = 'core' | 'view' | 'encryption'

/** Of one node. */
export class Announcer {
  /** A peer may hear of it from another node meanwhile. */
  readonly #soon = new Round(25)
  readonly #later = new Round(1_000)
  readonly #view = new Round(2_000)
  readonly #told = new WeakSet<Replicator>()

  /**
   * What a node makes of ops, all others make of them too: how long its view and the order of ops have
   * grown is no news to peers that are about as far, who would fetch from each other what they are about to
   * work out. They are told a moment later, of all since then in one.
   */
  viewsOf({ core, view, encryption }: Pick<Autobase<{ core: Hypercore }>, Views>): void {
    const roundOf = (peer: Peer): Round | null => (isNear(peer) ? this.#view : null)
    for (const each of [core, view.core, encryption?.core ?? null]) {
      if (each?.opened === true) this.#announce(each, { roundOf, asksWhoHasMore: false })
    }
  }

  /**
   * What another node wrote comes to each by all of its links. Who lacks it is told soon, unless somebody
   * else tells it first, and so is who gave it, from whom the next is to come; who has it anyway only
   * hears that it is here as well.
   */
  others(core: Hypercore): void {
    this.#announce(core, {
      roundOf: ({ core: { state }, remoteFork, remoteLength, remoteSynced }, gave) => {
        if (!remoteSynced || remoteFork !== state.fork) return null
        return gave || remoteLength < state.length ? this.#soon : this.#later
      },
      asksWhoHasMore: true
    })
  }

  /** From now on, to all peers that this core has and gets. */
  #announce({ core: { replicator } }: Hypercore, manner: Manner): void {
    if (this.#told.has(replicator)) return
    this.#told.add(replicator)
    const addPeer = replicator._addPeer.bind(replicator)
    replicator._addPeer = (peer) => {
      hold(peer, manner)
      addPeer(peer)
    }
    for (const peer of replicator.peers) hold(peer, manner)
  }
}

function hold(peer: Peer, { roundOf, asksWhoHasMore }: Manner): void {
  const { wireSync, wireRange, protomux } = peer
  const onsync = peer.onsync.bind(peer)
  const ondata = peer.ondata.bind(peer)
  let gave = false
  let sync: SyncMessage | null = null
  let ranges: RangeMessage[] = []
  let round: Round | null = null

  const tell = (): void => {
    const [lastSync, all] = [sync, ranges]
    gave = false
    sync = null
    ranges = []
    round = null
    protomux.cork()
    if (lastSync !== null) wireSync.send(lastSync)
    for (const range of all) wireRange.send(range)
    protomux.uncork()
  }
  const tellIn = (next: Round | null): void => {
    if (next === null) return tell()
    if (round !== null && round.ms <= next.ms) return
    round = next
    next.add(onRound)
  }
  const onRound = (ran: Round): void => {
    // It was told meanwhile, or is to be told earlier.
    if (round !== ran) return
    const now = roundOf(peer, gave)
    if (now === null || now.ms <= ran.ms) return tell()
    round = null
    tellIn(now)
  }

  peer.wireSync = {
    send(message) {
      sync = message
      tellIn(roundOf(peer, gave))
      return true
    }
  }
  peer.wireRange = {
    send(message) {
      ranges = [...ranges.filter((range) => !covers(message, range)), message]
      tellIn(message.drop || ranges.length > MAX_RANGES ? null : roundOf(peer, gave))
      return true
    }
  }
  peer.onsync = (message) => {
    if (asksWhoHasMore && sync !== null && message.length > sync.length) tell()
    return onsync(message)
  }
  peer.ondata = (message) => {
    gave = true
    return ondata(message)
  }
}

function isNear({ core: { state }, remoteFork, remoteLength }: Peer): boolean {
  const isThere = state.length > 0 && remoteLength > 0 && remoteFork === state.fork
  return isThere && Math.abs(state.length - remoteLength) <= NEAR_BLOCKS
}

const covers = (one: RangeMessage, other: RangeMessage): boolean =>
  !other.drop && one.start <= other.start && one.start + one.length >= other.start + other.length
