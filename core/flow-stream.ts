/** Byte streams end to end: a connection as a stream of Node's, and two streams joined to one flow. */
import type { Http2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Bytes on their way in either direction, before the other side is asked to wait. */
const BUFFER_BYTES = 1024 * 1024

/**
 * Of one flow on their way to the next stream, before it is asked to wait: as many as go over in a tenth of
 * a second, for others wait behind them. Each turn halves or doubles it.
 */
const GATHERED = { least: 16 * 1024, most: 256 * 1024, ms: 100 }

/** What node:http2 can run on: the streams of Holepunch are none of Node's own. */
export function plain(connection: Duplex): Duplex {
  const duplex = new Duplex({
    highWaterMark: BUFFER_BYTES,
    read() {
      connection.resume()
    },
    write(chunk: Buffer, _encoding, done) {
      send(chunk, done)
    },
    // Every message is encrypted on its own: few large ones are cheaper.
    writev(chunks, done) {
      send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done)
    },
    final(done) {
      connection.end()
      done()
    },
    destroy(error, done) {
      connection.destroy()
      done(error)
    }
  })
  const send = (bytes: Buffer, done: () => void): void => {
    if (connection.write(bytes)) done()
    else connection.once('drain', done)
  }
  connection.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) connection.pause()
  })
  connection.once('end', () => duplex.push(null))
  connection.on('error', (error: Error) => duplex.destroy(error))
  // With an error: what runs on it has to notice.
  connection.once('close', () => duplex.destroy(new Error('the connection is gone')))
  return duplex
}

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
    pour(from, to)
    if (onBytes) from.on('data', (chunk: Buffer) => onBytes(name, chunk.length))
    from.on('error', () => reset(to))
    from.once('close', () => {
      if (!endedWell(from)) reset(to)
    })
  }
}

/**
 * As `pipe`, which a flow makes wait at 16 KB: each chunk read would go all the way, alone, before
 * the next is. What gathers meanwhile, or comes in one turn of the event loop, goes as one: a system
 * call for each of the pieces that TLS and HTTP/2 leave, of 8 KB, is most of what a flow costs.
 */
function pour(from: Duplex, to: Duplex): void {
  let gathers = false
  let limit = GATHERED.most
  let waitsSince: number | null = null
  from.on('data', (chunk: Buffer) => {
    if (!gathers) {
      gathers = true
      to.cork()
      setImmediate(() => {
        gathers = false
        to.uncork()
      })
    }
    if (to.write(chunk) || to.writableLength < limit) return
    waitsSince ??= performance.now()
    from.pause()
  })
  to.on('drain', () => {
    if (waitsSince !== null) {
      const isSlow = performance.now() - waitsSince > GATHERED.ms
      limit = isSlow ? Math.max(limit / 2, GATHERED.least) : Math.min(limit * 2, GATHERED.most)
      waitsSince = null
    }
    from.resume()
  })
  from.once('end', () => to.end())
  // Else the reader of nothing would see `from` end well, though it is reset.
  for (const over of ['finish', 'close']) to.once(over, () => from.pause())
}

/**
 * For a flow that was begun with `waitForTrailers`: without, one that is reset says first that it has
 * ended well.
 */
export function endsWhole(flow: Http2Stream): void {
  flow.on('wantTrailers', () => {
    if (!flow.closed) flow.sendTrailers({})
  })
}

/** Ends a stream so that its other end sees no good end. */
export function reset(stream: Duplex): void {
  if (stream.destroyed) return
  // With CANCEL its other end would see no error.
  if (isFlow(stream)) stream.close(constants.NGHTTP2_CONNECT_ERROR)
  else if (isTcp(stream)) stream.resetAndDestroy()
  else stream.destroy()
}

/** A flow that was destroyed at its other end looks as if it had ended but for its marks. */
export const endedWell = (stream: Duplex): boolean =>
  stream.readableEnded &&
  stream.writableFinished &&
  !(isFlow(stream) && (stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR))

const isFlow = (stream: Duplex): stream is Http2Stream => 'rstCode' in stream

/** A unix socket knows no reset, nor does one with TLS, and both throw. */
const isTcp = (stream: Duplex): stream is Socket =>
  'resetAndDestroy' in stream &&
  !('encrypted' in stream) &&
  (stream as Socket).remoteFamily !== undefined
