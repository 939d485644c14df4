/**
 * Seeds that found something: run before all others, for good. A seed's steps change when tables of
 * operations or faults do; the note says what it was, so that a case of its own can stand for it
 * where that matters.
 */
export const KEPT: { seed: number; found: string }[] = [
  {
    seed: 101,
    found:
      'a request for an op was on its way to a peer that was cut off when the store closed the idle core of its writer: the op was missing until the next one (`Oplog.ask`, which asks)'
  },
  {
    seed: 1520,
    found:
      'a newcomer between two nodes that do not reach each other had ops of one in a core that was not whole when it grew, and never told the other (`Oplog.ask`, which tells)'
  },
  {
    seed: 17,
    found:
      'removed amid a fast-forward, a node waited for ever for blocks of its view, also when it was stopped or started'
  },
  {
    seed: 103,
    found: 'removed by an admin who had joined while it was away, a node believed nobody'
  },
  {
    seed: 185,
    found:
      'let in by a node that was being removed, with a key that was being changed, a newcomer waited for ever for a view that nobody gave it'
  },
  {
    seed: 1402,
    found:
      'a newcomer whose invite came to nothing, since its maker was no admin any more, kept its link and read on (`core/strangers.ts`)'
  },
  {
    seed: 821696,
    found:
      'given up for lost just as it left, a node went on saying that it is back, as fast as it could: each time it was refused'
  },
  {
    seed: 821689,
    found:
      'let in amid a change of indexers, a newcomer held the view that was to come whole, and not the one that was there: killed, and kept out since, it waited for ever for blocks of it (`holdWhole`)'
  },
  {
    seed: 822865,
    found:
      'the only one between two nodes was a newcomer, which has no ops from before it came: the one that lacked some never got on, nor leapt over them, as they were few (`Oplog.ask`, which leaps)'
  },
  {
    seed: 821643,
    found:
      'of an edit of what a removed node had made after its removal nobody hears: it is refused, which the log says'
  }
]

/** The same for simulations of rollouts. */
export const KEPT_ROLLOUTS: typeof KEPT = [
  {
    seed: 6,
    found:
      'a replica that had failed had said nothing: its log ended before the leader read it, which waited for its end for ever, and led no more (`core/lines.ts`)'
  },
  {
    seed: 7,
    found:
      'a daemon that stood still ended the old copy for a new one that had died meanwhile: it looks again before it does (`needsList` of `roles/agent/diff.ts`)'
  },
  {
    seed: 2007,
    found:
      'a revision took the place of one that had not come to its end, and was paused: what nobody knew any more stayed placed, and could not come up again (`isLost` of `roles/controller/board.ts`)'
  }
]
