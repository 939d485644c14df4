import type { LogJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { usage } from '../options.ts'
import type { Verb } from '../verb.ts'

interface Input {
  ref: string
  follow: boolean
  tail: number | null
}

export const logs: Verb<Input, AsyncIterable<LogJson>> = {
  streams: true,

  describe(command) {
    command
      .argument('<ref>', 'APP/MICROSERVICE[/SLOT], APP or MICROSERVICE')
      .option('-f, --follow', 'go on with new lines until Ctrl-C')
      .option('--tail <lines>', 'only the last lines of each replica, or "all"', 'all')
  },

  parse([ref = ''], options) {
    const tail = String(options.tail)
    if (tail !== 'all' && !/^\d{1,9}$/.test(tail)) {
      throw usage(`--tail: expected a number of lines or "all", got "${tail}"`)
    }
    return { ref, follow: options.follow === true, tail: tail === 'all' ? null : Number(tail) }
  },

  async request({ ref, follow, tail }, { client }) {
    const path = withQuery('/logs', {
      ref,
      follow: follow ? '1' : undefined,
      tail: tail === null ? undefined : String(tail)
    })
    return client.lines<LogJson>(path)
  },

  async print(lines, { out, json }, { ref }) {
    // One replica speaks for itself; several are told apart.
    const single = ref.split('/').length === 3
    for await (const line of lines) {
      if (json) out.write(`${JSON.stringify(line)}\n`)
      else out.write(single ? `${line.line}\n` : `${prefix(line, out.color)} ${line.line}\n`)
    }
  }
}

/** Colours that are told apart on black and on white. */
const PALETTE = [36, 33, 32, 35, 34, 31]

function prefix({ microservice, slot, node }: LogJson, color: boolean): string {
  const text = `${microservice}/${slot}@${node} |`
  return color ? `\x1b[${PALETTE[slot % PALETTE.length]}m${text}\x1b[0m` : text
}
