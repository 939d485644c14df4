/**
 * The root actor: supervises the three roles and feeds them. The only file that knows all three.
 *
 *   node (parallel)   agent · controller · connector     each: running ⇄ resting (after it threw)
 *                     sources                            view, gossip, peers → news for the roles
 *
 * A role that throws is started again with backoff while the others go on.
 */
import { addAbortSignal, Transform, type Duplex, type Readable } from 'node:stream'
import {
  assign,
  createActor,
  fromCallback,
  setup,
  waitFor,
  type ActorRefFrom,
  type AnyActorRef,
  type EventObject
} from 'xstate'
import { delayMs } from '../core/backoff.ts'
import { bootNow } from '../core/clock.ts'
import { BrumeError, sentenceOf } from '../core/errors.ts'
import { readIfThere, writeWhole } from '../core/files.ts'
import type { FactsBody, LinksBody, StatusBody } from '../core/gossip-records.ts'
import { linesOf } from '../core/lines.ts'
import type { Logger } from '../core/logger.ts'
import type { Mesh } from '../core/mesh.ts'
import { devicesAsked } from '../core/state/devices.ts'
import { FORMAT } from '../core/state/mesh.ts'
import type { Op } from '../core/state/index.ts'
import { MAX_REASON } from '../core/state/placements.ts'
import { MAX_LINE, MAX_LOG_LINES } from '../core/state/rollout-ops.ts'
import { slotKey, type State } from '../core/state/state.ts'
import { throttle } from '../core/throttle.ts'
import { arch, cpus, platform, totalmem } from 'node:os'
import { join } from 'node:path'
import type { AgentComponents } from './agent/components.ts'
import { watchDevices } from './agent/devices.ts'
import type { SlotRef } from './agent/duty.ts'
import type { Engine, EngineContainer, EngineInfo, LogLine } from './agent/engine.ts'
import { agentMachine, agentRuns, type AgentActor } from './agent/machine.ts'
import type { SavedMemory } from './agent/memory.ts'
import { openLogs } from './agent/streams.ts'
import type { Directory } from './connector/directory.ts'
import { Flows } from './connector/flows.ts'
import { flowHead, refusal, type FlowHead } from './connector/gate.ts'
import { Loopback } from './connector/loopback.ts'
import { NearEnds } from './connector/near-end.ts'
import {
  connectorMachine,
  type ConnectorActor,
  type ConnectorComponents,
  type ConnectorContext
} from './connector/machine.ts'
import type { LocalPort } from './connector/packet-rules.ts'
import { forgetNames, openNames, type NameComponents } from './connector/name-service.ts'
import {
  createController,
  type ControllerComponents,
  type ControllerWorld
} from './controller/machine.ts'
import { STABLE_MS } from './controller/indexers.ts'
import { place, type Plan, type SlotReason } from './controller/place.ts'
import { elect } from './controller/election.ts'
import { verdicts, type NodeVerdict } from './controller/explain.ts'
import { rebalance, type Rebalanced } from './controller/rebalance.ts'
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

export interface NamesReport {
  /** `unasked`: no container was started yet that could ask. */
  state: 'unasked' | 'opening' | 'serving' | 'off'
  /** Where containers ask, while they can. */
  address: string | null
  /** Why they cannot. */
  problem: { message: string; next: string | null } | null
}

export interface RunningNode {
  /** Every actor, its state and since when. */
  actors(): { name: string; state: string; sinceMs: number }[]
  /** Why slots wait or stay where they cannot run: what the Controller would say here and now. */
  explain(): SlotReason[]
  /** Why who leads does, or why nobody does, as the Controller judges here and now. */
  election(): string
  /** Where things would be if the view were this. */
  planFor(state: State): Plan
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
  /** Lines of JSON (LogLine) of a container of this node. @throws BrumeError LOGS_NONE */
  logs(slot: string, options: { follow: boolean; tail: number | null }): Promise<Readable>
  /** Ends the roles; containers stay. */
  stop(): Promise<void>
  /**
   * Ends the roles, and every container of this node with them. Gives what ran, as
   * APP/MICROSERVICE/SLOT. @throws BrumeError as `roles/agent/engine.ts` says.
   */
  clear(): Promise<string[]>
}

