/** Every op of the system on one screen, and the way from an op to the view. */
import { applicationOps, type ApplicationRm, type ApplicationSet } from './applications.ts'
import type { ApplyContext, OpDeclaration, Verdict } from './apply.ts'
import { audit } from './audit.ts'
import { drop } from './dropped.ts'
import { formatOps, type FormatActivate } from './format.ts'
import { indexerOps, type IndexerSet } from './indexers.ts'
import { inviteOps, type InviteRm, type InviteSet } from './invites.ts'
import {
  joinKeyOps,
  type KeyRotate,
  type KeySeal,
  type MeshLock,
  type MeshUnlock
} from './join-keys.ts'
import { keys } from './keys.ts'
import { leaseOps, type LeaseClaim } from './lease.ts'
import { FORMAT, meshOps, type MeshInit } from './mesh.ts'
import { microserviceOps, type MicroserviceRm, type MicroserviceSet } from './microservices.ts'
import {
  nodeOps,
  type NodeAdmit,
  type NodeApprove,
  type NodeLeave,
  type NodeRm,
  type NodeSet
} from './nodes.ts'
import { placementOps, type PlacementRm, type PlacementSet, type SlotMove } from './placements.ts'
import { recoverOps, type MeshRecover } from './recover.ts'
import { rolloutOps, type RolloutEnd, type RolloutSet } from './rollout-ops.ts'
import { serviceOps, type ServiceRm, type ServiceSet } from './services.ts'
import type { NodeRecord } from './state.ts'

export type Op =
  | MeshInit //           the first writer    makes the mesh
  | MeshLock //           admin               the mesh key lets nobody in
  | MeshUnlock //         admin
  | KeyRotate //          admin               another mesh key
  | KeySeal //            admin               its secret, in boxes for members
  | InviteSet //          admin               a join key with a role, an end and uses
  | InviteRm //           admin
  | NodeAdmit //          any member          lets a holder of a join key in
  | NodeSet //            operator, admin     name, labels, controller, lost; role: admin
  | NodeApprove //        admin               who waits is a member
  | NodeRm //             admin               its ops count no more, the mesh key dies with it
  | NodeLeave //          the node itself
  | ApplicationSet //     operator            an application is there
  | ApplicationRm //      operator            it and all under it is gone
  | MicroserviceSet //    operator            what to run, how often
  | MicroserviceRm //     operator
  | ServiceSet //         operator            an address outside has a name
  | ServiceRm //          operator
  | LeaseClaim //         controller          I lead, term n
  | PlacementSet //       controller, claim   this slot runs on that node
  | PlacementRm //        controller, claim   this slot runs nowhere
  | SlotMove //           operator            this slot should run on that node
  | RolloutSet //         operator            it stands still, goes on, follows its canaries
  | RolloutEnd //         controller, claim   the revision is everywhere, or it failed
  | IndexerSet //         controller, claim   this node confirms the order, or no longer; admin
  | MeshRecover //        admin               the survivors go on without lost indexers
  | FormatActivate //     operator            ops of a newer format act from here on

type Declarations = Record<string, OpDeclaration<Op>>

const declarations: { [T in Op['type']]: OpDeclaration<Extract<Op, { type: T }>> } = {
  ...meshOps,
  ...joinKeyOps,
  ...inviteOps,
  ...nodeOps,
  ...applicationOps,
  ...microserviceOps,
  ...serviceOps,
  ...leaseOps,
  ...placementOps,
  ...rolloutOps,
  ...indexerOps,
  ...recoverOps,
  ...formatOps
}

/** Largest op, encoded, in bytes. A bigger value belongs into a blob. */
export const MAX_OP_BYTES = 256 * 1024

export const encodeOp = (op: Op): Buffer => Buffer.from(JSON.stringify(op))

/** What a version of brume knows: its newest format, and the ops up to it. */
export interface Operations {
  readonly format: number
  /** The op in a block, or why it is none. Never throws. */
  decode(block: Buffer): Op | string
  /**
   * Total: a refused op changes nothing, and is listed where its author was no member when its turn
   * came. Throws only what the store throws.
   */
  apply(op: Op, context: ApplyContext): Promise<Verdict>
}

/** The ops of this version; in tests, with those of a later one. */
export function operations(
  format = FORMAT,
  later: Record<string, OpDeclaration<never>> = {}
): Operations {
  const known = { ...declarations, ...later } as unknown as Declarations
  return {
    format,
    decode: (block) => decode(block, known),
    apply: (op, context) => apply(op, known[op.type] as OpDeclaration<Op>, context)
  }
}

const own = operations()
export const decodeOp = (block: Buffer): Op | string => own.decode(block)
export const applyOp = (op: Op, context: ApplyContext): Promise<Verdict> => own.apply(op, context)

function decode(block: Buffer, known: Declarations): Op | string {
  if (block.length > MAX_OP_BYTES) return `it is too large (${block.length} bytes)`
  let value: unknown
  try {
    value = JSON.parse(block.toString())
  } catch {
    return 'it is not JSON'
  }
  const type = (value as { type?: unknown } | null)?.type
  if (typeof type !== 'string' || !Object.hasOwn(known, type)) return 'its type is unknown'
  return known[type]?.shape.check(value) === true ? value : `it has not the shape of ${type}`
}

async function apply(
  op: Op,
  declaration: OpDeclaration<Op>,
  context: ApplyContext
): Promise<Verdict> {
  const { author, format, view } = context
  if ((declaration.since ?? 1) > format) return `format ${declaration.since} is not active yet`
  if (author !== null && author.state !== 'member') {
    const about = 'node' in op ? op.node : null
    const node = about === null ? null : await view.get<NodeRecord>(keys.node(about))
    if (declaration.mayBeOutside?.(op, author, node) !== true) {
      await drop(op, context)
      return `its author is ${author.state}`
    }
  }
  const verdict = await declaration.apply(op, context)
  if (verdict === null && declaration.audit && author !== null) {
    await audit(context, op, declaration.audit(op, author.id))
  }
  return verdict
}
