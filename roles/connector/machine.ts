/**
 * The Connector: knows where every microservice can be reached. Ports are published on the node
 * that runs the replica, by its engine; tunnels to other nodes come here.
 *
 *   gathering ⇄ settled          news lead to a new directory, at most one a moment
 */
import { assign, setup, type ActorRefFrom } from 'xstate'
import { directory, type Endpoint } from './directory.ts'

export interface ConnectorComponents {
  /** The world as it is now. */
  readWorld(): Parameters<typeof directory>[0]
}

export type ConnectorEvent =
  { type: 'view.changed' } | { type: 'gossip.changed' } | { type: 'peers.changed' }

const GATHER_MS = 200

const base = setup({
  types: {
    input: {} as ConnectorComponents,
    context: {} as { components: ConnectorComponents; endpoints: Endpoint[] },
    events: {} as ConnectorEvent
  },
  actions: {
    look: assign({ endpoints: ({ context }) => directory(context.components.readWorld()) })
  },
  delays: { gather: GATHER_MS }
})

export const connectorMachine = base.createMachine({
  id: 'connector',
  context: ({ input }) => ({ components: input, endpoints: [] }),
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