/** Who does not lead has not looked before. */
const NOTHING_SEEN = { sinceMs: new Map<string, number>(), drainingMs: new Map<string, number>() }

/** A node that is silent for longer counts as lost. */
export const LOST_AFTER_MS = 5_000
/** A role that threw rests this long, doubled each time up to the cap. */
const REST = { firstMs: 500, capMs: 30_000 }
/** Roles look at a change at once, and at what many ops, or much gossip, make of it. */
const VIEW_MS = 100
const GOSSIP_MS = 200
/** How long a failed replica's log is waited for. */
const LAST_LINES_MS = 2_000

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
    microservices: () => mesh.state.microservices,
    askers: () => processesOf(agent()),
    open: names.open,
    log
  })
  const followLoopback = throttle(() => loopback.follow(), VIEW_MS)
  const machine = createNodeMachine({
    agent: agentComponents(components, facts.noteEngine, {
      resolver: () => resolverOf(connector()),
      serviceEnv: (ref) => loopback.envFor(ref),
      drained: (ids) => near.drained(ids)
    }),
    controller: controllerComponents(components, agent),
    connector: {
      readWorld: () => ({ ...worldOf(mesh), state: mesh.state }),
      openNames: () => (components.names ? openNames(names) : Promise.reject(namesOff())),
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
      if (event.actorRef === connector()) facts.noteNames(namesReport(connector()))
      if (event.actorRef !== agent()) return
      followLoopback()
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
    planFor: (state) => place({ ...controllerWorld(mesh), ...NOTHING_SEEN, state }),
    verdicts: (key) => verdicts({ ...controllerWorld(mesh), ...NOTHING_SEEN }, key),
    rebalance: () => rebalance({ ...controllerWorld(mesh), ...NOTHING_SEEN }),
    engine: facts.engine,
    directory: directoryNow,
    flows,
    names: () => namesReport(connector()),
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
      const ran = await clearEngine(components.openEngine)
      await forgetNames(components.dir)
      return ran
    }
  }
}

/** A container is asked to end for so long. */
const CLEAR_GRACE_MS = 10_000

