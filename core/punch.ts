/**
 * Which relayed link is tried directly, and when: pure. HyperDHT punches once while it makes a
 * relayed connection and never again, and that one is lost where the other end was busy with a punch
 * at random ports, of which a node makes one at a time.
 */
import type { NatKind } from './relay.ts'

/** A link that goes through a relay now. */
export interface RelayedLink {
  id: string
  /** Of the peer. */
  nat: NatKind
  /** Under way: the link is made anew when it becomes direct, and they would end. */
  calls: number
}

export interface PunchState {
  /** Failed ones since the link is relayed. */
  tries: number
  nextAt: number
}

const AGAIN_MS = [5_000, 10_000, 20_000, 40_000, 60_000, 300_000]

export interface PunchInput {
  self: { id: string; nat: NatKind }
  now: number
  relayed: readonly RelayedLink[]
  /** Of every relayed link that was seen before. */
  tried: ReadonlyMap<string, PunchState>
  /** One is under way. */
  punching: boolean
}

/** The link to try now, null for none, and when to ask again at the latest. */
export function whomToPunch({ self, now, relayed, tried, punching }: PunchInput): {
  id: string | null
  wakeAt: number
} {
  const mine = relayed.filter(
    ({ id, nat, calls }) =>
      // One end is enough, and both agree on which. Two that draw ports at random never meet.
      self.id < id && calls === 0 && !(self.nat === 'symmetric' && nat === 'symmetric')
  )
  const due = mine.flatMap(({ id }) => {
    const state = tried.get(id)
    return state === undefined ? [] : [{ id, at: state.nextAt }]
  })
  due.sort((a, b) => a.at - b.at)
  const [first] = due
  if (punching || first === undefined) return { id: null, wakeAt: Infinity }
  return first.at <= now ? { id: first.id, wakeAt: Infinity } : { id: null, wakeAt: first.at }
}

/** ms from the nth failure, 0 for the beginning of the link, to the next try; `random` in [0, 1). */
export function punchAgainMs(tries: number, random: number): number {
  const base = AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)] ?? 0
  return Math.round(base * (0.8 + random * 0.4))
}
