/**
 * The root actor: supervises the three roles and feeds them. It alone knows all three; what
 * each is given stands in `node/`.
 *
 *   node (parallel)   agent · controller · connector     each: running ⇄ resting (after it threw)
 *                     sources                            view, gossip, peers → news for the roles
 *
 * A role that throws is started again with backoff while the others go on.
 */
import type { Readable } from 'node:stream'
import {
  assign,
  createActor,
  fromCallback,
  setup,
  type ActorRefFrom,
  type AnyActorRef,
  type EventObject
} from 'xstate'
import { delayMs } from '../core/backoff.ts'
import { bootNow } from '../core/clock.ts'
import type { ExposedBody, FactsBody } from '../core/gossip-records.ts'
import type { Logger } from '../core/logger.ts'
import type { Mesh } from '../core/mesh.ts'
import type { State } from '../core/state/state.ts'
import { throttle } from '../core/throttle.ts'
import type { AgentComponents } from './agent/components.ts'
import type { Engine } from './agent/engine.ts'
import { agentMachine, type AgentActor } from './agent/machine.ts'
import type { Directory } from './connector/directory.ts'
import { Flows } from './connector/flows.ts'
import { Loopback } from './connector/loopback.ts'
import {
  connectorMachine,
  type ConnectorActor,
  type ConnectorComponents
} from './connector/machine.ts'
import { forgetNames, openNames } from './connector/name-service.ts'
import { NearEnds } from './connector/near-end.ts'
import { OpenPorts } from './connector/open-ports.ts'
import { elect } from './controller/election.ts'
import { halves, verdicts, type NodeVerdict } from './controller/explain.ts'
import { createController, type ControllerComponents } from './controller/machine.ts'
import { place, type Plan, type SlotReason } from './controller/place.ts'
import { rebalance, type Rebalanced } from './controller/rebalance.ts'
import {
  agentComponents,
  clearEngine,
  hasAddresses,
  prefetch,
  processesOf,
  runningOn,
  type Cleared
} from './node/agent.ts'
import {
  answerFlows,
  exposedReport,
  flowsComponents,
  nameComponents,
  namesOff,
  namesReport,
  portsComponents,
  resolverOf,
  tellExposed,
  type NamesReport
} from './node/connector.ts'
import { controllerComponents, controllerWorld, holding } from './node/controller.ts'
import { tellFacts } from './node/facts.ts'
import { answerPeers, logsOf } from './node/logs.ts'
import { VIEW_MS, worldOf } from './node/world.ts'
import { keepTidy } from './tidy.ts'

export interface NodeComponents {
  mesh: Mesh
  /** Data directory. */
  dir: string
  /** What runs containers here; null where none is wanted. */
  openEngine: () => Promise<Engine | null>
  /** Containers reach microservices by name. */
  names: boolean
  log: Logger
  version: string
  /** How long a node must be alive to confirm the order, where that is not `STABLE_MS`. */
  stableMs?: number
}

export interface RunningNode {
  /** Every actor, its state and since when. */
  actors(): { name: string; state: string; sinceMs: number }[]
  /** Why slots wait or stay where they cannot run: what the Controller would say here and now. */
  explain(): SlotReason[]
  /** Why who leads does, or why nobody does, as the Controller judges here and now. */
  election(): string
  /** Where things would be if the view were this, and these bundles had been sent to this node. */
  planFor(state: State, bundles: readonly string[]): Plan
  /** How many nodes could run it then, where two halves of them would both; else null. */
  halvesFor(state: State, microservice: string): number | null
  /** What each member has to say against one more replica of it; null where there is no such one. */
  verdicts(microservice: string): NodeVerdict[] | null
  /** What would spread replicas more evenly, as the Controller would place them here and now. */
  rebalance(): Rebalanced[]
  /** What the Agent last said of the engine. */
  engine(): FactsBody['engine']
  /** Which replicas serve, and where. */
  directory(): Directory
  /** From this node to replicas anywhere. */
  flows: Flows
  /** Whether containers of this node reach microservices by name. */
  names(): NamesReport
  /** Ports that should be open here for microservices, and why they are not. */
  exposed(): ExposedBody['ports']
  /** Lines of JSON (LogLine) of a container of this node. @throws BrumeError LOGS_NONE */
  logs(slot: string, options: { follow: boolean; tail: number | null }): Promise<Readable>
  /** Ends the roles; containers stay. */
  stop(): Promise<void>
  /**
   * Ends the roles, and every container of this node with them; volumes stay.
   * @throws BrumeError as `roles/agent/engine.ts` says.
   */
  clear(): Promise<Cleared>
}

/** Who does not lead has not looked before. */
const NOTHING_SEEN = { sinceMs: new Map<string, number>() }

/** A node that is silent for longer counts as lost. */
export const LOST_AFTER_MS = 5_000

