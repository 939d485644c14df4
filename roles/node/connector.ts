/** What the Connector gets from the rest of the daemon, and what people see of it. */
import type { Duplex } from 'node:stream'
import { waitFor } from 'xstate'
import { BrumeError } from '../../core/errors.ts'
import { canonical } from '../../core/crypto.ts'
import type { ExposedBody } from '../../core/gossip-records.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { EngineContainer } from '../agent/engine.ts'
import type { AgentActor } from '../agent/machine.ts'
import type { Directory } from '../connector/directory.ts'
import { ruleKey, told } from '../connector/exposed.ts'
import type { Flows } from '../connector/flows.ts'
import { flowHead, outsideOf, refusal, type FlowHead } from '../connector/gate.ts'
import type { ConnectorActor, ConnectorContext } from '../connector/machine.ts'
import type { NameComponents } from '../connector/name-service.ts'
import { dialOutside, type NearEnds } from '../connector/near-end.ts'
import type { OpenPortsComponents } from '../connector/open-ports.ts'
import type { LocalPort } from '../connector/packet-rules.ts'
import type { NodeComponents } from '../node.ts'
import { statusOf } from './world.ts'

export interface NamesReport {
  /** `unasked`: no container was started yet that could ask. */
  state: 'unasked' | 'opening' | 'serving' | 'off'
  /** Where containers ask, while they can. */
  address: string | null
  /** Why they cannot. */
  problem: { message: string; next: string | null } | null
}

export function flowsComponents(
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

export function nameComponents(
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
    open: (target, port, from, protocol) => flows.open({ ...target, port, protocol, from }),
    ownPorts: () => ownPorts(mesh),
    log
  }
}

export const namesOff = (): BrumeError =>
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
export async function resolverOf(connector: ConnectorActor | undefined): Promise<string | null> {
  if (connector === undefined) return null
  connector.send({ type: 'names.needed' })
  const isSettled = (context: ConnectorContext): boolean =>
    context.names !== null || context.problem?.code === 'NAMES_IMPOSSIBLE'
  await waitFor(connector, ({ context }) => isSettled(context), { timeout: NAMES_MS }).catch(
    () => undefined
  )
  return connector.getSnapshot().context.names?.address ?? null
}

export function namesReport(connector: ConnectorActor | undefined): NamesReport {
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

export const portsComponents = (flows: Flows): Pick<OpenPortsComponents, 'open'> => ({
  open: ({ application, microservice, to: port }) =>
    flows.open({ application, microservice, slot: null, port, from: null })
})

/** A record holds no more. */
const MAX_TOLD = 200
const MAX_PROBLEM = 200

/** All that should be open here, and what is wrong with it. */
export function exposedReport(connector: ConnectorActor | undefined): ExposedBody['ports'] {
  const opened = connector?.getSnapshot().context.opened
  if (opened === undefined) return []
  return told(opened).map(({ port, rule, open, problem }) => {
    const { host, path } = rule
    const why = problem?.slice(0, MAX_PROBLEM) ?? null
    return { microservice: ruleKey(rule), port, host, path, open, problem: why }
  })
}

/** Tells members of it where it is not what was told last. */
export function tellExposed({ gossip, self }: Mesh, ports: ExposedBody['ports']): void {
  const body = { ports: ports.slice(0, MAX_TOLD) }
  const last = gossip.get(self, 'exposed')?.body ?? { ports: [] }
  if (canonical(body) !== canonical(last)) gossip.publish('exposed', body)
}

/** Whoever it comes from, this node too, is judged by the same rule. @throws BrumeError */
async function letIn(
  mesh: Mesh,
  near: NearEnds,
  from: string,
  head: FlowHead,
  signal?: AbortSignal
): Promise<Duplex> {
  const { self, state } = mesh
  const refused = refusal(from, head, { self, state, status: statusOf(mesh) })
  if (refused !== null) throw refused
  const outside = outsideOf(head.to, mesh)
  return outside === null ? near.dial(head, signal) : dialOutside(head, outside.spec.host, signal)
}

/** Flows that come in from other nodes. */
export function answerFlows(mesh: Mesh, near: NearEnds): void {
  mesh.tunnels?.answer(async (from, head, signal) => {
    if (!flowHead.check(head)) throw new BrumeError('BAD_FLOW', 'this node knows no such flow')
    return letIn(mesh, near, from, head, signal)
  })
}
