import { startDaemon } from '../background.ts'
import type { Verb } from '../verb.ts'

interface Answer {
  dataDir: string
  pid: number
  /** False where it ran already. */
  started: boolean
}

export const up: Verb<null, Answer> = {
  describe() {},

  parse: () => null,

  async request(_, context) {
    const { pid, started } = await startDaemon(context.client, context)
    return { dataDir: context.dataDir, pid, started }
  },

  print({ dataDir, pid, started }, { out }) {
    out.write(`${started ? 'started' : 'already runs'}: daemon of ${dataDir} (process ${pid})\n`)
  }
}
