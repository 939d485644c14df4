/**
 * Which members confirm the order of ops: one of a small mesh, three of one with three that fit,
 * five of a large one. A pure function; it proposes one change at a time, and none without need: an
 * indexer that is alive and fits stays, however good another would be.
 */
import type { NodeRecord, State } from '../../core/state/state.ts'
import { quorumOf } from '../../core/state/recover.ts'

export interface IndexersInput {
  state: State
  alive: ReadonlySet<string>
  /** For how long each of the alive has been so without a gap, for this node. */
  aliveMs: ReadonlyMap<string, number>
  /** Of every node that is not alive; one that is absent counts as silent for ever. */
  silentMs: ReadonlyMap<string, number>
  uptimeRank: ReadonlyMap<string, number>
  /** Whether many ops are not confirmed yet. */
  merging: boolean
  /** How long a node must have been alive to be chosen, and silent to be replaced. */
  stableMs: number
}

export interface IndexerChange {
  /** Node id. */
  node: string
  indexer: boolean
  reason: string
}

export interface IndexerPlan {
  change: IndexerChange | null
  /** When time alone may lead to a change; null if it cannot. */
  againInMs: number | null
}

export const STABLE_MS = 60_000
/** What is merged tells nobody when it is. */
const MERGED_LOOK_MS = 5_000

/** From so many nodes that fit five confirm, and again three below the second number. */
const LARGE = 20
const NO_LONGER_LARGE = 15

export function chooseIndexers(input: IndexersInput): IndexerPlan {
  const { state, alive } = input
  const indexers = state.indexers.flatMap((id) => state.nodes.get(id) ?? [])
  const confirming = indexers.filter(({ id }) => alive.has(id)).length
  // Without a quorum no change would be confirmed either: that is `brume recover`'s.
  if (indexers.length === 0 || confirming < quorumOf(indexers.length)) return NOTHING

  const wanted = wantedNumber(input, indexers)
  const free = [...state.nodes.values()]
    .filter((node) => !state.indexers.includes(node.id) && isStable(node, input))
    .sort(by(input))
  const next = free[0] ?? null
  const may = (node: NodeRecord): boolean => staysConfirmed(node, indexers, alive)
  const [least] = [...indexers].sort(
    (a, b) => standing(a, input) - standing(b, input) || (a.id < b.id ? 1 : -1)
  )

  const ended = indexers.find((node) => node.state !== 'member' || node.lost)
  if (ended !== undefined && may(ended)) {
    return only(drop(ended, ended.lost ? 'is lost' : 'is no member any more'))
  }
  const waiting = { change: null, againInMs: nextLook(input) }
  // After a split the other side may have changed them too, which is known once both are merged; and a
  // change while many ops are not confirmed costs every node to apply them again.
  const areBack = indexers.every(({ id }) => (input.aliveMs.get(id) ?? 0) >= input.stableMs)
  const isCalm = areBack && !input.merging
  if (indexers.length > wanted && isCalm && least !== undefined && may(least)) {
    return only(drop(least, `need not confirm: ${wanted} are enough`))
  }
  if (indexers.length < wanted && confirming === indexers.length) {
    // An even number confirms no more safely than the odd one below it: none is begun in vain.
    const isEven = indexers.length % 2 === 0
    if (next !== null && free.length >= (isEven ? 1 : 2)) {
      return isCalm ? only(take(next, 'is to confirm the order too')) : waiting
    }
    if (isEven && least !== undefined && may(least)) {
      return only(drop(least, 'need not confirm: nobody is there to make the number odd'))
    }
  }
  const gone = indexers.find((node) => isGone(node, input))
  if (next !== null && gone !== undefined && may(gone)) {
    return only(drop(gone, 'has been silent for too long'))
  }
  const unfit = indexers.find((node) => !fits(node))
  if (next !== null && unfit !== undefined) {
    // The last cannot go before another is there.
    if (indexers.length === 1) return only(take(next, `takes over from ${unfit.displayName}`))
    if (may(unfit)) return only(drop(unfit, 'is no node to rely on'))
  }
  return waiting
}

const NOTHING: IndexerPlan = { change: null, againInMs: null }

/** Whom one can rely on to be there; others confirm only where there is nobody else. */
function fits({ role, labels }: NodeRecord): boolean {
  const mobile = labels['mobile']
  return (role === 'admin' || role === 'operator') && (mobile === undefined || mobile === 'false')
}

function wantedNumber({ state }: IndexersInput, indexers: NodeRecord[]): number {
  const members = [...state.nodes.values()].filter((n) => n.state === 'member' && !n.lost)
  const fit = members.filter(fits).length
  if (fit >= (indexers.length >= 5 ? NO_LONGER_LARGE : LARGE)) return 5
  return fit >= 3 ? 3 : 1
}

function isStable(node: NodeRecord, { alive, aliveMs, stableMs }: IndexersInput): boolean {
  if (node.state !== 'member' || node.lost || !fits(node) || !alive.has(node.id)) return false
  return (aliveMs.get(node.id) ?? 0) >= stableMs
}

const isGone = ({ id }: NodeRecord, { alive, silentMs, stableMs }: IndexersInput): boolean =>
  !alive.has(id) && (silentMs.get(id) ?? Infinity) >= stableMs

/** Those that are left confirm without it, and could confirm that it goes. */
function staysConfirmed(
  node: NodeRecord,
  indexers: NodeRecord[],
  alive: ReadonlySet<string>
): boolean {
  const left = indexers.filter(({ id }) => id !== node.id && alive.has(id)).length
  return indexers.length > 1 && left >= quorumOf(indexers.length - 1)
}

/** The longest up first; of equals any, but the same for all. */
const by =
  ({ uptimeRank }: IndexersInput) =>
  (a: NodeRecord, b: NodeRecord): number =>
    (uptimeRank.get(b.id) ?? 0) - (uptimeRank.get(a.id) ?? 0) || (a.id < b.id ? -1 : 1)

function standing(node: NodeRecord, { alive, uptimeRank }: IndexersInput): number {
  const rank = uptimeRank.get(node.id) ?? 0
  return (fits(node) ? 100 : 0) + (alive.has(node.id) ? 10 : 0) + rank
}

const only = (change: IndexerChange): IndexerPlan => ({ change, againInMs: null })

const take = ({ id, displayName }: NodeRecord, why: string): IndexerChange => ({
  node: id,
  indexer: true,
  reason: `${displayName} ${why}`
})

const drop = ({ id, displayName }: NodeRecord, why: string): IndexerChange => ({
  node: id,
  indexer: false,
  reason: `${displayName} ${why}`
})

function nextLook(input: IndexersInput): number | null {
  const { state, alive, aliveMs, silentMs, stableMs, merging } = input
  const waits = [...state.nodes.values()]
    .filter(({ state }) => state === 'member')
    .map(
      ({ id }) =>
        stableMs - (alive.has(id) ? (aliveMs.get(id) ?? 0) : (silentMs.get(id) ?? stableMs))
    )
    .filter((ms) => ms > 0)
  if (merging) waits.push(MERGED_LOOK_MS)
  return waits.length === 0 ? null : Math.ceil(Math.min(...waits))
}
