/** Byte streams end to end: two of them joined to one flow. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { sweep } from './sweep.ts'

/** Of one flow on their way to the next stream, before it is asked to wait. */
const GATHERED_BYTES = 256 * 1024

/**
 * Both ways: the end of one is the end of the other, a failure of one a reset of the other. `onBytes`
 * hears of all that goes over, from `a` or from `b`.
 */
export function join(
  a: Duplex,
  b: Duplex,
  onBytes?: (from: 'a' | 'b', bytes: number) => void
): void {
  for (const [from, to, name] of [
    [a, b, 'a'],
    [b, a, 'b']
  ] as const) {
    pour(from, to, (bytes) => onBytes?.(name, bytes))
    from.on('error', () => reset(to))
    from.once('close', () => {
      if (!endedWell(from)) reset(to)
    })
  }
}

/**
 * As `pipe`, which a socket makes wait at 16 KB: each chunk read would go all the way, alone, before
 * the next is. What gathers meanwhile, or comes in one turn of the event loop, goes as one: a system
 * call for each of the pieces that TLS leaves is most of what a flow costs.
 */
function pour(from: Duplex, to: Duplex, onBytes: (bytes: number) => void): void {
  let gathers = false
  from.on('data', (chunk: Buffer) => {
    onBytes(chunk.length)
    sweep(chunk.length)
    if (!gathers) {
      gathers = true
      to.cork()
      setImmediate(() => {
        gathers = false
        to.uncork()
      })
    }
    if (!to.write(chunk) && to.writableLength >= GATHERED_BYTES) from.pause()
  })
  to.on('drain', () => from.resume())
  from.once('end', () => to.end())
  // Else the reader of nothing would see `from` end well, though it is reset.
  for (const over of ['finish', 'close']) to.once(over, () => from.pause())
}

/** Ends a stream so that its other end sees no good end. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return
  if (isTcp(stream)) stream.resetAndDestroy()
  else stream.destroy()
}

export const endedWell = (stream: Duplex): boolean =>
  stream.readableEnded && stream.writableFinished && stream.errored === null

/** A unix socket knows no reset, nor does one with TLS, and both throw. */
const isTcp = (stream: Duplex): stream is Socket =>
  'resetAndDestroy' in stream &&
  !('encrypted' in stream) &&
  (stream as Socket).remoteFamily !== undefined
