import { setFlagsFromString } from 'node:v8'

/** So many bytes of flows: each is in three or four buffers on its way. With twice as many it helps no more. */
export const SWEEP_BYTES = 2 * 1024 * 1024
/** Whoever carries so much has code that runs hot. */
export const HOT_BYTES = 128 * 1024 * 1024
/** V8's own: how much a function runs before it is optimized. A daemon begins with eight times as much. */
const INTERRUPT_BUDGET = 67_584

let bytes = 0
/** Until it is hot; 0 once it is. */
let left = HOT_BYTES

/**
 * To be told of what goes over. Buffers are beside V8's heap, and those let go of are freed only after
 * 32 MiB of them. Until then they count as growth of the heap, by so much of what little a daemon has
 * there that V8 goes through all of it again and again: half of the CPU of a fast flow, in pauses that
 * keep acknowledgements waiting. Looked for earlier they are gone within a millisecond.
 */
export function sweep(length: number): void {
  bytes += length
  if (bytes < SWEEP_BYTES) return
  warm(bytes)
  bytes = 0
  // A daemon has it; who embeds its parts may not.
  globalThis.gc?.({ type: 'minor' })
}

function warm(more: number): void {
  if (left === 0) return
  left = Math.max(0, left - more)
  if (left === 0) setFlagsFromString(`--interrupt-budget=${INTERRUPT_BUDGET}`)
}
