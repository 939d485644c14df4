/** On a terminal, the last line says how long something takes; elsewhere nothing does. */
import type { Output } from '../cli/verb.ts'

export interface WaitLine {
  /** Lines above it, each with its end, and the time anew. */
  over(lines: string): void
  end(): void
}

/** `startMs` is what the time is counted from. */
export function waitLine(output: Output, startMs: number): WaitLine {
  if (!output.isTTY) return { over: (lines) => output.write(lines), end: () => {} }
  let isThere = false
  const clear = (): string => (isThere ? '\x1b[A\x1b[K' : '')
  return {
    over(lines) {
      const seconds = `${((performance.now() - startMs) / 1000).toFixed(0).padStart(3)} s`
      output.write(`${clear()}${lines}${output.color ? `\x1b[2m${seconds}\x1b[0m` : seconds}\n`)
      isThere = true
    },
    end() {
      output.write(clear())
      isThere = false
    }
  }
}

/** Shows the time while `work` goes on, from its first second on. */
export async function whileWaiting<T>(output: Output, work: Promise<T>): Promise<T> {
  const line = waitLine(output, performance.now())
  const timer = setInterval(() => line.over(''), 1_000)
  try {
    return await work
  } finally {
    clearInterval(timer)
    line.end()
  }
}
