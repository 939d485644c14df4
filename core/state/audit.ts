/** Who did what, when, over what: the last ops of people, whatever they are about. */
import { written, type ApplyContext, type ViewReader } from './apply.ts'
import { keys } from './keys.ts'
import type { OpId, Written } from './records.ts'

export const MAX_AUDIT = 1_000

export interface AuditRecord extends Written {
  /** Position in the order, from 0 on; changes when ops of others come before it. */
  n: number
  type: string
  /** What it is about: `hello/web`. */
  subject: string
  over: OpId | null
}

export async function audit(
  context: ApplyContext,
  op: { type: string; at: number; over?: OpId | null },
  subject: string
): Promise<void> {
  const { view } = context
  const n = (await view.get<number>(keys.auditNext)) ?? 0
  const over = op.over ?? null
  const record: AuditRecord = { n, type: op.type, subject, over, ...written(context, op.at) }
  await view.put(keys.audited(n % MAX_AUDIT), record)
  await view.put(keys.auditNext, n + 1)
}

/** Oldest first, at most MAX_AUDIT. */
export async function auditOf(view: ViewReader): Promise<AuditRecord[]> {
  const found = await view.list<AuditRecord>(keys.audit)
  return found.map(({ value }) => value).sort((a, b) => a.n - b.n)
}
