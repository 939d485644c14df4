/** All of a part stand on one order of ops, and agree on who confirms it. */
import { isDeepStrictEqual } from 'node:util'
import type { Host } from '../host.ts'

export function oneOrder(part: Host[]): string[] {
  const [first] = part
  if (first === undefined) return []
  const found: string[] = []
  for (const { name, mesh } of part) {
    const { id, epoch } = mesh.oplog.fork
    if (id !== first.mesh.oplog.fork.id) {
      found.push(`${name} stands on fork ${epoch}, not on ${first.mesh.oplog.fork.epoch}`)
    }
    if (mesh.follower.ahead() !== null) found.push(`${name} knows of an order ahead of its own`)
    if (mesh.state.indexers.length === 0) found.push(`${name} knows nobody who confirms the order`)
    const theirs = [...mesh.state.indexers].sort()
    if (!isDeepStrictEqual(theirs, [...first.mesh.state.indexers].sort())) {
      const said = [theirs, first.mesh.state.indexers].map((ids) => namesOf(ids, first).join(' '))
      found.push(`${name} and ${first.name} differ on who confirms the order: ${said.join(' | ')}`)
    }
  }
  return found
}

const namesOf = (ids: string[], { mesh }: Host): string[] =>
  ids.map((id) => mesh.state.nodes.get(id)?.name ?? id.slice(0, 6)).sort()
