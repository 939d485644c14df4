/** So many bytes of flows: each is in three or four buffers on its way. With twice as many it helps no more. */
export const SWEEP_BYTES = 2 * 1024 * 1024

let bytes = 0

/**
 * To be told of what goes over. Buffers are beside V8's heap, and those let go of are freed only after
 * 32 MiB of them. Until then they count as growth of the heap, by so much of what little a daemon has
 * there that V8 goes through all of it again and again: half of the CPU of a fast flow, in pauses that
 * keep acknowledgements waiting. Looked for earlier they are gone within a millisecond.
 */
export function sweep(length: number): void {
  bytes += length
  if (bytes < SWEEP_BYTES) return
  bytes = 0
  // A daemon has it; who embeds its parts may not.
  globalThis.gc?.({ type: 'minor' })
}