/** A role that threw rests this long, doubled each time up to the cap. */
const REST = { firstMs: 500, capMs: 30_000 }

/** And at what much gossip makes of it. */
const GOSSIP_MS = 200

export function startNode(components: NodeComponents): RunningNode {
  const { mesh, log } = components
  const facts = tellFacts(components)
  const agent = (): AgentActor | undefined => root.system.get('agent') as AgentActor | undefined
  const connector = (): ConnectorActor | undefined =>
    root.system.get('connector') as ConnectorActor | undefined
  const directoryNow = (): Directory => connector()?.getSnapshot().context.directory ?? new Map()
  const near = new NearEnds(() => runningOn(agent()))
  const flows = new Flows(flowsComponents(mesh, near, directoryNow))
  const names = nameComponents(components, { agent, near, flows, directory: directoryNow })
  const loopback = new Loopback({
    dir: components.dir,
    state: () => mesh.state,
    askers: () => processesOf(agent()),
    open: names.open,
    log
  })
  const followLoopback = throttle(() => loopback.follow(), VIEW_MS)
  const reviewNear = throttle(() => near.review(), VIEW_MS)
  const machine = createNodeMachine({
    agent: agentComponents(components, facts, {
      resolver: () => resolverOf(connector()),
      serviceEnv: (ref) => loopback.envFor(ref),
      drained: (ids) => near.drained(ids)
    }),
    controller: controllerComponents(components, agent),
    connector: {
      self: mesh.self,
      readWorld: () => ({ ...worldOf(mesh), state: mesh.state }),
      openNames: () => (components.names ? openNames(names) : Promise.reject(namesOff())),
      ports: new OpenPorts({ ...portsComponents(flows), log }),
      random: Math.random,
      log
    },
    mesh,
    log
  })
  const states = new Map<string, { state: string; since: number }>()
  const root = createActor(machine, {
    inspect(event) {
      if (event.type !== '@xstate.snapshot') return
      noteState(root, event.actorRef, event.snapshot, states)
      if (event.actorRef === connector()) {
        facts.noteNames(namesReport(connector()))
        tellExposed(mesh, exposedReport(connector()))
      }
      if (event.actorRef !== agent()) return
      followLoopback()
      reviewNear()
      // What an earlier daemon started asks us for names.
      if (hasAddresses(agent())) connector()?.send({ type: 'names.needed' })
    }
  })
  answerPeers(mesh, agent)
  answerFlows(mesh, near)
  root.start()
  const containers = () => agent()?.getSnapshot().context.containers ?? null
  const endTidying = keepTidy({ mesh, containers, log })
  const end = async (): Promise<void> => {
    root.stop()
    endTidying()
    facts.end()
    followLoopback.end()
    reviewNear.end()
    await loopback.close()
  }
  return {
    actors: () =>
      [...states].map(([name, { state, since }]) => ({
        name,
        state,
        sinceMs: Math.round(bootNow() - since)
      })),
    explain: () => place({ ...controllerWorld(mesh), ...NOTHING_SEEN }).waiting,
    election: () => elect(controllerWorld(mesh)).reason,
    planFor: (state, bundles) =>
      place({ ...holding(controllerWorld(mesh), bundles), ...NOTHING_SEEN, state }),
    halvesFor: (state, key) => halves({ ...controllerWorld(mesh), ...NOTHING_SEEN, state }, key),
    verdicts: (key) => verdicts({ ...controllerWorld(mesh), ...NOTHING_SEEN }, key),
    rebalance: () => rebalance({ ...controllerWorld(mesh), ...NOTHING_SEEN }),
    engine: facts.engine,
    directory: directoryNow,
    flows,
    names: () => namesReport(connector()),
    exposed: () => exposedReport(connector()),
    logs: (slot, options) => logsOf(agent(), slot, options),
    async stop() {
      const open = agent()?.getSnapshot().context.engine
      await end()
      await open?.close()
    },
    async clear() {
      const open = agent()?.getSnapshot().context.engine
      await end()
      await open?.close()
      const cleared = await clearEngine(components.openEngine)
      await forgetNames(components.dir)
      return cleared
    }
  }
}

interface Parts {
  agent: AgentComponents
  controller: ControllerComponents
  connector: ConnectorComponents
  mesh: Mesh
  log: Logger
}

const ROLE_NAMES = ['agent', 'controller', 'connector'] as const

type RoleName = (typeof ROLE_NAMES)[number]

type News =
  | { type: 'view.changed'; state: Mesh['state'] }
  | { type: 'gossip.changed' }
  | { type: 'peers.changed'; alive: ReadonlySet<string> }

