import { makeDataDir } from '../../paths.ts'
import type { Verb } from '../verb.ts'

export const daemon: Verb<null, null> = {
  streams: true,

  describe() {},

  parse: () => null,

  async request(_, { dataDir }) {
    makeDataDir(dataDir)
    const { runDaemon } = await import('../../daemon/main.ts')
    await runDaemon({ dataDir })
    return null
  },

  print() {}
}
