/**
 * Who is alive, for me: pure functions of the links nodes gossip, my own links and now. Times are
 * boot-clock ms of this machine (they go on while it sleeps); nobody else's clock is ever asked.
 *
 * A node that lies can hurt only itself: an edge needs the word of both its ends; an old word
 * replayed has its peers' words against it, and does not answer; and no third node's word makes a
 * silence begin later than the moment at which I last saw the node alive.
 */
import type { LinksBody } from './gossip-records.ts'

/** A node's newest `links` record and when it reached me; `receivedAt: -Infinity` off the disk. */
export interface HeardLinks {
  body: LinksBody
  seq: number
  receivedAt: number
}

interface View {
  self: string
  links: ReadonlyMap<string, HeardLinks>
  now: number
  refreshMs: number
}

/**
 * So long a node has to answer a peer that no longer lists it: notice that the link ended, or say
 * that it did not. Who is dead and kept by one peer's word answers nobody.
 */
export const ANSWER_MS = 5_000

/**
 * The nodes I can reach over edges that stand, myself included. My own edges are `myPeers`, whatever
 * others say. Any other edge stands while the newest records of both its ends list it and neither
 * is older, by my receipt, than two refreshes (a dead node's last word keeps nobody alive), nor left
 * a peer's word against it unanswered: `disputedSince` says since which boot ms `disputed` has
 * named a node.
 */
export function aliveNodes(
  input: View & {
    myPeers: ReadonlySet<string>
    disputedSince: ReadonlyMap<string, number>
  }
): Set<string> {
  const edgesOf = standingEdges(input)
  const alive = new Set([input.self, ...input.myPeers])
  for (const id of alive) for (const next of edgesOf(id)) alive.add(next)
  return alive
}

/**
 * Nodes that list a peer whose newest record does not list them, and have not said that they know
 * of that record.
 */
export function disputed(input: View): Set<string> {
  const listed = listedBy(input)
  const mine = input.links.get(input.self)
  if (mine !== undefined) listed.set(input.self, peersOf(mine.body))
  const found = new Set<string>()
  for (const [id, peers] of listed) {
    if (id === input.self) continue
    const answers = new Map(input.links.get(id)?.body.answers.map((each) => [each.peer, each.seq]))
    for (const peer of peers) {
      const theirs = listed.get(peer)
      if (theirs === undefined || theirs.has(id)) continue
      if ((input.links.get(peer)?.seq ?? 0) > (answers.get(peer) ?? -1)) found.add(id)
    }
  }
  return found
}

/** Which peers of mine, by their newest records, do not list me: what my `answers` should say. */
export function answersOf(input: View & { myPeers: Iterable<string> }): LinksBody['answers'] {
  const answers: LinksBody['answers'] = []
  const listed = listedBy(input)
  for (const peer of input.myPeers) {
    const record = input.links.get(peer)
    if (record !== undefined && listed.get(peer)?.has(input.self) === false) {
      answers.push({ peer, seq: record.seq })
    }
  }
  return answers.sort((a, b) => (a.peer < b.peer ? -1 : 1))
}

/**
 * When each node was last heard, in boot ms: the newest of my own last frame from it, for each link
 * to it that others say ended the receipt of that word less the silence it names, and the last
 * sign of a node whose link to it still stands (who is cut off behind a dead node was well until
 * then). Nodes of whom there is no sign are absent.
 */
export function lastHeard(
  input: View & {
    /** Boot ms of the last frame on a link of mine. */
    lastFrame: ReadonlyMap<string, number>
    disputedSince: ReadonlyMap<string, number>
  }
): Map<string, number> {
  const heard = new Map<string, number>()
  const note = (id: string, at: number): void => {
    if (id !== input.self && at > (heard.get(id) ?? -Infinity)) heard.set(id, at)
  }
  for (const [id, at] of input.lastFrame) note(id, at)
  for (const [by, { body, receivedAt }] of input.links) {
    if (by === input.self) continue
    for (const { peer, silentMs } of body.ended) note(peer, receivedAt - silentMs)
  }
  const edgesOf = standingEdges({ ...input, myPeers: new Set() })
  const open = [...heard].sort(([, a], [, b]) => b - a).map(([id]) => id)
  for (const id of open) {
    const at = heard.get(id) ?? -Infinity
    for (const next of edgesOf(id)) {
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
 * while I did not listen, not hearing proves nothing. Nor younger than `lastAlive`, the boot ms at
 * which the node was last in my set of alive nodes, whatever others say they heard since.
 */
export function silentMs(
  input: Parameters<typeof lastHeard>[0] & {
    nodes: Iterable<string>
    alive: ReadonlySet<string>
    lastAlive: ReadonlyMap<string, number>
    since: number
  }
): Map<string, number> {
  const silent = new Map<string, number>()
  const missing = [...input.nodes].filter((id) => !input.alive.has(id))
  if (missing.length === 0) return silent
  const heard = lastHeard(input)
  for (const id of missing) {
    const seen = input.lastAlive.get(id) ?? -Infinity
    const at = Math.max(Math.min(heard.get(id) ?? seen, seen), input.since)
    silent.set(id, Math.max(0, input.now - at))
  }
  return silent
}

/** Edges between others: whom a node lists that lists it. */
function standingEdges(input: Parameters<typeof aliveNodes>[0]): (id: string) => string[] {
  const listed = listedBy(input)
  for (const [id, since] of input.disputedSince) {
    // Whom I hear myself need not tell others that it lives.
    if (input.myPeers.has(id)) continue
    const lastWord = Math.max(since, input.links.get(id)?.receivedAt ?? -Infinity)
    if (input.now - lastWord >= ANSWER_MS) listed.delete(id)
  }
  return (id) => [...(listed.get(id) ?? [])].filter((peer) => listed.get(peer)?.has(id) === true)
}

/** Whom each other node lists, where its word is young enough. */
function listedBy({ self, links, now, refreshMs }: View): Map<string, ReadonlySet<string>> {
  const listed = new Map<string, ReadonlySet<string>>()
  for (const [id, { body, receivedAt }] of links) {
    const young = now - receivedAt <= 2 * refreshMs
    if (id !== self && young) listed.set(id, peersOf(body))
  }
  return listed
}

/** Each record is looked at many times, and a body never changes. */
const peerSets = new WeakMap<LinksBody, ReadonlySet<string>>()

function peersOf(body: LinksBody): ReadonlySet<string> {
  const known = peerSets.get(body)
  if (known !== undefined) return known
  const peers = new Set(body.peers)
  peerSets.set(body, peers)
  return peers
}
