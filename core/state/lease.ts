/**
 * The lease: who leads. Claimed, never renewed; of concurrent claims of one term the first in the
 * order wins. Every claim is kept under its writer, because placements made under a beaten one stand.
 */
import { declare, mayControl } from './apply.ts'
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
      await context.view.put(keys.claim(context.author.id, op.term), true)
      if (op.term === term + 1) {
        await context.view.put(keys.lease, { term: op.term, node: context.author.id })
      }
      return null
    }
  })
}
