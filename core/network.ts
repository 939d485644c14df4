/**
 * The network as this node sees it: what the dialer goes by, and of each member the way to it and
 * why it is that. Pure functions of view, gossip and links.
 */
import type { LinksBody, NetBody } from './gossip-records.ts'
import type { Link } from './links.ts'
import type { NatKind } from './relay.ts'
import type { NodeRecord } from './state/state.ts'
import type { DialReport, Path } from './swarm.ts'
import type { TunnelReport } from './tunnels.ts'
import type { MeshWorld } from './whereabouts.ts'

export interface NetworkInput {
  self: string
  now: number
  nodes: ReadonlyMap<string, NodeRecord>
  alive: ReadonlySet<string>
  /** Bodies of gossip. */
  saidLinks: ReadonlyMap<string, LinksBody>
  saidNet: ReadonlyMap<string, NetBody>
  links: readonly Link[]
}

export function worldOf({
  self,
  now,
  nodes,
  alive,
  saidLinks,
  saidNet,
  links
}: NetworkInput): MeshWorld {
  const members = [...nodes.values()].filter(({ id, state }) => state === 'member' && id !== self)
  return {
    members: new Map(
      members.map(({ id }) => [
        id,
        {
          alive: alive.has(id),
          peers: saidLinks.get(id)?.peers ?? [],
          reachability: saidNet.get(id) ?? null
        }
      ])
    ),
    links: links.map(({ id, calls, since, calledAt, connection }) => ({
      id,
      calls,
      idleMs: now - Math.max(since, calledAt),
      mine: connection.isInitiator
    }))
  }
}

/** A member, and the way to it. */
export interface NetworkRow {
  id: string
  name: string
  path: 'self' | Path['kind'] | 'down'
  /** Of a relayed path, the relay; of one through others, the next of them: name of the node. */
  via: string | null
  /** HOST:PORT the packets go to; null where no link leads there. */
  address: string | null
  rttMs: number | null
  nat: NatKind
  /** How long the link is up, or down; null if it never was up since this daemon started. */
  sinceMs: number | null
  /** The data connection that flows go over; null where there is none. */
  tunnel: TunnelRow | null
  /** One sentence. */
  why: string
}

export interface TunnelRow {
  path: Path['kind']
  /** Of a relayed one, the relay: name of the node. */
  via: string | null
  /** Under way, of both ends. */
  flows: number
}

export interface RowsInput extends NetworkInput {
  /** Boot ms at which links ended. */
  endedAt: ReadonlyMap<string, number>
  pathOf(link: Link): Path
  tunnels: readonly TunnelReport[]
  dialOf(id: string): DialReport | null
}

export function networkRows(input: RowsInput): NetworkRow[] {
  const { nodes, self } = input
  const members = [...nodes.values()].filter(({ state }) => state === 'member')
  members.sort(
    (a, b) =>
      Number(b.id === self) - Number(a.id === self) || (a.displayName < b.displayName ? -1 : 1)
  )
  return members.map((record) => rowOf(record, input))
}

function rowOf({ id, displayName: name }: NodeRecord, input: RowsInput): NetworkRow {
  const { self, now, nodes, saidNet, links, endedAt } = input
  const nat = saidNet.get(id)?.nat ?? 'unknown'
  const tunnel = tunnelTo(id, input)
  const base = { id, name, via: null, address: null, rttMs: null, nat, sinceMs: null, tunnel }
  if (id === self) return { ...base, path: 'self', why: whySelf(saidNet.get(self) ?? null) }
  const link = links.find((each) => each.id === id)
  if (link === undefined) {
    const ended = endedAt.get(id)
    const sinceMs = ended === undefined ? null : Math.round(now - ended)
    const through = nextHop(id, input)
    const via = through === null ? null : (nodes.get(through)?.displayName ?? null)
    return { ...base, path: 'down', via, sinceMs, why: whyDown(via, input.dialOf(id)) }
  }
  const path = input.pathOf(link)
  const via = relayName(path, input)
  const mine = saidNet.get(self)?.nat ?? 'unknown'
  return {
    ...base,
    path: path.kind,
    via,
    address: path.address,
    rttMs: link.rttMs === null ? null : Math.round(link.rttMs * 100) / 100,
    sinceMs: Math.round(now - link.since),
    why: whyUp(path, mine, nat)
  }
}

function whySelf(mine: NetBody | null): string {
  switch (mine?.nat) {
    case 'open':
      return mine.relays ? 'openly reachable: offers itself as a relay' : 'openly reachable'
    case 'easy':
      return 'behind a NAT that keeps ports: can be punched'
    case 'symmetric':
      return 'behind a NAT that gives each peer another port: hard to punch'
    default:
      return 'nobody outside has told this node its address'
  }
}

/** Why a link takes the way it takes. */
export function whyUp({ kind }: Pick<Path, 'kind'>, mine: NatKind, theirs: NatKind): string {
  if (kind === 'lan') return 'both are on one network'
  if (kind === 'relayed') {
    return mine === 'symmetric' && theirs === 'symmetric'
      ? 'neither NAT keeps ports, so none can be punched'
      : 'not punched yet: it is tried while the relay carries on'
  }
  if (mine === 'open' && theirs === 'open') return 'both are openly reachable'
  if (theirs === 'open') return 'it is openly reachable'
  if (mine === 'open') return 'this node is openly reachable'
  if (mine === 'easy' && theirs === 'easy') return 'punched: both NATs keep ports'
  if (mine === 'easy') return `punched: this node’s NAT keeps ports${other(theirs, 'its')}`
  if (theirs === 'easy') return `punched: its NAT keeps ports${other(mine, 'this node’s')}`
  return 'punched'
}

const other = (nat: NatKind, whose: string): string =>
  nat === 'symmetric' ? `, ${whose} does not` : ''

/** Why there is none, and what is done about it. */
export function whyDown(via: string | null, dial: DialReport | null): string {
  const failure = dial === null || dial.lastError === null ? '' : `, last error: ${dial.lastError}`
  if (dial?.dialling === true) return `dialling${failure}`
  if (via !== null) return `no link needed: reached through ${via}`
  if (dial === null) return 'its neighbours look for it'
  const next = dial.nextInMs === null ? '' : `, next try in ${Math.ceil(dial.nextInMs / 1000)} s`
  return `not reached${failure}${next}`
}

/** Each end may have opened one: its own is what new flows take. */
function tunnelTo(id: string, input: RowsInput): TunnelRow | null {
  const both = input.tunnels.filter(({ node }) => node === id)
  const first = both.find(({ mine }) => mine) ?? both[0]
  if (first === undefined) return null
  const flows = both.reduce((sum, each) => sum + each.flows, 0)
  return { path: first.path.kind, via: relayName(first.path, input), flows }
}

function relayName({ relayKey: key }: Path, { saidNet, nodes }: RowsInput): string | null {
  if (key === null) return null
  const relay = [...saidNet].find(([, { relayKey }]) => relayKey === key)?.[0]
  return relay === undefined ? null : (nodes.get(relay)?.displayName ?? null)
}

/** The first of my peers on the shortest way there; null where no way is known. */
export function nextHop(
  target: string,
  { self, links, alive, saidLinks }: Pick<NetworkInput, 'self' | 'links' | 'alive' | 'saidLinks'>
): string | null {
  if (!alive.has(target)) return null
  const first = new Map(links.map(({ id }) => [id, id]))
  for (const [at, hop] of first) {
    if (at === target) return hop
    for (const next of saidLinks.get(at)?.peers ?? []) {
      if (next !== self && alive.has(next) && !first.has(next)) first.set(next, hop)
    }
  }
  return null
}
