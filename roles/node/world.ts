/** What the mesh knows now, as roles ask for it. */
import type { StatusBody } from '../../core/gossip-records.ts'
import type { Mesh } from '../../core/mesh.ts'

export function worldOf(mesh: Mesh): { alive: Set<string>; status: Map<string, StatusBody> } {
  return { alive: mesh.alive(), status: statusOf(mesh) }
}

export function statusOf(mesh: Mesh): Map<string, StatusBody> {
  const status = new Map<string, StatusBody>()
  for (const [id, { body }] of mesh.gossip.all('status')) status.set(id, body)
  return status
}
