/**
 * How often a base works. Every entry of the oplog costs every node of the mesh some work, and the
 * machine that does it may be a small one, or run many nodes. Uses parts of Autobase that are no public
 * API; its version is pinned.
 */
import type Autobase from 'autobase'
import type Hypercore from 'hypercore'

type Base = Autobase<never>

/** An indexer acknowledges what it saw after so long, in a mesh of up to `ACK_MEMBERS`. */
export const ACK_MS = 1_000
/** A mesh of twice as many acknowledges a quarter as often: as many more nodes take each of them in. */
const ACK_MEMBERS = 16
const MAX_ACK_MS = 15_000
/** The longest rest after one look at what came. */
const MAX_REST_MS = 100

/** Peers and this node have a writer's core open to each other for so long after its last entry. */
const LINGER_MS = 600_000

/** Confirming an op takes about four times as long; only a change of indexers waits for that. */
export const ackMs = (members: number): number =>
  Math.round(Math.min(MAX_ACK_MS, ACK_MS * Math.max(1, members / ACK_MEMBERS) ** 2))

export function paceAcks(base: Base, members: number): void {
  const ms = ackMs(members)
  base._ackInterval = ms
  if (base._ackTimer !== null) base._ackTimer.interval = ms
}

/**
 * What comes of others is looked at after a rest as long as the last look took, all that came meanwhile
 * in one: at once on an idle machine, seldom on one that cannot keep up. Own ops do not wait.
 */
export function restBetweenLooks(base: Base): void {
  const advance = base._advance.bind(base)
  const look = base._onremotewriterchangeBound
  let running = 0
  let due = false
  let timer: NodeJS.Timeout | null = null
  let restUntil = 0

  const lookRested = (): void => {
    due = false
    if (timer !== null) return
    const ms = restUntil - performance.now()
    if (ms <= 0) return look()
    timer = setTimeout(() => {
      timer = null
      look()
    }, ms)
    timer.unref()
  }

  base._onremotewriterchangeBound = () => {
    if (running > 0) due = true
    else lookRested()
  }
  base._advance = async () => {
    const begun = performance.now()
    running++
    try {
      await advance()
    } finally {
      running--
      const now = performance.now()
      restUntil = now + Math.min(now - begun, MAX_REST_MS)
      if (due) lookRested()
    }
  }
}

/**
 * A core that nobody waits for is closed after half a minute towards each peer, and with the next
 * entry of its writer opened again on every link of every node: with many writers that take turns most
 * of what an op costs.
 */
export function lingerOpen({ core: { replicator } }: Hypercore): void {
  replicator._notDownloadingLinger = LINGER_MS
}
