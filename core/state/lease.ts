/**
 * The lease: who leads. Claimed, never renewed; of concurrent claims of one term the first in the
 * order wins. Of each writer its newest claim is kept, beaten or not, because placements made under a
 * beaten one stand; a writer that claims another term makes none under the one before any more.
 */
import { declare, mayControl, type ViewReader } from './apply.ts'
import { keys } from './keys.ts'
import { integer, literal, object, type Infer } from './shape.ts'
import type { LeaseRecord } from './state.ts'

const claim = object({
  type: literal('lease.claim'),
  term: integer(1, Number.MAX_SAFE_INTEGER),
  at: integer(0, Number.MAX_SAFE_INTEGER)
})
export type LeaseClaim = Infer<typeof claim>

export const leaseOps = {
  'lease.claim': declare<LeaseClaim>({
    shape: claim,
    async apply(op, context) {
      if (!mayControl(context) || context.author === null) return 'its author may not lead'
      const lease = await context.view.get<LeaseRecord>(keys.lease)
      const term = lease?.term ?? 0
      if (op.term > term + 1) return 'its term is not the next one'
      const key = keys.claim(context.author.id)
      const newest = (await context.view.get<number>(key)) ?? 0
      if (op.term > newest) await context.view.put(key, op.term)
      if (op.term === term + 1) {
        await context.view.put(keys.lease, { term: op.term, node: context.author.id })
      }
      return null
    }
  })
}

/** Whether a node may write what is a leader's of this term to write. */
export const hasClaimed = async (view: ViewReader, node: string, term: number): Promise<boolean> =>
  (await view.get<number>(keys.claim(node))) === term
