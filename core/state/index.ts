/** Every op of the system on one screen, and the way from an op to the view. */
import { applicationOps, type ApplicationRm, type ApplicationSet } from './applications.ts'
import type { ApplyContext, OpDeclaration, Verdict } from './apply.ts'
import { leaseOps, type LeaseClaim } from './lease.ts'
import { meshOps, type MeshInit } from './mesh.ts'
import { microserviceOps, type MicroserviceRm, type MicroserviceSet } from './microservices.ts'
import { nodeOps, type NodeAdmit, type NodeSet } from './nodes.ts'
import { placementOps, type PlacementRm, type PlacementSet } from './placements.ts'

export type Op =
  | MeshInit //           the first writer    makes the mesh
  | NodeAdmit //          any member          lets a holder of the mesh key in
  | NodeSet //            operator, admin     labels, controller; role: admin
  | ApplicationSet //     operator            an application is there
  | ApplicationRm //      operator            it and all under it is gone
  | MicroserviceSet //    operator            what to run, how often
  | MicroserviceRm //     operator
  | LeaseClaim //         controller          I lead, term n
  | PlacementSet //       controller, claim   this slot runs on that node
  | PlacementRm //        controller, claim   this slot runs nowhere

const declarations: { [T in Op['type']]: OpDeclaration<Extract<Op, { type: T }>> } = {
  ...meshOps,
  ...nodeOps,
  ...applicationOps,
  ...microserviceOps,
  ...leaseOps,
  ...placementOps
}

/** Largest op, encoded, in bytes. A bigger value belongs into a blob. */
export const MAX_OP_BYTES = 256 * 1024

export const encodeOp = (op: Op): Buffer => Buffer.from(JSON.stringify(op))

/** The op in a block, or why it is none. Never throws. */
export function decodeOp(block: Buffer): Op | string {
  if (block.length > MAX_OP_BYTES) return `it is too large (${block.length} bytes)`
  let value: unknown
  try {
    value = JSON.parse(block.toString())
  } catch {
    return 'it is not JSON'
  }
  const type = (value as { type?: unknown } | null)?.type
  if (typeof type !== 'string' || !Object.hasOwn(declarations, type)) return 'its type is unknown'
  const declaration = declarations[type as Op['type']]
  return declaration.shape.check(value) ? value : `it has not the shape of ${type}`
}

/** Total: a refused op changes nothing. Throws only what the store throws. */
export function applyOp(op: Op, context: ApplyContext): Promise<Verdict> {
  const declaration = declarations[op.type] as OpDeclaration<Op>
  return declaration.apply(op, context)
}
