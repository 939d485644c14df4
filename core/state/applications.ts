/** Applications: a name over microservices. Removing one removes what is under it. */
import { declare, mayOperate, written } from './apply.ts'
import { keys } from './keys.ts'
import { name } from './names.ts'
import { integer, literal, nullable, object, text, type Infer } from './shape.ts'
import type { ApplicationRecord, MicroserviceRecord } from './state.ts'
import { dropMicroservice } from './microservices.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)

const set = object({
  type: literal('application.set'),
  name,
  over: nullable(text(80)),
  at
})
export type ApplicationSet = Infer<typeof set>

const rm = object({ type: literal('application.rm'), name, at })
export type ApplicationRm = Infer<typeof rm>

export const applicationOps = {
  'application.set': declare<ApplicationSet>({
    shape: set,
    async apply(op, context) {
      if (!mayOperate(context)) return 'its author may not deploy'
      const record: ApplicationRecord = { name: op.name, ...written(context, op.at) }
      await context.view.put(keys.application(op.name), record)
      return null
    }
  }),

  'application.rm': declare<ApplicationRm>({
    shape: rm,
    async apply(op, context) {
      if (!mayOperate(context)) return 'its author may not remove applications'
      const under = await context.view.list<MicroserviceRecord>(keys.microservicesOf(op.name))
      for (const { value } of under) await dropMicroservice(context.view, op.name, value.name)
      await context.view.del(keys.application(op.name))
      return null
    }
  })
}
