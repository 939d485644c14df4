/** Who leads my connected part of the mesh: the same answer on every node that sees the same. */
import type { NodeRecord, State } from '../../core/state/state.ts'

export interface ElectInput {
  self: string
  state: State
  alive: ReadonlySet<string>
  /** `uptimeRank` as each node gossips it; a node not heard of yet ranks 0. */
  uptimeRank: ReadonlyMap<string, number>
}

export interface Verdict {
  /** `lead` and `follow` under the current lease; `claim` the term given; `wait` for another's claim. */
  act: 'lead' | 'follow' | 'claim' | 'wait'
  /** The lease's current term; with `claim`, the one to claim. */
  term: number
  /** Node id of the holder while it is alive and may lead. */
  leader: string | null
  reason: string
}

export function elect({ self, state, alive, uptimeRank }: ElectInput): Verdict {
  const term = state.lease?.term ?? 0
  const rank = (node: NodeRecord): number => uptimeRank.get(node.id) ?? 0
  const candidates = [...state.nodes.values()]
    .filter((node) => alive.has(node.id) && mayLead(node))
    .sort((a, b) => rank(b) - rank(a) || (a.id < b.id ? -1 : 1))

  const holder = candidates.find((node) => node.id === state.lease?.node)
  if (holder) {
    const reason = `${holder.displayName} holds term ${term}`
    return { act: holder.id === self ? 'lead' : 'follow', term, leader: holder.id, reason }
  }
  const first = candidates[0]
  if (!first) return { act: 'wait', term, leader: null, reason: 'no node in reach may lead' }
  const next = `the next term, ${term + 1}, is ${first.displayName}'s to claim`
  if (first.id !== self) return { act: 'wait', term, leader: null, reason: next }
  return { act: 'claim', term: term + 1, leader: null, reason: next }
}

/** A field node, or any other, leads only where an operator lets it. */
export function mayLead(node: NodeRecord): boolean {
  return node.state === 'member' && node.controller && node.role !== 'viewer'
}
