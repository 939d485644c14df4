import { BrumeError } from '../../../core/errors.ts'
import { stopDaemon } from '../background.ts'
import type { Verb } from '../verb.ts'

interface Answer {
  dataDir: string
  /** null where none ran. */
  pid: number | null
  stopped: boolean
}

export const down: Verb<null, Answer> = {
  describe() {},

  parse: () => null,

  async request(_, { client, dataDir }) {
    try {
      const { pid } = await stopDaemon(client)
      return { dataDir, pid, stopped: true }
    } catch (error) {
      if (!(error instanceof BrumeError) || error.code !== 'DAEMON_NOT_RUNNING') throw error
      return { dataDir, pid: null, stopped: false }
    }
  },

  print({ dataDir, stopped }, { out }) {
    const what = stopped ? 'stopped' : 'does not run'
    out.write(`${what}: daemon of ${dataDir}${stopped ? '; containers go on running' : ''}\n`)
  }
}
