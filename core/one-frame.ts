/**
 * What is said on a link in one turn of the event loop goes out in one frame: each is encrypted, sent,
 * acknowledged and read for itself, which costs more than what most of them say. Uses what is no
 * public API of Protomux.
 */
import type Protomux from 'protomux'

/** From now on, on this connection. Not for streams of data, which are large as they are. */
export function gatherFrames(mux: Protomux): void {
  let batch = mux._batch
  Object.defineProperty(mux, '_batch', {
    // Asked for with each message: null where it is to be sent by itself.
    get() {
      // Who sends more than the connection takes must hear of it.
      if (batch === null && mux.drained) {
        mux.cork()
        setImmediate(() => mux.uncork())
      }
      return batch
    },
    set(next: typeof batch) {
      batch = next
    }
  })
}
