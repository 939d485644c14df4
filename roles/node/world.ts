/** What the mesh knows now, as roles ask for it. */
import type { StatusBody } from '../../core/gossip-records.ts'
import type { Mesh } from '../../core/mesh.ts'

/** Roles look at a change at once, and at what many ops make of it. */
export const VIEW_MS = 100

export function worldOf(mesh: Mesh): { alive: Set<string>; status: Map<string, StatusBody> } {
  return { alive: mesh.alive(), status: statusOf(mesh) }
}

export function statusOf(mesh: Mesh): Map<string, StatusBody> {
  const status = new Map<string, StatusBody>()
  for (const [id, { body }] of mesh.gossip.all('status')) status.set(id, body)
  return status
}
