/**
 * What a node makes of ops, all others make of them too: how long its view and the order of ops have
 * grown is no news to peers that are about as far, and yet Hypercore tells each of them at once, who
 * then fetch from each other what they are about to work out. They are told a moment later, of all
 * since then in one. Uses what is no public API of Hypercore, whose version is pinned.
 */
import type Hypercore from 'hypercore'
import type { Peer, RangeMessage, Replicator, SyncMessage } from 'hypercore/lib/replicator.js'

const LATER_MS = 2_000
/** Who differs by more lacks what leads there, and is told at once. */
const NEAR_BLOCKS = 256
const MAX_RANGES = 16

const told = new WeakSet<Replicator>()
const due = new Set<() => void>()

/** From now on, to all peers that this core has and gets. */
export function announceLater({ core: { replicator } }: Hypercore): void {
  if (told.has(replicator)) return
  told.add(replicator)
  const addPeer = replicator._addPeer.bind(replicator)
  replicator._addPeer = (peer) => {
    hold(peer)
    addPeer(peer)
  }
  for (const peer of replicator.peers) hold(peer)
}

function hold(peer: Peer): void {
  const { wireSync, wireRange, protomux } = peer
  let sync: SyncMessage | null = null
  let ranges: RangeMessage[] = []
  const tell = (): void => {
    due.delete(tell)
    const [lastSync, all] = [sync, ranges]
    sync = null
    ranges = []
    protomux.cork()
    if (lastSync !== null) wireSync.send(lastSync)
    for (const range of all) wireRange.send(range)
    protomux.uncork()
  }
  peer.wireSync = {
    send(message) {
      sync = message
      if (isNear(peer)) tellLater(tell)
      else tell()
      return true
    }
  }
  peer.wireRange = {
    send(message) {
      ranges = [...ranges.filter((range) => !covers(message, range)), message]
      if (message.drop || ranges.length > MAX_RANGES || !isNear(peer)) tell()
      else tellLater(tell)
      return true
    }
  }
}

function isNear({ core: { state }, remoteFork, remoteLength }: Peer): boolean {
  const isThere = state.length > 0 && remoteLength > 0 && remoteFork === state.fork
  return isThere && Math.abs(state.length - remoteLength) <= NEAR_BLOCKS
}

const covers = (one: RangeMessage, other: RangeMessage): boolean =>
  !other.drop && one.start <= other.start && one.start + one.length >= other.start + other.length

/** All at once: several cores tell a peer in one frame. */
function tellLater(tell: () => void): void {
  if (due.size === 0) setTimeout(() => [...due].forEach((each) => each()), LATER_MS).unref()
  due.add(tell)
}
