import type { InitRequest, InitResult } from '../../api.ts'
import { commandFor } from '../../client.ts'
import {
  describeMembership,
  parseMembership,
  printMembership,
  requestMembership
} from '../membership.ts'
import { role, ROLES } from '../options.ts'
import type { Verb } from '../verb.ts'

export const init: Verb<InitRequest, InitResult> = {
  describe(command) {
    describeMembership(command)
    command.option(
      '--default-role <role>',
      `role of who joins by the key: ${ROLES.join(', ')}`,
      'admin'
    )
  },

  parse(_, options) {
    const defaultRole = role(options.defaultRole, '--default-role')
    return { ...parseMembership(options), defaultRole }
  },

  request: (input, context) => requestMembership('/init', input, context),

  print(result, context) {
    printMembership(result, context)
    context.err.write('next, on another machine: brume join KEY\n')
    context.err.write(`next, here: ${commandFor(context.dataDir, 'deploy -f app.yaml')}\n`)
  }
}
