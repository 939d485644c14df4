import type { UpgradeResult } from '../../api.ts'
import type { Verb } from '../verb.ts'

export const upgrade: Verb<null, UpgradeResult> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.post('/upgrade', {}),

  print({ from, to }, { out }) {
    out.write(
      from === to
        ? `nothing to upgrade: format ${to} is the newest this version knows\n`
        : `the mesh uses format ${to} from here on (${from} before)\n`
    )
  }
}
