/** What the mesh knows now, as roles ask for it. */
import type { ExposedBody, StatusBody } from '../../core/gossip-records.ts'
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

/** What each node tells of ports it opens for microservices. */
export function exposedOf(mesh: Mesh): Map<string, ExposedBody> {
  const exposed = new Map<string, ExposedBody>()
  for (const [id, { body }] of mesh.gossip.all('exposed')) exposed.set(id, body)
  return exposed
}
