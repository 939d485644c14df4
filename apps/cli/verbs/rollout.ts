/** `brume rollout …`: how far a new revision is, and who says how it goes on. */
import { ROLLOUT_STATES } from '../../../core/state/rollouts.ts'
import type { RefJson, RolloutJson, RolloutRequest } from '../../api.ts'
import { withQuery } from '../../client.ts'
import { microserviceOf } from '../microservice.ts'
import { oneLine, since, table, YELLOW, type Column } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

export const rolloutStatus: Verb<string | null, RolloutJson[]> = {
  describe(command) {
    command.argument('[ref]', 'APP or APP/MICROSERVICE; all of them where missing')
  },

  parse: ([ref]) => ref ?? null,

  request: (ref, { client }) => client.get(withQuery('/rollouts', ref === null ? {} : { ref })),

  print(all, context) {
    if (all.length === 0) context.err.write('nothing was rolled out yet\n')
    else show(all, context)
  }
}

export const rolloutPause = steer('pause')
export const rolloutResume = steer('resume')
export const rolloutPromote = steer('promote')

function steer(action: RolloutRequest['action']): Verb<string, RolloutJson> {
  return {
    describe(command) {
      command.argument('<ref>', 'APP/MICROSERVICE, or MICROSERVICE where there is one')
    },

    parse: ([ref = '']) => ref,

    async request(ref, { client }) {
      const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
      const { application, microservice } = microserviceOf(found, `rollout ${action}`, ref)
      const body: RolloutRequest = { action }
      return client.post(`/applications/${application}/${microservice}/rollout`, body)
    },

    print: (rollout, context) => show([rollout], context)
  }
}

function show(all: RolloutJson[], { out, now }: Context): void {
  const columns: Column<RolloutJson>[] = [
    { title: 'MICROSERVICE', cell: (r) => `${r.application}/${r.microservice}` },
    { title: 'STATE', cell: (r) => ROLLOUT_STATES[r.state], color: ({ state }) => COLORS[state] },
    { title: 'REVISION', cell: ({ revision }) => revision.slice(0, 8) },
    { title: 'FROM', cell: ({ from }) => from?.slice(0, 8) ?? '', whenAny: true },
    { title: 'SLOTS', cell: (r) => `${r.renewed}/${r.slots}, ${r.up} up` },
    { title: 'SINCE', cell: ({ at }) => since(at, now()) },
    { title: 'WHY', cell: (r) => r.reason ?? r.waits ?? '', whenAny: true }
  ]
  out.write(table(all, columns, out))
  for (const { log, microservice } of all) {
    for (const line of log) out.write(`  ${microservice} | ${oneLine(line)}\n`)
  }
}

const RED = 31
const COLORS: Record<RolloutJson['state'], number | null> = {
  running: YELLOW,
  paused: YELLOW,
  done: null,
  rolledBack: RED
}
