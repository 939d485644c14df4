/** Placements: which node runs which slot. Written by whoever leads, under a stored claim. */
import {
  declare,
  mayControl,
  mayOperate,
  written,
  type ApplyContext,
  type Verdict,
  type ViewBatch
} from './apply.ts'
import { keys } from './keys.ts'
import { hasClaimed } from './lease.ts'
import { name, nodeId } from './names.ts'
import { integer, literal, nullable, object, optional, pattern, text, type Infer } from './shape.ts'
import type {
  HomeRecord,
  MicroserviceRecord,
  MoveRecord,
  NodeRecord,
  PlacementRecord
} from './state.ts'
import { noteHome } from './volumes.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)
const term = integer(1, Number.MAX_SAFE_INTEGER)
const slot = integer(0, 99_999)

/** UTF-16 units. */
export const MAX_REASON = 500

const set = object({
  type: literal('placement.set'),
  application: name,
  microservice: name,
  slot,
  node: nodeId,
  revision: pattern(/^[0-9a-f]{16}$/),
  /** Heeded since format 2. */
  moved: optional(object({ from: nodeId, why: literal('silent', 'asked') })),
  /** Why it is there, for people; kept since format 2. */
  reason: optional(text(MAX_REASON)),
  term,
  at
})
export type PlacementSet = Infer<typeof set>

const rm = object({
  type: literal('placement.rm'),
  application: name,
  microservice: name,
  slot,
  term,
  at
})
export type PlacementRm = Infer<typeof rm>

const move = object({
  type: literal('slot.move'),
  application: name,
  microservice: name,
  slot,
  /** null: it may stay where it is. */
  node: nullable(nodeId),
  at
})
export type SlotMove = Infer<typeof move>

export const placementOps = {
  'slot.move': declare<SlotMove>({
    shape: move,
    since: 2,
    audit: ({ application, microservice, slot }) => `${application}/${microservice}/${slot}`,
    async apply(op, context) {
      const { view } = context
      if (!mayOperate(context)) return 'its author may not move replicas'
      const { application, microservice, slot, node } = op
      const key = keys.move(application, microservice, slot)
      if (node === null) {
        await view.del(key)
        return null
      }
      const now =
        (await view.get<PlacementRecord>(keys.placement(application, microservice, slot))) ??
        (await homeOf(op, view))
      if (now === null) return 'there is no such replica'
      if ((await view.get<NodeRecord>(keys.node(node)))?.state !== 'member') {
        return 'there is no such node'
      }
      if (now.node === node) await view.del(key)
      else {
        const wish: MoveRecord = {
          application,
          microservice,
          slot,
          node,
          ...written(context, op.at)
        }
        await view.put(key, wish)
      }
      return null
    }
  }),

  'placement.set': declare<PlacementSet>({
    shape: set,
    async apply(op, context) {
      const refusal = await mayPlace(op, context)
      if (refusal !== null) return refusal
      const { application, microservice, slot, node, revision, term, moved, reason } = op
      const { view, format } = context
      const of = await context.view.get<MicroserviceRecord>(
        keys.microservice(application, microservice)
      )
      if (of === null) return 'there is no such microservice'
      if (of.spec.replicas !== 'all' && slot >= of.spec.replicas) return 'there is no such slot'
      const target = await context.view.get<NodeRecord>(keys.node(node))
      if (target?.state !== 'member') return 'there is no such node'
      const record: PlacementRecord = {
        application,
        microservice,
        slot,
        node,
        revision,
        term,
        ...(format >= 2 && moved !== undefined && { moved }),
        ...(format >= 2 && reason !== undefined && { reason }),
        ...written(context, op.at)
      }
      await view.put(keys.placement(application, microservice, slot), record)
      if (format >= 2) await noteHome(view, of, record)
      const wish = keys.move(application, microservice, slot)
      if (format >= 2 && (await view.get<MoveRecord>(wish))?.node === node) await view.del(wish)
      return null
    }
  }),

  'placement.rm': declare<PlacementRm>({
    shape: rm,
    async apply(op, context) {
      const refusal = await mayPlace(op, context)
      if (refusal !== null) return refusal
      await context.view.del(keys.placement(op.application, op.microservice, op.slot))
      if (context.format >= 2) {
        await context.view.del(keys.move(op.application, op.microservice, op.slot))
      }
      return null
    }
  })
}

/** Where the volumes of a slot are that is asked for and has no place. */
async function homeOf(
  { application, microservice, slot }: SlotMove,
  view: ViewBatch
): Promise<HomeRecord | null> {
  const of = await view.get<MicroserviceRecord>(keys.microservice(application, microservice))
  if (of === null || of.spec.replicas === 'all' || slot >= of.spec.replicas) return null
  return view.get<HomeRecord>(keys.home(application, microservice, slot))
}

/** Both sides of a merge made theirs under a claim of their own; the later by slot stands. */
async function mayPlace(
  op: PlacementSet | PlacementRm,
  { view, author, ...context }: ApplyContext
): Promise<Verdict> {
  if (!mayControl({ view, author, ...context }) || author === null)
    return 'its author may not place'
  if (!(await hasClaimed(view, author.id, op.term))) {
    return `its author has no claim of term ${op.term}`
  }
  const key = keys.placement(op.application, op.microservice, op.slot)
  const current = await view.get<PlacementRecord>(key)
  if (current !== null && op.term < current.term) return 'a later term has placed this slot'
  return null
}