/** The machine of the root actor. Its parts are used by the actors it starts, not before. */
export function createNodeMachine(parts: Parts) {
  const { mesh, log } = parts
  const base = setup({
    types: { context: {} as { rests: Record<RoleName, number> }, events: {} as News },
    actors: {
      agent: agentMachine,
      controller: createController(parts.controller),
      connector: connectorMachine,
      sources: fromCallback<EventObject>(({ sendBack }) => listen(mesh, sendBack))
    },
    actions: {
      tellRoles: ({ system, event }) => {
        for (const name of ROLE_NAMES) {
          ;(system.get(name) as AnyActorRef | undefined)?.send(event)
        }
      },
      brief: ({ system }, { role }: { role: RoleName }) => {
        const actor = system.get(role) as AnyActorRef | undefined
        actor?.send({ type: 'view.changed', state: mesh.state })
        actor?.send({ type: 'peers.changed', alive: mesh.alive() })
      },
      noteFailure: assign(({ context }, { role, error }: { role: RoleName; error: unknown }) => {
        log.error({ role, err: error }, 'a role failed and is started again')
        return { rests: { ...context.rests, [role]: context.rests[role] + 1 } }
      })
    },
    delays: {
      agentRests: ({ context }) => restMs(context.rests.agent),
      controllerRests: ({ context }) => restMs(context.rests.controller),
      connectorRests: ({ context }) => restMs(context.rests.connector)
    }
  })
  return base.createMachine({
    id: 'node',
    type: 'parallel',
    context: { rests: { agent: 0, controller: 0, connector: 0 } },
    invoke: { src: 'sources' },
    on: {
      'view.changed': { actions: 'tellRoles' },
      'gossip.changed': { actions: 'tellRoles' },
      'peers.changed': { actions: 'tellRoles' }
    },
    states: {
      agent: {
        initial: 'running',
        states: {
          running: {
            invoke: {
              src: 'agent',
              systemId: 'agent',
              input: parts.agent,
              onError: {
                target: 'resting',
                actions: {
                  type: 'noteFailure',
                  params: ({ event }) => ({ role: 'agent', error: event.error })
                }
              }
            },
            entry: { type: 'brief', params: { role: 'agent' } }
          },
          resting: { after: { agentRests: 'running' } }
        }
      },
      controller: {
        initial: 'running',
        states: {
          running: {
            invoke: {
              src: 'controller',
              systemId: 'controller',
              onError: {
                target: 'resting',
                actions: {
                  type: 'noteFailure',
                  params: ({ event }) => ({ role: 'controller', error: event.error })
                }
              }
            },
            entry: { type: 'brief', params: { role: 'controller' } }
          },
          resting: { after: { controllerRests: 'running' } }
        }
      },
      connector: {
        initial: 'running',
        states: {
          running: {
            invoke: {
              src: 'connector',
              systemId: 'connector',
              input: parts.connector,
              onError: {
                target: 'resting',
                actions: {
                  type: 'noteFailure',
                  params: ({ event }) => ({ role: 'connector', error: event.error })
                }
              }
            },
            entry: { type: 'brief', params: { role: 'connector' } }
          },
          resting: { after: { connectorRests: 'running' } }
        }
      }
    }
  })
}

const restMs = (failures: number): number => delayMs(failures - 1, REST, Math.random())

/** The sources: what the mesh below tells, as events in the past tense. */
function listen(mesh: Mesh, sendBack: (event: News) => void): () => void {
  const onView = throttle(() => {
    sendBack({ type: 'view.changed', state: mesh.state })
    prefetch(mesh)
  }, VIEW_MS)
  const onGossip = throttle(() => sendBack({ type: 'gossip.changed' }), GOSSIP_MS)
  const onPeers = (): void => sendBack({ type: 'peers.changed', alive: mesh.alive() })
  mesh.on('view', onView)
  mesh.on('gossip', onGossip)
  mesh.on('peers', onPeers)
  prefetch(mesh)
  return () => {
    mesh.off('view', onView)
    onView.end()
    mesh.off('gossip', onGossip)
    onGossip.end()
    mesh.off('peers', onPeers)
  }
}

/** Notes since when each role is in its state. */
function noteState(
  root: ActorRefFrom<ReturnType<typeof createNodeMachine>>,
  actor: unknown,
  snapshot: unknown,
  states: Map<string, { state: string; since: number }>
): void {
  const name = actor === root ? 'node' : ROLE_NAMES.find((role) => root.system.get(role) === actor)
  if (name === undefined) return
  const state = describeState((snapshot as { value?: unknown }).value)
  if (states.get(name)?.state !== state) states.set(name, { state, since: bootNow() })
}

/** `{ leading: 'watching' }` is `leading.watching`. */
function describeState(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) =>
      typeof inner === 'object' && inner !== null && Object.keys(inner).length === 0
        ? key
        : `${key}.${describeState(inner)}`
    )
    .join(' ')
}
