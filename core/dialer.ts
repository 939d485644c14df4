/**
 * Whom to dial, and which link to let go: pure functions of members, links, earlier dials and now.
 *
 * A mesh is a connected graph of few links a node. Each node keeps links to its neighbours on a
 * ring over all ids, and to those on the ring of who is alive, so that a dead node closes no gap
 * for ever; others, the same at both ends of a pair, make the graph small and hard to cut.
 */

/** Links a node makes by itself; a mesh of one node more is a full one. */
export const TARGET_LINKS = 6
/** Beyond this many links, one that nobody needs is let go. */
export const MAX_LINKS = 8
/** No link of a stranger to the ring is taken beyond this: calls on demand have room until here. */
export const HARD_LINKS = 24
export const MAX_DIALS = 3

/** Neighbours on each side of the ring. */
const REACH = 2
/** What a link made on demand is kept for after its last call. */
const IDLE_LINK_MS = 60_000
const BACKOFF_MS = [1_000, 2_000, 4_000, 6_000]
/** Of who is no member here: it knocks by itself if it is one soon. */
const STRANGER_BACKOFF_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]

export interface Candidate {
  alive: boolean
  /** Links it says it has. */
  degree: number
}

export interface DialState {
  /** Failed ones since the last that succeeded. */
  attempts: number
  nextAt: number
  /** null while none is under way. */
  startedAt: number | null
}

export interface DialInput {
  self: string
  now: number
  /** The other members. */
  members: ReadonlyMap<string, Candidate>
  /** Ids found on the topic or the LAN that are no members here. */
  strangers: ReadonlySet<string>
  /** Asked for by a call. */
  wanted: ReadonlySet<string>
  links: ReadonlySet<string>
  dials: ReadonlyMap<string, DialState>
}

export interface Dial {
  id: string
  why: 'a call' | 'ring' | 'degree' | 'lost' | 'found'
}

/** Dials to begin now, in their order, and when to ask again at the latest. */
export function whomToDial(input: DialInput): { dials: Dial[]; wakeAt: number } {
  const { strangers, wanted, links, dials, now } = input
  const open = (id: string): boolean =>
    !links.has(id) && (dials.get(id)?.startedAt ?? null) === null
  const running = [...dials.values()].filter(({ startedAt }) => startedAt !== null).length
  const due = (id: string): number => dials.get(id)?.nextAt ?? 0

  const choices = new Map<string, Dial['why']>()
  const choose = (ids: Iterable<string>, why: Dial['why']): void => {
    for (const id of ids) if (open(id) && !choices.has(id)) choices.set(id, why)
  }
  choose(wanted, 'a call')
  choose(ringOf(input), 'ring')
  choose(othersOf(input), 'degree')
  choose(probesOf(input), 'lost')
  if (links.size < TARGET_LINKS) choose(strangers, 'found')

  const waiting = [...choices].map(([id, why]) => ({ id, why }))
  const later = waiting.map(({ id }) => due(id)).filter((at) => at > now)
  const ready = waiting.filter(({ id }) => due(id) <= now)
  // Among equals who was tried least: many dead members must not hide one that is back.
  const rank = (dial: Dial): number => (dial.why === 'a call' ? 0 : 1)
  ready.sort(
    (a, b) =>
      rank(a) - rank(b) ||
      attemptsOf(input, a.id) - attemptsOf(input, b.id) ||
      due(a.id) - due(b.id)
  )
  return {
    dials: ready.slice(0, Math.max(0, MAX_DIALS - running)),
    wakeAt: Math.min(...later, Infinity)
  }
}

/** ms to wait after the nth failure in a row; `random` is in [0, 1). */
export function backoffMs(attempts: number, member: boolean, random: number): number {
  const ladder = member ? BACKOFF_MS : STRANGER_BACKOFF_MS
  const base = ladder[Math.min(attempts, ladder.length) - 1] ?? 0
  return Math.round(base * (0.8 + random * 0.4))
}

export interface HeldLink {
  id: string
  /** Calls under way, of both ends. */
  calls: number
  /** ms since it came up, or since its last call. */
  idleMs: number
  /** This end made it. */
  mine: boolean
}

/**
 * One link to let go, or null: never one of the ring, one in use, or one that is young; nor, up to
 * `MAX_LINKS`, one that its other end would have to replace. A mesh that grew node by node has many
 * that both ends can do without.
 */
