import { assign, fromPromise, sendParent, setup } from 'xstate'
import { BrumeError } from '../../../core/errors.ts'
import type { Healthcheck } from '../../../core/state/microservices.ts'
import type { Engine } from '../engine.ts'
import {
  afterCheck,
  checkCommand,
  nextCheckMs,
  unknownHealth,
  type CheckResult,
  type Health
} from '../health.ts'

interface CheckInput {
  slot: string
  id: string
  check: Healthcheck
  engine: Engine
  now: () => number
}

/** Checks one running container for as long as it runs. */
export const checkHealth = setup({
  types: {
    context: {} as CheckInput & { health: Health },
    input: {} as CheckInput
  },
  actors: {
    check: fromPromise<CheckResult | null, CheckInput>(async ({ input }) => {
      const { engine, id, check } = input
      try {
        const { exitCode } = await engine.exec(id, checkCommand(check), {
          timeoutMs: check.timeoutMs
        })
        return exitCode === 0 ? 'passed' : 'failed'
      } catch (error) {
        const engineGone = error instanceof BrumeError && error.code === 'ENGINE_UNREACHABLE'
        return engineGone ? null : 'failed'
      }
    })
  },
  delays: {
    next: ({ context }) => nextCheckMs(context.health, context.check, context.now())
  }
}).createMachine({
  id: 'health',
  context: ({ input }) => ({ ...input, health: unknownHealth(input.now()) }),
  initial: 'waiting',
  states: {
    waiting: { after: { next: 'checking' } },
    checking: {
      invoke: {
        src: 'check',
        input: ({ context }) => context,
        onDone: {
          target: 'waiting',
          actions: [
            assign({
              health: ({ context, event }) =>
                event.output === null
                  ? context.health
                  : afterCheck(context.health, context.check, event.output, context.now())
            }),
            sendParent(({ context }) => ({
              type: 'health.checked',
              slot: context.slot,
              id: context.id,
              health: context.health
            }))
          ]
        }
      }
    }
  }
})
