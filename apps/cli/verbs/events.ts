import type { EventJson } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { count } from '../options.ts'
import { oneLine } from '../print.ts'
import type { Verb } from '../verb.ts'

interface Input {
  follow: boolean
  tail: number
}

export const events: Verb<Input, AsyncIterable<EventJson>> = {
  streams: true,

  describe(command) {
    command
      .option('-f, --follow', 'go on with what happens until Ctrl-C')
      .option('--tail <n>', 'show the last so many', '50')
  },

  parse: (_, { follow, tail }) => ({
    follow: follow === true,
    tail: count(String(tail), '--tail', 1_000)
  }),

  async request({ follow, tail }, { client }) {
    const query = { tail: String(tail), follow: follow ? '1' : undefined }
    return client.lines<EventJson>(withQuery('/events', query))
  },

  async print(lines, { out, json }) {
    for await (const event of lines) {
      if (json) out.write(`${JSON.stringify(event)}\n`)
      else out.write(`${event.at.slice(11, 19)}  ${oneLine(event.text)}\n`)
    }
  }
}
