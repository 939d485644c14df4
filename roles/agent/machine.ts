/**
 * The Agent: makes the containers of this machine match the placements that name this node.
 *
 *   loading → connecting ⇄ waiting          the engine is opened, with backoff
 *                 ↓  ↑ engine.lost
 *              working                      every piece of news: observe, diff, take the steps, report
 *
 * Leaving `working` ends what the daemon does, never what the engine runs. What a state names and does
 * stands in `machine/`; what is decided, and why, in `pass.ts` and the deciders it calls.
 */
import { assign, raise, stateIn, type ActorRefFrom } from 'xstate'
import { healthNoted, stepTold, toSaved } from './memory.ts'
import { newContext, opened } from './machine/context.ts'
import { agentSetup } from './machine/setup.ts'

export type AgentActor = ActorRefFrom<typeof agentMachine>

/** Where to go when what the engine shows may have changed since it was listed. */
const outdates = <const T extends string>(target: T) => ({
  'container.changed': target,
  'step.done': { guard: 'changesContainers' as const, target },
  'step.failed': { guard: 'changesContainers' as const, target }
})

export const agentMachine = agentSetup.createMachine({
  id: 'agent',
  context: ({ input }) => newContext(input),
  type: 'parallel',
  on: {
    'view.changed': {
      actions: [assign({ view: ({ event }) => event.state }), 'noteClocks', 'act']
    },
    'gossip.changed': { guard: 'waits', actions: 'act' },
    'peers.changed': {
      actions: [assign({ alive: ({ event }) => event.alive }), 'noteClocks', 'act']
    }
  },
  states: {
    engine: {
      initial: 'loading',
      states: {
        loading: {
          invoke: {
            src: 'loadMemory',
            input: ({ context }) => context.components,
            onDone: {
              target: 'connecting',
              actions: [{ type: 'recall', params: ({ event }) => event.output }, 'noteClocks']
            },
            onError: {
              target: 'connecting',
              actions: {
                type: 'logError',
                params: ({ event }) => ({
                  message: 'the restart counts could not be read; they start again',
                  error: event.error
                })
              }
            }
          }
        },
        connecting: {
          invoke: {
            src: 'openEngine',
            input: ({ context }) => context.components,
            onDone: [
              { guard: ({ event }) => event.output === null, target: 'none' },
              {
                target: 'working',
                actions: assign({
                  engine: ({ event }) => event.output?.engine ?? null,
                  info: ({ event }) => event.output?.info ?? null
                })
              }
            ],
            onError: {
              target: 'waiting',
              actions: { type: 'reportEngine', params: ({ event }) => ({ error: event.error }) }
            }
          }
        },
        waiting: {
          entry: assign({ attempts: ({ context }) => context.attempts + 1 }),
          after: { reconnect: 'connecting' }
        },
        /** This node runs no containers, by choice. */
        none: { entry: [{ type: 'reportEngine', params: { error: null } }, 'publishNothing'] },
        working: {
          entry: { type: 'reportEngine', params: { error: null } },
          exit: 'forgetEngine',
          invoke: { src: 'watchEngine', input: ({ context }) => context },
          on: {
            'engine.lost': {
              target: 'waiting',
              actions: { type: 'reportEngine', params: ({ event }) => ({ error: event.error }) }
            }
          },
          type: 'parallel',
          states: {
            inventory: {
              initial: 'opening',
              states: {
                /** Watched before it is listed: what changes in between would be missed. */
                opening: { on: { 'engine.watched': 'listing' } },
                listing: {
                  entry: assign({ listsBegun: ({ context }) => context.listsBegun + 1 }),
                  invoke: {
                    src: 'listContainers',
                    input: ({ context }) => ({
                      engine: opened(context),
                      number: context.listsBegun,
                      at: context.components.now()
                    }),
                    onDone: [
                      {
                        guard: stateIn('#outdated'),
                        target: 'gathering',
                        actions: [{ type: 'noteList', params: ({ event }) => event.output }, 'act']
                      },
                      {
                        target: 'current',
                        actions: [{ type: 'noteList', params: ({ event }) => event.output }, 'act']
                      }
                    ],
                    onError: {
                      actions: raise(({ event }) => ({ type: 'engine.lost', error: event.error }))
                    }
                  },
                  initial: 'fresh',
                  states: {
                    fresh: { on: outdates('outdated') },
                    outdated: { id: 'outdated' }
                  }
                },
                current: { on: outdates('gathering'), after: { relist: 'listing' } },
                gathering: { after: { gather: 'listing' } }
              }
            },
            duty: {
              on: {
                'step.told': {
                  actions: [
                    assign({
                      memory: ({ context, event }) =>
                        stepTold(context.memory, event.step.slot, event.phase)
                    }),
                    'act'
                  ]
                },
                'step.done': { actions: ['noteStepDone', 'act'] },
                'step.failed': { actions: ['noteStepFailed', 'act'] },
                'health.checked': {
                  actions: [
                    assign({
                      memory: ({ context, event }) =>
                        healthNoted(context.memory, event.slot, event.id, event.health)
                    }),
                    'act'
                  ]
                },
                alarm: { actions: 'act' }
              }
            }
          }
        }
      }
    },
    memory: {
      initial: 'saved',
      states: {
        saved: { always: { guard: 'isUnsaved', target: 'settling' } },
        settling: { after: { saveAfter: 'saving' } },
        saving: {
          invoke: {
            src: 'saveMemory',
            input: ({ context: { components, memory, published, durable, clocks } }) => ({
              components,
              memory: {
                ...toSaved(memory, published?.containers ?? [], components.now()),
                ...clocks
              },
              durable
            }),
            onDone: { target: 'saved', actions: assign({ saved: ({ event }) => event.output }) },
            onError: {
              target: 'failed',
              actions: {
                type: 'logError',
                params: ({ event }) => ({
                  message: 'the restart counts could not be saved',
                  error: event.error
                })
              }
            }
          }
        },
        failed: { after: { saveAgain: 'saving' } }
      }
    }
  }
})
