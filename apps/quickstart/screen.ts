/** What the person sees: headings, commands to learn, and a picture that is drawn over. */
import { quoted } from '../paths.ts'
import type { Output } from '../cli/verb.ts'

export interface Screen {
  readonly output: Output
  heading(text: string): void
  /** A command as it is typed; from the first `--` that only this machine needs on, it is faint. */
  command(args: string[], faint?: string[]): void
  say(text: string): void
  faint(text: string): void
  good(text: string): void
}

const BOLD = 1
const FAINT = 2
const GREEN = 32
const CYAN = 36

export function createScreen(output: Output): Screen {
  const paint = (text: string, sgr: number): string =>
    output.color ? `\x1b[${sgr}m${text}\x1b[0m` : text
  const line = (text: string): void => output.write(`${text}\n`)
  return {
    output,
    heading: (text) => line(`\n${paint(text, BOLD)}\n`),
    command(args, faint = []) {
      const tail = faint.length === 0 ? '' : paint(` ${typed(faint)}`, FAINT)
      line(`${paint('$', CYAN)} brume ${typed(args)}${tail}`)
    },
    say: line,
    faint: (text) => line(paint(text, FAINT)),
    good: (text) => line(`${paint('✓', GREEN)} ${text}`)
  }
}

/** Ends nothing when the reader has gone: there is still all to clean up. */
export function terminal(stream: NodeJS.WriteStream, onGone: () => void): Output {
  let gone = false
  stream.on('error', () => {
    gone = true
    onGone()
  })
  const isTTY = stream.isTTY === true
  return {
    write(text) {
      if (!gone) stream.write(text)
    },
    isTTY,
    get columns() {
      return stream.columns || 80
    },
    get rows() {
      return stream.rows || 24
    },
    color: isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
  }
}

const typed = (args: string[]): string =>
  args.map((arg) => (arg === '>' || arg.startsWith('@') ? arg : quoted(arg))).join(' ')
