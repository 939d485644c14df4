import type { LogLine } from './engine.ts'

/** A line longer than this is cut into several: one endless line must not fill the memory. */
const LONGEST_LINE_BYTES = 1024 * 1024

/** Cuts a byte stream into lines. The last one, without a line end, comes out with `flush`. */
export class LineCutter {
  private readonly stream: LogLine['stream']
  private held: Buffer[] = []
  private heldBytes = 0

  constructor(stream: LogLine['stream']) {
    this.stream = stream
  }

  /** The lines that `bytes` completes. `bytes` is kept until its line ends. */
  push(bytes: Buffer): LogLine[] {
    const lines: LogLine[] = []
    let from = 0
    while (from < bytes.length) {
      const end = bytes.indexOf(10, from)
      const upTo = end === -1 ? bytes.length : end
      this.held.push(bytes.subarray(from, upTo))
      this.heldBytes += upTo - from
      if (end !== -1 || this.heldBytes >= LONGEST_LINE_BYTES) lines.push(this.take())
      from = upTo + 1
    }
    return lines
  }

  flush(): LogLine[] {
    return this.heldBytes > 0 ? [this.take()] : []
  }

  private take(): LogLine {
    const line = Buffer.concat(this.held).toString('utf8')
    this.held = []
    this.heldBytes = 0
    return { stream: this.stream, line: line.endsWith('\r') ? line.slice(0, -1) : line }
  }
}
