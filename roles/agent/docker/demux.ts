import { Transform, type TransformCallback } from 'node:stream'
import { LineCutter } from '../log-lines.ts'
import type { LogLine } from '../engine.ts'

const HEADER_BYTES = 8

/**
 * Bytes of Docker's multiplexed stream in, LogLine objects out. A frame is a header (stream number,
 * three zero bytes, length as big-endian uint32) and its bytes; frames and lines are cut anywhere.
 */
export function demultiplexer(): Transform {
  const stdout = new LineCutter('stdout')
  const stderr = new LineCutter('stderr')
  let rest: Buffer = Buffer.alloc(0)
  let current = stdout
  let left = 0

  return new Transform({
    writableObjectMode: false,
    readableObjectMode: true,
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      let bytes: Buffer = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
      for (;;) {
        if (left === 0) {
          if (bytes.length < HEADER_BYTES) break
          current = bytes[0] === 2 ? stderr : stdout
          left = bytes.readUInt32BE(4)
          bytes = bytes.subarray(HEADER_BYTES)
          continue
        }
        if (bytes.length === 0) break
        const part = bytes.subarray(0, left)
        left -= part.length
        bytes = bytes.subarray(part.length)
        for (const line of current.push(part)) this.push(line)
      }
      rest = bytes
      done()
    },
    flush(done: TransformCallback) {
      const lines: LogLine[] = [...stdout.flush(), ...stderr.flush()]
      for (const line of lines) this.push(line)
      done()
    }
  })
}
