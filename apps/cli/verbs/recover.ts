import { createInterface } from 'node:readline'
import { BrumeError } from '../../../core/errors.ts'
import type { RecoverPlan, RecoverResult } from '../../api.ts'
import { usage } from '../options.ts'
import type { Context, Verb } from '../verb.ts'

interface Input {
  yes: boolean
  minority: boolean
}

export const recover: Verb<Input, RecoverResult> = {
  describe(command) {
    command
      .option('-y, --yes', 'do not ask')
      .option('--minority', 'although not more than half of the members are in reach')
  },

  parse: (_, options) => ({ yes: options.yes === true, minority: options.minority === true }),

  async request({ yes, minority }, context) {
    const plan = await context.client.get<RecoverPlan>('/recover')
    // What cannot be is the daemon's to say, and before anybody is asked.
    const possible = !plan.confirms && (!plan.minority || minority)
    if (possible && !yes) await ask(plan, context)
    return context.client.post('/recover', { minority })
  },

  print({ epoch, reached, members }, { out }) {
    out.write(
      `recovered: ${reached} of ${members} members go on (recovery ${epoch}); who comes back follows\n`
    )
  }
}

/** Twice: once for what it does, once for what it may cost. */
async function ask(plan: RecoverPlan, { err, stdin }: Context): Promise<void> {
  if (!err.isTTY) {
    throw usage('recover: it is not asked twice without a terminal', 'brume recover --yes')
  }
  const { missing, members, reached, unreached } = plan
  err.write(`${missing.join(', ')} confirmed the order of changes and cannot be reached.\n`)
  err.write(`${reached} of ${members} members are in reach and would go on without them.\n`)
  const lines = createInterface({ input: stdin })
  const answers = lines[Symbol.asyncIterator]()
  const said = async (question: string): Promise<boolean> => {
    err.write(`${question} [y/N] `)
    const line = (await answers.next()) as IteratorResult<string, undefined>
    return /^y(es)?$/i.test((line.value ?? '').trim())
  }
  try {
    if (!(await said('Are they lost for good?'))) throw called()
    const others = unreached.length === 0 ? '' : ` (${unreached.join(', ')})`
    err.write(
      plan.minority
        ? `The others${others} may be going on as well. When both meet again, the larger side's order\nstands: no change is lost, but what was confirmed here may be ordered anew.\n`
        : `Should the others${others} be going on as well, what they confirmed is ordered anew when both meet.\n`
    )
    if (!(await said('Go on?'))) throw called()
  } finally {
    lines.close()
  }
}

const called = (): BrumeError =>
  new BrumeError('INTERRUPTED', 'nothing was recovered', { exitCode: 130 })
