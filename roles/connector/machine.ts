/**
 * The Connector: knows which replicas serve, and where. Flows (`flows.ts`) go by what it last saw.
 *
 *   gathering ⇄ settled          news lead to a new directory, at most one a moment
 */
import { assign, setup, type ActorRefFrom } from 'xstate'
import { directory, type Directory, type DirectoryInput } from './directory.ts'

export interface ConnectorComponents {
  /** The world as it is now. */
  readWorld(): DirectoryInput
}

export type ConnectorEvent =
  { type: 'view.changed' } | { type: 'gossip.changed' } | { type: 'peers.changed' }

const GATHER_MS = 200

const base = setup({
  types: {
    input: {} as ConnectorComponents,
    context: {} as { components: ConnectorComponents; directory: Directory },
    events: {} as ConnectorEvent
  },
  actions: {
    look: assign({ directory: ({ context }) => directory(context.components.readWorld()) })
  },
  delays: { gather: GATHER_MS }
})

export const connectorMachine = base.createMachine({
  id: 'connector',
  context: ({ input }) => ({ components: input, directory: new Map() }),
  initial: 'gathering',
  states: {
    gathering: { after: { gather: { target: 'settled', actions: 'look' } } },
    settled: {
      on: {
        'view.changed': 'gathering',
        'gossip.changed': 'gathering',
        'peers.changed': 'gathering'
      }
    }
  }
})

export type ConnectorActor = ActorRefFrom<typeof connectorMachine>
