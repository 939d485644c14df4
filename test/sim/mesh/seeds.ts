/**
 * Seeds that found something: run before all others, for good. A seed's steps change when tables of
 * operations or faults do; the note says what it was, so that a case of its own can stand for it
 * where that matters.
 */
export const KEPT: { seed: number; found: string }[] = [
  {
    seed: 55,
    found:
      'a node whose request for an op was on its way to a peer that was cut off closed the idle core of the writer and never asked again: views differed until the next append (`Oplog.ask`)'
  },
  {
    seed: 5,
    found:
      'let in by a node that was being removed elsewhere, with a key that died with it: a newcomer that belongs to nobody'
  }
]
