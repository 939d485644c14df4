/**
 * The Connector: knows which replicas serve, and where, and lets containers reach them by name.
 *
 *   connector (parallel)
 *     directory   gathering ⇄ settled             news lead to a new one, at most one a moment
 *     names       unasked → opening → serving     from the first container that may ask on
 *                             ↑   ↓      ↓
 *                            resting ←───┘        where this machine does not let it, or fails
 *     ports       settled ⇄ setting ⇄ resting     those that are exposed are open; who could not be
 *                                                 opened is tried again
 *
 * Flows (`flows.ts`) go by the directory as it was last seen.
 */
import {
  assign,
  enqueueActions,
  fromCallback,
  fromPromise,
  setup,
  type ActorRefFrom,
  type EventObject
} from 'xstate'
import { delayMs } from '../../core/backoff.ts'
import { canonical } from '../../core/crypto.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { directory, type Directory, type DirectoryInput } from './directory.ts'
import {
  exposed,
  type Exposed,
  type ExposedWorld,
  type Opened,
  type OpenPort,
  type Fault
} from './exposed.ts'
import type { NameService } from './name-service.ts'

export interface ConnectorComponents {
  /** Node id. */
  self: string
  /** The world as it is now. */
  readWorld(): DirectoryInput & { state: ExposedWorld }
  /** @throws BrumeError NAMES_IMPOSSIBLE, NAMES_FAILED */
  openNames(): Promise<NameService>
  /** As `OpenPorts`; never set twice at a time. */
  ports: { set(wanted: readonly OpenPort[]): Promise<readonly Fault[]>; close(): void }
  random: () => number
  log: { warn(fields: object, message: string): void }
}

export type ConnectorEvent =
  | { type: 'view.changed' }
  | { type: 'gossip.changed' }
  | { type: 'peers.changed' }
  | { type: 'names.needed' }
  | { type: 'names.failed'; error: unknown }
  | { type: 'ports.changed' }

export interface ConnectorContext {
  components: ConnectorComponents
  directory: Directory
  names: NameService | null
  /** Why there are none, while there are none. */
  problem: BrumeError | null
  /** Failures of names in a row. */
  attempts: number
  /** What should be open. */
  exposed: Exposed
  /** What last was. */
  opened: Opened
  /** How often in a row some could not be opened. */
  failures: number
}

const NO_PORTS: Exposed = { open: [], faults: [] }

const GATHER_MS = 200
const REST = { firstMs: 500, capMs: 60_000 }
/** To try is cheap, and who freed a port or renewed a certificate waits for it. */
const PORTS_REST = { firstMs: 500, capMs: 10_000 }
/** Who manages this machine's firewall may have taken our rules away. */
const LOOK_AGAIN_MS = 60_000

/** Follows the directory, and closes names when it ends. */
const keepNames = fromCallback<{ type: 'follow' }, NameService>(({ input, sendBack, receive }) => {
  const update = (again: boolean): void => {
    input.update(again).catch((error: unknown) => sendBack({ type: 'names.failed', error }))
  }
  receive(() => update(false))
  const timer = setInterval(update, LOOK_AGAIN_MS, true)
  update(false)
  return () => {
    clearInterval(timer)
    void input.close()
  }
})

