/** Byte streams end to end: a connection as a stream of Node's, and two streams joined to one flow. */
import type { Http2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { sweep } from './sweep.ts'

/** Bytes on their way in either direction, before the other side is asked to wait. */
const BUFFER_BYTES = 1024 * 1024

/**
 * In one encrypted message. Its other end can begin with none before all of it is there, and
 * acknowledges nothing while it decrypts, so that a megabyte at once holds up the line. With what goes
 * around it, 64 KiB: of 128 and more, malloc asks the system for each anew.
 */
const MESSAGE_BYTES = 64 * 1024 - 20

/**
 * Of one flow on their way to the next stream, before it is asked to wait: as many as go over in a tenth of
 * a second, for others wait behind them. Each turn halves or doubles it.
 */
const GATHERED = { least: 16 * 1024, most: 256 * 1024, ms: 100 }

/** Each write is a message. `alloc` gives the room for the next one, and spares that it is copied. */
type Messages = Duplex & { alloc?(bytes: number): Buffer }

/** What node:http2 can run on: the streams of Holepunch are none of Node's own. */
export function plain(connection: Messages): Duplex {
  const duplex = new Duplex({
    highWaterMark: BUFFER_BYTES,
    read() {
      connection.resume()
    },
    write(chunk: Buffer, _encoding, done) {
      send([chunk], done)
    },
    writev(chunks, done) {
      send(
        chunks.map(({ chunk }) => chunk as Buffer),
        done
      )
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
  const send = (chunks: Buffer[], done: () => void): void => {
    const messages = messagesOf(chunks, (bytes) => connection.alloc?.(bytes))
    const next = (): void => {
      // Made when it is written and not before: there is room for one.
      const { value, done: isOver } = messages.next()
      if (isOver) done()
      else if (connection.write(value)) next()
      else connection.once('drain', next)
    }
    next()
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

/** The same bytes, in pieces of one size but for the last. */
function* messagesOf(
  chunks: readonly Buffer[],
  alloc: (bytes: number) => Buffer | undefined
): Generator<Buffer, void> {
  let left = chunks.reduce((sum, { length }) => sum + length, 0)
  let [at, from] = [0, 0]
  while (left > 0) {
    const size = Math.min(left, MESSAGE_BYTES)
    const message = alloc(size) ?? Buffer.allocUnsafe(size)
    for (let filled = 0; filled < size;) {
      const chunk = chunks[at] as Buffer
      const copied = chunk.copy(message, filled, from)
      filled += copied
      from += copied
      if (from < chunk.length) continue
      at++
      from = 0
    }
    left -= size
    yield message
  }
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
    sweep(chunk.length)
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
