/**
 * Seeds that found something: run before all others, for good. A seed's steps change when tables of
 * operations or faults do; the note says what it was, so that a case of its own can stand for it
 * where that matters.
 */
export const KEPT: { seed: number; found: string }[] = []
