/** Byte streams end to end: a connection as a stream of Node's, and two streams joined to one flow. */
import type { Http2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Outlet } from './outlet.ts'
import type { Connection } from './swarm.ts'
import { sweep } from './sweep.ts'

/** Bytes on their way in either direction, before the other side is asked to wait. */
const BUFFER_BYTES = 1024 * 1024

/**
 * Of one flow on their way to the next stream, before it is asked to wait: as many as go over in a tenth of
 * a second, for others wait behind them. Each turn halves or doubles it.
 */
const GATHERED = { least: 16 * 1024, most: 256 * 1024, ms: 100 }

/** What node:http2 can run on: the streams of Holepunch are none of Node's own. */
export function plain(connection: Connection, outlet: Outlet): Duplex {
  const duplex = new Duplex({
    highWaterMark: BUFFER_BYTES,
    read() {
      connection.resume()
    },
    write(chunk: Buffer, _encoding, done) {
      outlet.write([chunk], done)
    },
    writev(chunks, done) {
      outlet.write(
        chunks.map(({ chunk }) => chunk as Buffer),
        done
      )
    },
    final(done) {
      outlet.finish(() => {
        connection.end()
        done()
      })
    },
    destroy(error, done) {
      connection.destroy()
      done(error)
    }
  })
  connection.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) connection.pause()
  })
  connection.once('end', () => duplex.push(null))
  connection.on('error', (error: Error) => duplex.destroy(error))
  // With an error: what runs on it has to notice.
  connection.once('close', () => duplex.destroy(new Error('the connection is gone')))
  return duplex
}

const outlets = new WeakMap<Duplex, Outlet>()

/** Who pours into this flow takes turns with all whose flows go out there. */
export function goesOut(flow: Duplex, outlet: Outlet | null): void {
  if (outlet !== null) outlets.set(flow, outlet)
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
    pour(from, to, (bytes) => onBytes?.(name, bytes))
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
function pour(from: Duplex, to: Duplex, onBytes: (bytes: number) => void): void {
  const outlet = outlets.get(to)
  let gathers = false
  let limit = GATHERED.most
  let waitsSince: number | null = null
  let waitsForTurn = false
  /** Poured in since the last turn. */
  let poured = 0
  from.on('data', (read: Buffer) => {
    const chunk = outlet === undefined ? read : portionOf(from, read, outlet.portion)
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
    poured += chunk.length
    if (!to.write(chunk) && to.writableLength >= limitNow()) {
      waitsSince ??= performance.now()
      from.pause()
    } else if (takesTurns()) waitForTurn()
    else if (chunk !== read) from.resume()
  })
  to.on('drain', () => {
    if (waitsSince !== null) {
      const isSlow = performance.now() - waitsSince > GATHERED.ms
      limit = isSlow ? Math.max(limit / 2, GATHERED.least) : Math.min(limit * 2, GATHERED.most)
      waitsSince = null
    }
    if (takesTurns()) waitForTurn()
    else if (!waitsForTurn) from.resume()
  })
  from.once('end', () => to.end())
  // Else the reader of nothing would see `from` end well, though it is reset.
  for (const over of ['finish', 'close']) to.once(over, () => from.pause())

  const limitNow = (): number => Math.min(limit, outlet?.portion ?? Infinity)

  /** Little never waits. */
  const takesTurns = (): boolean => {
    if (outlet?.isFull !== true) {
      poured = 0
      return false
    }
    return poured >= outlet.portion
  }

  const waitForTurn = (): void => {
    from.pause()
    if (waitsForTurn) return
    waitsForTurn = true
    outlet?.wait(() => {
      waitsForTurn = false
      poured = 0
      if (waitsSince !== null || !to.writable) return false
      from.resume()
      return true
    })
  }
}

/** The rest is read again once this has gone on: a portion is as much as anyone is made to wait for. */
function portionOf(from: Duplex, chunk: Buffer, portion: number): Buffer {
  if (chunk.length <= portion) return chunk
  from.pause()
  from.unshift(chunk.subarray(portion))
  return chunk.subarray(0, portion)
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
