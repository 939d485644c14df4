import { BrumeError } from '../../../core/errors.ts'
import { stopDaemon } from '../background.ts'
import { keeper, type Place } from '../systemd.ts'
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

  async request(_, context) {
    const { client, dataDir } = context
    const kept = await keeper(context)
    if (kept !== null) throw keptBySystemd(kept)
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

function keptBySystemd({ unit, scope }: Place): BrumeError {
  const systemctl = scope === 'system' ? 'systemctl' : 'systemctl --user'
  return new BrumeError(
    'KEPT_BY_SYSTEMD',
    `systemd keeps this daemon running as ${unit}, and would start it again within seconds`,
    {
      next: `${systemctl} stop ${unit} stops it until the next start of the machine, brume service uninstall for good; containers stay`
    }
  )
}
