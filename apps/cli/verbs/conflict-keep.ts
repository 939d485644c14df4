import type { KeepRequest, KeepResult } from '../../api.ts'
import { tellOffline } from '../offline.ts'
import { usage } from '../options.ts'
import { oneLine } from '../print.ts'
import type { Verb } from '../verb.ts'

interface Input {
  conflict: string
  which: KeepRequest['which']
}

export const conflictKeep: Verb<Input, KeepResult> = {
  describe(command) {
    command
      .argument('<id>', 'its id, or the first six digits or more: see `brume conflicts`')
      .option('--standing', 'keep what stands, and let the other one go')
  },

  parse([id = ''], { standing }) {
    if (!/^[0-9a-f]{6,16}$/.test(id)) {
      throw usage(`conflict keep: expected the id of a conflict, got "${id}"`, 'brume conflicts')
    }
    return { conflict: id, which: standing === true ? 'standing' : 'lost' }
  },

  async request({ conflict, which }, context) {
    const body: KeepRequest = { which }
    const result = await context.client.post<KeepResult>(`/conflicts/${conflict}/keep`, body)
    tellOffline(result.offline, context)
    return result
  },

  print({ noun, name, kept }, { out }) {
    out.write(`${noun} ${name}: ${oneLine(kept.by)}'s edit stands (${oneLine(kept.has)})\n`)
  },

  exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
}
