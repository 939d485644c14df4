/**
 * How a base goes about much that others wrote, as after a split. Uses parts of Autobase and Hypercore
 * that are no public API; their versions are pinned.
 */
import type Autobase from 'autobase'
import type { Writer } from 'autobase'

type Base = Pick<Autobase<never>, 'activeWriters'>

/** Fewer entries are applied in no time. */
const MANY = 64
/** What nobody in reach has does not come: then what is here is to be confirmed without it. */
const MAX_WAIT_MS = 15_000

/**
 * While much is still to be applied a node acknowledges nothing: an acknowledgement of a part comes before
 * the rest in the order, and who has applied the rest already would have to do so again.
 *
 * Answers whether a base may acknowledge now. `now` in ms.
 */
export function acksAfterMerges(now = (): number => performance.now()): (base: Base) => boolean {
  let since: number | null = null
  return (base) => {
    if (lackingIn(base) < MANY) since = null
    else since ??= now()
    return since === null || now() - since >= MAX_WAIT_MS
  }
}

/** Entries that are known of and not applied. */
export function lackingIn({ activeWriters }: Base): number {
  let lacking = 0
  for (const { core, length } of activeWriters) lacking += Math.max(0, core.length - length)
  return lacking
}

type Waiting = Pick<Autobase<never>, '_waitForIndexers'>

/**
 * Before a base applies what came it waits for what its indexers wrote next, as that would come before it.
 * One that went while it told how much it wrote is known by a length and has nobody for the rest: each op
 * took 12 s, for as long as it was away. What no peer has is not waited for.
 */
export function waitsForWhatPeersHave(base: Waiting): void {
  const wait = base._waitForIndexers
  base._waitForIndexers = function () {
    const indexers = this.linearizer.indexers.filter(isWithPeers)
    return wait.call({ linearizer: { indexers } })
  }
}

const isWithPeers = ({ core, length }: Writer): boolean =>
  core.peers.some((peer) => peer._remoteHasBlock(length))
