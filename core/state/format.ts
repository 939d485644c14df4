/**
 * The format of the view: which ops there are and what they do. A new one acts only after a person
 * said so (`brume upgrade`), in the order, so that no two nodes ever make two views of one oplog.
 */
import { declare, mayOperate } from './apply.ts'
import { keys } from './keys.ts'
import { integer, literal, object, type Infer } from './shape.ts'

const activate = object({
  type: literal('format.activate'),
  format: integer(2, 1_000_000),
  at: integer(0, Number.MAX_SAFE_INTEGER)
})
export type FormatActivate = Infer<typeof activate>

export const formatOps = {
  'format.activate': declare<FormatActivate>({
    shape: activate,
    async apply(op, context) {
      if (!mayOperate(context)) return 'only operators and admins upgrade a mesh'
      if (op.format <= context.format) return null
      await context.view.put(keys.format, op.format)
      return null
    }
  })
}