const base = setup({
  types: {
    input: {} as ConnectorComponents,
    context: {} as ConnectorContext,
    events: {} as ConnectorEvent
  },
  actors: {
    openNames: fromPromise<NameService, ConnectorComponents>(async ({ input, signal }) => {
      const names = await input.openNames()
      // Nobody is there to keep them.
      if (signal.aborted) await names.close()
      return names
    }),
    keepNames,
    setPorts: fromPromise<Opened, ConnectorContext>(
      async ({ input: { exposed: from, components } }) => {
        return { from, faults: await components.ports.set(from.open) }
      }
    ),
    holdPorts: fromCallback<EventObject, ConnectorComponents>(({ input }) => {
      return () => input.ports.close()
    })
  },
  guards: {
    anyOpen: ({ context }) => context.exposed.open.length > 0,
    isOutdated: ({ context }, { from }: Opened) => from !== context.exposed,
    anyFault: (_, { faults }: Opened) => faults.length > 0
  },
  actions: {
    look: enqueueActions(({ context, enqueue }) => {
      const world = context.components.readWorld()
      enqueue.assign({ directory: directory(world) })
      const wanted = exposed(world.state, context.components.self)
      if (canonical(wanted) === canonical(context.exposed)) return
      enqueue.assign({ exposed: wanted, failures: 0 })
      enqueue.raise({ type: 'ports.changed' })
    }),
    notePorts: assign(({ context }, opened: Opened) => ({
      opened,
      failures: opened.faults.length === 0 ? 0 : context.failures + 1
    })),
    tellNames: enqueueActions(({ context, enqueue }) => {
      if (context.names !== null) enqueue.sendTo('names', { type: 'follow' })
    }),
    noteProblem: assign(({ context }, { error }: { error: unknown }) => {
      const problem = problemOf(error)
      if (problem.message !== context.problem?.message) {
        context.components.log.warn({}, sentenceOf(problem))
      }
      return { names: null, problem, attempts: context.attempts + 1 }
    })
  },
  delays: {
    gather: GATHER_MS,
    proved: LOOK_AGAIN_MS,
    rest: ({ context }) => delayMs(context.attempts - 1, REST, context.components.random()),
    portsRest: ({ context }) =>
      delayMs(context.failures - 1, PORTS_REST, context.components.random()),
    /** A certificate may have been renewed. */
    portsAgain: LOOK_AGAIN_MS
  }
})

export const connectorMachine = base.createMachine({
  id: 'connector',
  type: 'parallel',
  context: ({ input }) => ({
    components: input,
    directory: new Map(),
    names: null,
    problem: null,
    attempts: 0,
    exposed: NO_PORTS,
    opened: { from: NO_PORTS, faults: [] },
    failures: 0
  }),
  states: {
    directory: {
      initial: 'gathering',
      states: {
        gathering: { after: { gather: { target: 'settled', actions: ['look', 'tellNames'] } } },
        settled: {
          on: {
            'view.changed': 'gathering',
            'gossip.changed': 'gathering',
            'peers.changed': 'gathering'
          }
        }
      }
    },
    names: {
      initial: 'unasked',
      states: {
        unasked: { on: { 'names.needed': 'opening' } },
        opening: {
          invoke: {
            src: 'openNames',
            input: ({ context }) => context.components,
            onDone: {
              target: 'serving',
              actions: assign({ names: ({ event }) => event.output, problem: null })
            },
            onError: {
              target: 'resting',
              actions: { type: 'noteProblem', params: ({ event }) => ({ error: event.error }) }
            }
          }
        },
        serving: {
          invoke: {
            src: 'keepNames',
            id: 'names',
            input: ({ context }) => context.names as NameService
          },
          after: { proved: { actions: assign({ attempts: 0 }) } },
          on: {
            'names.failed': {
              target: 'resting',
              actions: { type: 'noteProblem', params: ({ event }) => ({ error: event.error }) }
            }
          }
        },
        resting: { after: { rest: 'opening' } }
      }
    },
    ports: {
      initial: 'settled',
      invoke: { src: 'holdPorts', input: ({ context }) => context.components },
      states: {
        settled: {
          on: { 'ports.changed': 'setting' },
          after: { portsAgain: { target: 'setting', guard: 'anyOpen' } }
        },
        setting: {
          invoke: {
            src: 'setPorts',
            input: ({ context }) => context,
            onDone: [
              {
                guard: { type: 'isOutdated', params: ({ event }) => event.output },
                target: 'setting',
                reenter: true,
                actions: { type: 'notePorts', params: ({ event }) => event.output }
              },
              {
                guard: { type: 'anyFault', params: ({ event }) => event.output },
                target: 'resting',
                actions: { type: 'notePorts', params: ({ event }) => event.output }
              },
              {
                target: 'settled',
                actions: { type: 'notePorts', params: ({ event }) => event.output }
              }
            ]
          }
        },
        resting: {
          on: { 'ports.changed': 'setting' },
          after: { portsRest: 'setting' }
        }
      }
    }
  }
})

const problemOf = (error: unknown): BrumeError =>
  error instanceof BrumeError ? error : new BrumeError('NAMES_FAILED', sentenceOf(error))

export type ConnectorActor = ActorRefFrom<typeof connectorMachine>
