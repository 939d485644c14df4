/** The real process as a verb sees it. */
import type { WriteStream } from 'node:tty'
import { daemonCommand } from './background.ts'
import type { Output, World } from './verb.ts'

export function processWorld(): World {
  let interrupted: AbortController | null = null
  return {
    out: output(process.stdout),
    err: output(process.stderr),
    // A getter: opening it is not free, and hardly any verb reads it.
    get stdin() {
      return process.stdin
    },
    env: process.env,
    now: Date.now,
    interrupt() {
      if (interrupted) return interrupted.signal
      const controller = new AbortController()
      interrupted = controller
      const abort = (): void => controller.abort(new Error('interrupted'))
      // Once: the second Ctrl-C ends it whatever it does.
      process.once('SIGINT', abort)
      process.once('SIGTERM', abort)
      return controller.signal
    },
    daemon: daemonCommand()
  }
}

function output(stream: WriteStream): Output {
  // Who reads has had enough (`brume ps | head -1`): no fault, nothing to say.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  const isTTY = stream.isTTY === true
  return {
    write: (text) => void stream.write(text),
    isTTY,
    get columns() {
      return stream.columns || 80
    },
    get rows() {
      return stream.rows || 24
    },
    color: isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
  }
}
