/**
 * Who is alive, for me: pure functions of the links nodes gossip, my own links and now. Times are
 * boot-clock ms of this machine (they go on while it sleeps); nobody else's clock is ever asked.
 */
import type { LinksBody } from './gossip-records.ts'

/** A node's newest `links` record and when it reached me; `receivedAt: -Infinity` off the disk. */
export interface HeardLinks {
  body: LinksBody
  receivedAt: number
}

/**
 * The nodes I can reach over edges that stand, myself included. My own edges are `myPeers`, whatever
 * others say. Any other edge stands while the newest records of both its ends list it and neither
 * is older, by my receipt, than two refreshes: a dead node's last word keeps nobody alive.
 */
export function aliveNodes(input: {
  self: string
  myPeers: ReadonlySet<string>
  links: ReadonlyMap<string, HeardLinks>
  now: number
  refreshMs: number
}): Set<string> {
  const edges = standingEdges(input)
  const alive = new Set([input.self, ...input.myPeers])
  for (const id of alive) for (const next of edges.get(id) ?? []) alive.add(next)
  return alive
}

/**
 * When each node was last heard, in boot ms: the newest of my own last frame from it, for each link
 * to it that others say ended the receipt of that word less the silence it names, and the last
 * sign of a node whose link to it still stands (who is cut off behind a dead node was well until
 * then). Nodes of whom there is no sign are absent.
 */
export function lastHeard(input: {
  self: string
  /** Boot ms of the last frame on a link of mine. */
  lastFrame: ReadonlyMap<string, number>
  links: ReadonlyMap<string, HeardLinks>
  now: number
  refreshMs: number
}): Map<string, number> {
  const heard = new Map<string, number>()
  const note = (id: string, at: number): void => {
    if (id !== input.self && at > (heard.get(id) ?? -Infinity)) heard.set(id, at)
  }
  for (const [id, at] of input.lastFrame) note(id, at)
  for (const [by, { body, receivedAt }] of input.links) {
    if (by === input.self) continue
    for (const { peer, silentMs } of body.ended) note(peer, receivedAt - silentMs)
  }
  const edges = standingEdges(input)
  const open = [...heard].sort(([, a], [, b]) => b - a).map(([id]) => id)
  for (const id of open) {
    const at = heard.get(id) ?? -Infinity
    for (const next of edges.get(id) ?? []) {
      if (next === input.self || at <= (heard.get(next) ?? -Infinity)) continue
      heard.set(next, at)
      open.push(next)
    }
  }
  return heard
}

/**
 * How long each of `nodes` that is not alive has been silent, in ms. Nobody's silence is older than
 * `since`, the boot ms at which I began to listen (start of the daemon, or a gap in its own tick):
 * while I did not listen, not hearing proves nothing.
 */
export function silentMs(
  input: Parameters<typeof lastHeard>[0] & {
    nodes: Iterable<string>
    alive: ReadonlySet<string>
    since: number
  }
): Map<string, number> {
  const heard = lastHeard(input)
  const silent = new Map<string, number>()
  for (const id of input.nodes) {
    if (input.alive.has(id)) continue
    silent.set(id, Math.max(0, input.now - Math.max(heard.get(id) ?? -Infinity, input.since)))
  }
  return silent
}

/** Edges between others, both ways. */
function standingEdges(input: {
  self: string
  links: ReadonlyMap<string, HeardLinks>
  now: number
  refreshMs: number
}): Map<string, Set<string>> {
  const listed = new Map<string, Set<string>>()
  for (const [id, { body, receivedAt }] of input.links) {
    const young = input.now - receivedAt <= 2 * input.refreshMs
    if (id !== input.self && young) listed.set(id, new Set(body.peers))
  }
  const edges = new Map<string, Set<string>>()
  for (const [id, peers] of listed) {
    edges.set(id, new Set([...peers].filter((p) => listed.get(p)?.has(id) === true)))
  }
  return edges
}