/** By an engine of its own: the Agent's may be in the middle of a step. */
async function clearEngine(openEngine: () => Promise<Engine | null>): Promise<string[]> {
  const engine = await openEngine()
  if (engine === null) return []
  try {
    const containers = await engine.list()
    await Promise.all(
      containers.map(async ({ id }) => {
        await engine.stop(id, CLEAR_GRACE_MS)
        await engine.remove(id)
      })
    )
    await engine.clear()
    return containers.map(slotKey).sort()
  } finally {
    await engine.close()
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

/** Every node that may run a microservice gets its files beforehand: their author may die. */
function prefetch(mesh: Mesh): void {
  const own = mesh.gossip.get(mesh.self, 'facts')?.body.engine.kind ?? 'none'
  if (own === 'none') return
  for (const { spec } of mesh.state.microservices.values()) {
    if (spec.files === null || mesh.bundles.held.has(spec.files.digest)) continue
    mesh.bundles.fetch(spec.files).catch((error: unknown) => mesh.bundles.report(error))
  }
}

function agentComponents(
  { mesh, dir, openEngine, log }: NodeComponents,
  onEngine: (report: FactsBody['engine'], info: EngineInfo | null) => void,
  connector: Pick<AgentComponents, 'resolver' | 'serviceEnv' | 'drained'>
): AgentComponents {
  const memoryPath = join(dir, 'agent.json')
  return {
    self: mesh.self,
    openEngine,
    filesDir: (bundle, signal) => mesh.bundles.unpacked(bundle, signal),
    ...connector,
    asksRuns: (node, slot, placement) =>
      mesh.channel.ask<boolean>(node, 'runs', { slot, placement }),
    readStatus: () => statusOf(mesh),
    publishStatus: (body) => mesh.gossip.publish('status', body),
    reportEngine(engine, info) {
      onEngine(engine, info)
      prefetch(mesh)
    },
    store: {
      async load() {
        const bytes = await readIfThere(memoryPath)
        return bytes === null ? null : (JSON.parse(bytes.toString()) as SavedMemory)
      },
      save: (memory) => writeWhole(memoryPath, JSON.stringify(memory))
    },
    now: bootNow,
    wallNow: Date.now,
    random: Math.random,
    log
  }
}

interface Facts {
  noteNames: (report: NamesReport) => void
  noteEngine: (engine: FactsBody['engine'], info: EngineInfo | null) => void
  /** What was last said of it. */
  engine: () => FactsBody['engine']
  end: () => void
}

/** What this node is, told when that changes: nothing before its engine was looked at. */
function tellFacts({ mesh, version }: NodeComponents): Facts {
  let engine: FactsBody['engine'] | null = null
  let info: EngineInfo | null = null
  let devices: Record<string, boolean> = {}
  let names: string | null = null
  const tell = (): void => {
    if (engine === null) return
    mesh.gossip.publish('facts', {
      version,
      format: FORMAT,
      os: platform(),
      arch: info?.arch ?? nodeArch(),
      engine,
      cpus: info?.cpus ?? cpus().length,
      memoryBytes: info?.memoryBytes ?? totalmem(),
      ...(Object.keys(devices).length > 0 && { devices }),
      ...(names !== null && { names })
    })
  }
  const watch = watchDevices({
    asked: () => devicesAsked(mesh.state),
    tell(found) {
      devices = found
      tell()
    }
  })
  const look = throttle(() => watch.look(), VIEW_MS)
  mesh.on('view', look)
  look()
  return {
    noteNames({ problem }) {
      const next = problem?.next ?? null
      const said =
        problem === null ? null : next === null ? problem.message : `${problem.message} (${next})`
      if (said === names) return
      names = said
      tell()
    },
    noteEngine(said, found) {
      engine = said
      info = found
      tell()
    },
    engine: () => engine ?? { kind: 'none', version: null, problem: null },
    end() {
      mesh.off('view', look)
      look.end()
      watch.end()
    }
  }
}

const nodeArch = (): string => (arch() === 'x64' ? 'amd64' : arch())

function controllerComponents(
  { mesh, log, stableMs }: NodeComponents,
  agent: () => AgentActor | undefined
): ControllerComponents {
  return {
    readWorld: () => controllerWorld(mesh, stableMs),
    async appendPlan(plan, term) {
      const at = Date.now()
      const ops: Op[] = [
        ...plan.rm.map(({ application, microservice, slot }) => ({
          type: 'placement.rm' as const,
          application,
          microservice,
          slot,
          term,
          at
        })),
        ...plan.set.map(({ application, microservice, slot, node, revision, moved, reason }) => ({
          type: 'placement.set' as const,
          application,
          microservice,
          slot,
          node,
          revision,
          ...(moved && { moved }),
          reason: reason.slice(0, MAX_REASON),
          term,
          at
        }))
      ]
      for (const { reason, ...slot } of [...plan.rm, ...plan.set]) log.info(slot, reason)
      if (plan.indexer !== null) {
        const { node, indexer, reason } = plan.indexer
        log.info({ node, indexer }, reason)
        ops.push({ type: 'indexer.set', node, indexer, term, at })
      }
      for (const { failed, ...end } of plan.ends) {
        const about = { application: end.application, microservice: end.microservice }
        log.info(about, `rollout ${end.outcome}${end.reason === '' ? '' : `: ${end.reason}`}`)
        const lines = failed === null ? [] : await lastLines({ mesh, log }, agent, failed)
        ops.push({ type: 'rollout.end', ...end, log: lines, term, at })
      }
      await mesh.append(ops)
    },
    async claimLease(term) {
      await mesh.append([{ type: 'lease.claim', term, at: Date.now() }])
    },
    reportPlan(waiting) {
      for (const { reason, ...slot } of waiting) log.info(slot, `waits: ${reason}`)
    },
    reportFailure(error, retryInMs) {
      log.warn({ error: sentenceOf(error), retryInMs }, 'an append of the Controller failed')
    },
    now: bootNow,
    random: Math.random
  }
}

/** What a replica said last; nothing where its node does not tell in time. */
async function lastLines(
  { mesh, log }: Pick<NodeComponents, 'mesh' | 'log'>,
  agent: () => AgentActor | undefined,
  { slot, node }: { slot: string; node: string }
): Promise<string[]> {
  const options = { follow: false, tail: MAX_LOG_LINES }
  const signal = AbortSignal.timeout(LAST_LINES_MS)
  try {
    const stream =
      node === mesh.self
        ? await logsOf(agent(), slot, options)
        : await mesh.channel.open(node, 'logs', { slot, ...options }, signal)
    const found: string[] = []
    addAbortSignal(signal, stream)
    for await (const text of linesOf(stream)) {
      found.push((JSON.parse(text) as LogLine).line.slice(0, MAX_LINE))
    }
    return found.slice(-MAX_LOG_LINES)
  } catch (error) {
    log.debug({ slot, error: sentenceOf(error) }, 'the log of what failed could not be read')
    return []
  }
}

function controllerWorld(mesh: Mesh, stableMs = STABLE_MS): ControllerWorld {
  const world = worldOf(mesh)
  const facts = new Map<string, FactsBody>()
  for (const [id, { body }] of mesh.gossip.all('facts')) facts.set(id, body)
  const uptimeRank = new Map<string, number>()
  for (const [id, { body }] of mesh.gossip.all('links')) {
    uptimeRank.set(id, (body satisfies LinksBody).uptimeRank)
  }
  return {
    self: mesh.self,
    state: mesh.state,
    ...world,
    silentMs: mesh.silent(world.alive),
    facts,
    uptimeRank,
    settledMs: mesh.settledMs,
    aliveMs: mesh.aliveMs(),
    stableMs
  }
}

function worldOf(mesh: Mesh): { alive: Set<string>; status: Map<string, StatusBody> } {
  return { alive: mesh.alive(), status: statusOf(mesh) }
}

function statusOf(mesh: Mesh): Map<string, StatusBody> {
  const status = new Map<string, StatusBody>()
  for (const [id, { body }] of mesh.gossip.all('status')) status.set(id, body)
  return status
}

/** What peers may ask of this node's roles. */
function answerPeers(mesh: Mesh, agent: () => AgentActor | undefined): void {
  mesh.channel.answer('runs', async (_from, params) => {
    const { slot, placement } = params as { slot: string; placement: string }
    const context = agent()?.getSnapshot().context
    return context !== undefined && agentRuns(context, slot, placement)
  })
  mesh.channel.answer('logs', async (from, params) => {
    if (mesh.state.nodes.get(from)?.state !== 'member') {
      throw new BrumeError('FORBIDDEN', 'only members may read logs')
    }
    const { slot, follow, tail } = params as { slot: string; follow: boolean; tail: number | null }
    return logsOf(agent(), slot, { follow, tail })
  })
}

function flowsComponents(
  mesh: Mesh,
  near: NearEnds,
  directory: () => Directory
): ConstructorParameters<typeof Flows>[0] {
  return {
    directory,
    vicinity: {
      self: mesh.self,
      zoneOf: (node) => mesh.state.nodes.get(node)?.labels['zone'] ?? null,
      rttMs: (node) => mesh.links.get(node)?.rttMs ?? null
    },
    local: (head) => letIn(mesh, near, mesh.self, head),
    pathTo(node) {
      if (node === mesh.self) return 'local'
      const tunnel = mesh.tunnels?.report().find((each) => each.mine && each.node === node)
      return tunnel?.path.kind ?? 'direct'
    },
    tunnel(node, head) {
      if (mesh.tunnels === null) throw new BrumeError('NO_FLOWS', 'this mesh has no tunnels')
      return mesh.tunnels.open(node, head)
    }
  }
}

function nameComponents(
  { mesh, dir, log }: NodeComponents,
  roles: {
    agent: () => AgentActor | undefined
    near: NearEnds
    flows: Flows
    directory: () => Directory
  }
): NameComponents {
  const { agent, near, flows, directory } = roles
  return {
    dir,
    self: mesh.self,
    directory,
    addressOf: (replica) => near.of(replica)[0]?.address ?? null,
    askerAt: (address) => askerAt(agent(), address),
    open: (target, port, from) => flows.open({ ...target, port, from }),
    ownPorts: () => ownPorts(mesh),
    log
  }
}

const namesOff = (): BrumeError =>
  new BrumeError('NAMES_IMPOSSIBLE', 'this node was told to give containers no names', {
    next: 'it entered its mesh with --no-names'
  })

/** What this daemon listens on beyond its own machine. */
function ownPorts({ gossip, self }: Mesh): LocalPort[] {
  const data = gossip.get(self, 'tunnel')?.body.port ?? null
  const dht = new Set(gossip.get(self, 'net')?.body.addresses.map((each) => each.split(':')[1]))
  return [
    ...(data === null ? [] : [{ protocol: 'tcp' as const, port: data }]),
    ...[...dht, MDNS_PORT].map((port) => ({ protocol: 'udp' as const, port: Number(port) }))
  ]
}
const MDNS_PORT = 5353

/** One that was started a moment ago may ask before the Agent has heard of its start. */
const ASKER_MS = 2_000

async function askerAt(agent: AgentActor | undefined, address: string): Promise<FlowHead['from']> {
  const find = (): EngineContainer | undefined =>
    agent?.getSnapshot().context.containers?.find((container) => container.address === address)
  if (agent === undefined) return null
  if (find() === undefined) {
    await waitFor(agent, () => find() !== undefined, { timeout: ASKER_MS }).catch(() => undefined)
  }
  const found = find()
  return found === undefined
    ? null
    : { application: found.application, microservice: found.microservice }
}

/** Names are quick to open, or not to be had. */
const NAMES_MS = 15_000

/** What a container is told to ask; begins with names where nobody needed them yet. */
async function resolverOf(connector: ConnectorActor | undefined): Promise<string | null> {
  if (connector === undefined) return null
  connector.send({ type: 'names.needed' })
  const isSettled = (context: ConnectorContext): boolean =>
    context.names !== null || context.problem?.code === 'NAMES_IMPOSSIBLE'
  await waitFor(connector, ({ context }) => isSettled(context), { timeout: NAMES_MS }).catch(
    () => undefined
  )
  return connector.getSnapshot().context.names?.address ?? null
}

const hasAddresses = (agent: AgentActor | undefined): boolean =>
  agent?.getSnapshot().context.containers?.some(({ address }) => address !== null) ?? false

/** What has a process here, or is to have one; null while nobody knows. */
function processesOf(agent: AgentActor | undefined): SlotRef[] | null {
  const context = agent?.getSnapshot().context
  if (!context?.engine || !context.containers) return null
  if (context.engine.kind !== 'process') return []
  return [...context.memory.slots.values(), ...context.containers]
}

function namesReport(connector: ConnectorActor | undefined): NamesReport {
  const snapshot = connector?.getSnapshot()
  const { names = null, problem = null } = snapshot?.context ?? {}
  if (names !== null) return { state: 'serving', address: names.address, problem: null }
  if (problem !== null) {
    const { message, next } = problem
    return { state: 'off', address: null, problem: { message, next: next ?? null } }
  }
  const state = snapshot?.matches({ names: 'opening' }) === true ? 'opening' : 'unasked'
  return { state, address: null, problem: null }
}

/** Whoever it comes from, this node too, is judged by the same rule. @throws BrumeError */
async function letIn(
  mesh: Mesh,
  near: NearEnds,
  from: string,
  head: FlowHead,
  signal?: AbortSignal
): Promise<Duplex> {
  const refused = refusal(from, head, { state: mesh.state, status: statusOf(mesh) })
  if (refused !== null) throw refused
  return near.dial(head, signal)
}

/** Flows that come in from other nodes. */
function answerFlows(mesh: Mesh, near: NearEnds): void {
  mesh.tunnels?.answer(async (from, head, signal) => {
    if (!flowHead.check(head)) throw new BrumeError('BAD_FLOW', 'this node knows no such flow')
    return letIn(mesh, near, from, head, signal)
  })
}

const runningOn = (agent: AgentActor | undefined): EngineContainer[] =>
  agent?.getSnapshot().context.containers?.filter(({ state }) => state === 'running') ?? []

async function logsOf(
  agent: AgentActor | undefined,
  slot: string,
  options: { follow: boolean; tail: number | null }
): Promise<Readable> {
  const context = agent?.getSnapshot().context ?? { engine: null, containers: null }
  const lines = await openLogs(context, slot, options)
  const encode = new Transform({
    writableObjectMode: true,
    transform: (line: unknown, _encoding, done) => done(null, `${JSON.stringify(line)}\n`)
  })
  lines.once('error', (error: Error) => encode.destroy(error))
  encode.once('close', () => lines.destroy())
  return lines.pipe(encode)
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