export function linkToDrop(
  input: Pick<DialInput, 'self' | 'members'> & { links: readonly HeldLink[] }
): string | null {
  const { self, members, links } = input
  if (links.length <= TARGET_LINKS) return null
  const ring = ringOf({ ...input, links: new Set(links.map(({ id }) => id)) })
  const isSpare = (id: string): boolean =>
    links.length > MAX_LINKS || (members.get(id)?.degree ?? 0) > TARGET_LINKS + 1
  const free = links.filter(
    ({ id, calls, idleMs }) => calls === 0 && idleMs >= IDLE_LINK_MS && !ring.has(id) && isSpare(id)
  )
  // Who made it knows best that it is not needed; of those the one that both ends like least.
  free.sort(
    (a, b) => Number(b.mine) - Number(a.mine) || pairRank(self, b.id) - pairRank(self, a.id)
  )
  return free[0]?.id ?? null
}

/**
 * Whether a node that is heard on the LAN is dialled at once: on a LAN all are heard, and each would
 * have a link to all others, or try to. `isAlive` is false of a member that is held for dead.
 */
export const dialsHeard = ({ links, isAlive }: { links: number; isAlive: boolean }): boolean =>
  links < TARGET_LINKS || !isAlive

/** Whether a link that the other end made is taken. */
export function takesLink(
  id: string,
  input: Pick<DialInput, 'self' | 'members' | 'links'>
): boolean {
  if (input.links.has(id) || input.links.size < MAX_LINKS) return true
  return input.links.size < HARD_LINKS || ringOf(input).has(id)
}

/** My neighbours among all members, and among those that are alive. The same seen from both ends. */
export function ringOf({
  self,
  members,
  links
}: Pick<DialInput, 'self' | 'members' | 'links'>): Set<string> {
  const living = [...members].filter(([id, { alive }]) => alive || links.has(id)).map(([id]) => id)
  return new Set([...neighbours(self, [...members.keys()]), ...neighbours(self, living)])
}

function neighbours(self: string, others: string[]): string[] {
  const ring = [...others, self].sort()
  const at = ring.indexOf(self)
  const found = new Set<string>()
  for (let step = 1; step <= REACH; step++) {
    for (const i of [at + step, at - step]) {
      const id = ring[(i + ring.length * REACH) % ring.length]
      if (id !== undefined && id !== self) found.add(id)
    }
  }
  return [...found]
}

/** So many living members with room that the target is reached, those first that like me too. */
function othersOf(input: DialInput): string[] {
  const { self, members, links, dials } = input
  const lacking = TARGET_LINKS - links.size
  if (lacking <= 0) return []
  const full = members.size <= TARGET_LINKS
  return [...members]
    .filter(([id, { alive, degree }]) => alive && !links.has(id) && (full || degree < MAX_LINKS))
    .map(([id]) => id)
    .sort((a, b) => pairRank(self, a) - pairRank(self, b))
    .filter((id) => (dials.get(id)?.nextAt ?? 0) <= input.now)
    .slice(0, lacking)
}

/**
 * Members that are not alive and no neighbours: all of them while this node is alone or the mesh
 * small, else one at a time, so that two parts find each other whoever died between them.
 */
function probesOf(input: DialInput): string[] {
  const { members, links, dials } = input
  const ring = ringOf(input)
  const lost = [...members].filter(([id, { alive }]) => !alive && !links.has(id) && !ring.has(id))
  const ids = lost.map(([id]) => id)
  if (links.size === 0 || members.size <= TARGET_LINKS) return ids
  if (ids.some((id) => (dials.get(id)?.startedAt ?? null) !== null)) return []
  const oldest = ids.sort((a, b) => (dials.get(a)?.nextAt ?? 0) - (dials.get(b)?.nextAt ?? 0))
  return oldest.slice(0, 1)
}

const attemptsOf = ({ dials }: DialInput, id: string): number => dials.get(id)?.attempts ?? 0

/** The same for both ends: an edge that one chooses the other chooses too. FNV-1a. */
export function pairRank(a: string, b: string): number {
  let value = 0x811c9dc5
  for (const char of a < b ? a + b : b + a) {
    value = Math.imul(value ^ char.charCodeAt(0), 0x01000193) >>> 0
  }
  return value
}
