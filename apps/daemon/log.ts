/** The daemon's log: pino's lines in `daemon.log`, 3 files of 5 MB. */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs'
import { pino, stdTimeFunctions, type Logger } from 'pino'

const MAX_BYTES = 5_000_000
const FILES = 3

export function createLog(path: string, level = 'info'): Logger {
  return pino({ base: null, timestamp: stdTimeFunctions.isoTime, level }, createRotating(path))
}

/** Lines are written at once: a log that loses its last words on a crash is worth little. */
function createRotating(path: string): { write(line: string): void } {
  let file = openSync(path, 'a', 0o600)
  let bytes = fstatSync(file).size
  let lost = 0
  return {
    write(line) {
      // On a full disk the daemon goes on without words: it is no reason to end it.
      try {
        if (bytes > 0 && bytes + line.length > MAX_BYTES) {
          rotate(path)
          const next = openSync(path, 'a', 0o600)
          closeSync(file)
          file = next
          bytes = 0
        }
        bytes += writeSync(file, line)
      } catch {
        lost++
        return
      }
      if (lost === 0) return
      const missing = lost
      lost = 0
      this.write(`${JSON.stringify({ level: 40, lost: missing, msg: 'lines were lost' })}\n`)
    }
  }
}

function rotate(path: string): void {
  const name = (n: number): string => (n === 0 ? path : `${path}.${n}`)
  for (let n = FILES - 1; n > 0; n--) {
    try {
      renameSync(name(n - 1), name(n))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}
