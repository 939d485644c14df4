/** What is written about a rollout under way: by operators, and by the leader under a stored claim. */
import { declare, mayControl, mayOperate, written, type ApplyContext } from './apply.ts'
import { keys } from './keys.ts'
import { hasClaimed } from './lease.ts'
import { putBackRevision } from './microservices.ts'
import { name } from './names.ts'
import { bool, integer, list, literal, object, optional, text, type Infer } from './shape.ts'
import { isUnderWay } from './rollouts.ts'
import type { MicroserviceRecord, RolloutRecord } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)
const named = {
  application: name,
  microservice: name,
  /** The op whose value is rolled out: of another it says nothing. */
  of: text(80)
}

export const MAX_LOG_LINES = 10
export const MAX_LINE = 500

const set = object({
  type: literal('rollout.set'),
  ...named,
  paused: optional(bool),
  /** The canaries are good: the others follow. */
  promoted: optional(literal(true)),
  at
})
export type RolloutSet = Infer<typeof set>

const end = object({
  type: literal('rollout.end'),
  ...named,
  /** `paused`: a person has to say how it goes on. */
  outcome: literal('done', 'rolledBack', 'paused'),
  /** One line; empty for `done`. */
  reason: text(1_000),
  /** The last lines of what failed. */
  log: list(text(MAX_LINE), MAX_LOG_LINES),
  term: integer(1, Number.MAX_SAFE_INTEGER),
  at
})
export type RolloutEnd = Infer<typeof end>

export const rolloutOps = {
  'rollout.set': declare<RolloutSet>({
    shape: set,
    since: 2,
    audit: ({ application, microservice }) => `${application}/${microservice}`,
    async apply(op, context) {
      if (!mayOperate(context)) return 'its author may not steer rollouts'
      const found = await underWay(op, context)
      if (typeof found === 'string') return found
      const { rollout } = found
      const paused = op.paused ?? rollout.state === 'paused'
      await put(context, {
        ...rollout,
        state: paused ? 'paused' : 'running',
        promoted: op.promoted ?? rollout.promoted,
        // Whoever lets it go on knows why it stood.
        ...(op.paused === false && { reason: null, log: [] }),
        ...written(context, op.at)
      })
      return null
    }
  }),

  'rollout.end': declare<RolloutEnd>({
    shape: end,
    since: 2,
    async apply(op, context) {
      const { author, view } = context
      if (!mayControl(context) || author === null) return 'its author may not end rollouts'
      if (!(await hasClaimed(view, author.id, op.term))) {
        return `its author has no claim of term ${op.term}`
      }
      const found = await underWay(op, context)
      if (typeof found === 'string') return found
      const { rollout, record } = found
      const { outcome: state, reason, log } = op
      if (state === 'paused' && rollout.state === 'paused') return 'it is paused already'
      if (state === 'rolledBack') {
        if (rollout.from === null) return 'there is nothing to go back to'
        await putBackRevision(context, record, rollout.from, op.at)
      }
      await put(context, {
        ...rollout,
        ...(state !== 'paused' && { from: null }),
        state,
        reason: reason === '' ? null : reason,
        log,
        ...written(context, op.at)
      })
      return null
    }
  })
}

async function underWay(
  op: RolloutSet | RolloutEnd,
  { view }: ApplyContext
): Promise<{ rollout: RolloutRecord; record: MicroserviceRecord } | string> {
  const { application, microservice, of } = op
  const record = await view.get<MicroserviceRecord>(keys.microservice(application, microservice))
  if (record === null) return 'there is no such microservice'
  const rollout = await view.get<RolloutRecord>(keys.rollout(application, microservice))
  if (rollout === null || !isUnderWay(rollout)) return 'no rollout of it is under way'
  if (rollout.of !== of || record.op !== of) return 'another change is rolled out by now'
  return { rollout, record }
}

const put = ({ view }: ApplyContext, rollout: RolloutRecord): Promise<void> =>
  view.put(keys.rollout(rollout.application, rollout.microservice), rollout)
