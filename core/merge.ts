/**
 * While much of what others wrote is still to be applied, as after a split, a node acknowledges nothing: an
 * acknowledgement of a part comes before the rest in the order, and who has applied the rest already would
 * have to do so again.
 */
import type Autobase from 'autobase'

type Base = Pick<Autobase<never>, 'activeWriters'>

/** Fewer entries are applied in no time. */
const MANY = 64
/** What nobody in reach has does not come: then what is here is to be confirmed without it. */
const MAX_WAIT_MS = 15_000

/** Answers whether a base may acknowledge now. `now` in ms. */
export function acksAfterMerges(now = (): number => performance.now()): (base: Base) => boolean {
  let since: number | null = null
  return ({ activeWriters }) => {
    let lacking = 0
    for (const { core, length } of activeWriters) lacking += Math.max(0, core.length - length)
    if (lacking < MANY) since = null
    else since ??= now()
    return since === null || now() - since >= MAX_WAIT_MS
  }
}
