/**
 * The near end of flows that come in: whether who asks may reach the replica, a pure judgement, and
 * the dial to its container.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { StatusBody } from '../../core/gossip-records.ts'
import { allowedBy } from '../../core/state/policies.ts'
import { name } from '../../core/state/names.ts'
import { integer, literal, nullable, object, type Infer } from '../../core/state/shape.ts'
import { atLeast, type State } from '../../core/state/state.ts'

const microservice = object({ application: name, microservice: name })

/** What a flow is for: the first word of who opens it. */
export const flowHead = object({
  to: object({ application: name, microservice: name, slot: integer(0, 99_999) }),
  /** Of the container. */
  port: integer(1, 65_535),
  protocol: literal('tcp'),
  /** The microservice that asks; null for a person at that node. */
  from: nullable(microservice)
})
export type FlowHead = Infer<typeof flowHead>

/** Where a running copy of a slot listens on this machine. */
export interface LocalEnd {
  /** Its own address, at which all its ports are; null where published ones are all there is. */
  address: string | null
  ports: { container: number; host: number; protocol: 'tcp' | 'udp' }[]
}

export interface GateWorld {
  state: Pick<State, 'nodes' | 'placements' | 'microservices'>
  /** What each node reports of its containers. */
  status: ReadonlyMap<string, StatusBody>
}

/** Why a flow is not let in; null where it is. */
export function refusal(from: string, head: FlowHead, world: GateWorld): BrumeError | null {
  const { to, port } = head
  const target = `${to.application}/${to.microservice}`
  if (head.from === null) {
    const role = world.state.nodes.get(from)?.role ?? 'viewer'
    if (atLeast(role, 'operator')) return null
    return new BrumeError('FORBIDDEN', `a ${role} node opens no flow to ${target}:${port}`)
  }
  const asker = `${head.from.application}/${head.from.microservice}`
  if (!runsOn(from, head.from, world)) {
    return new BrumeError('FORBIDDEN', `${asker} does not run on the node that speaks for it`)
  }
  const spec = world.state.microservices.get(target)?.spec
  const allow = spec === undefined ? [] : allowedBy(spec)
  if (mayReach(head.from, { application: to.application, allow })) return null
  return new BrumeError(
    'FORBIDDEN',
    `${asker} may not reach ${target}: it is of another application`,
    { next: `\`allow: [${asker}]\` at ${target} lets it` }
  )
}

/** One of the same application, or one that is let in, by the name of its application or its own. */
export function mayReach(
  from: NonNullable<FlowHead['from']>,
  to: { application: string; allow: readonly string[] }
): boolean {
  if (from.application === to.application) return true
  const { application, microservice } = from
  return to.allow.some((each) => each === application || each === `${application}/${microservice}`)
}

/** Placed there, or reported from there as on its way out. */
function runsOn(
  node: string,
  { application, microservice }: NonNullable<FlowHead['from']>,
  { state, status }: GateWorld
): boolean {
  const isIt = (other: { application: string; microservice: string }): boolean =>
    other.application === application && other.microservice === microservice
  for (const placement of state.placements.values()) {
    if (placement.node === node && isIt(placement)) return true
  }
  return status.get(node)?.containers.some(isIt) ?? false
}

/** A host that is there answers in a millisecond; a container behind another machine may never. */
const CONNECT_MS = 2_000

/**
 * A connection to the first copy that takes it: half open, as flows are.
 *
 * @throws BrumeError REPLICA_NOT_HERE, PORT_CLOSED
 */
export async function dialLocal(
  ends: readonly LocalEnd[],
  { to, port }: Pick<FlowHead, 'to' | 'port'>,
  signal: AbortSignal
): Promise<Duplex> {
  const replica = `${to.application}/${to.microservice}/${to.slot}`
  if (ends.length === 0) throw new BrumeError('REPLICA_NOT_HERE', `${replica} does not run here`)
  const doors = ends.flatMap(({ address, ports }) => {
    const published = ports.filter((each) => each.container === port && each.protocol === 'tcp')
    return [
      ...(address === null ? [] : [{ host: address, port }]),
      ...published.map(({ host }) => ({ host: '127.0.0.1', port: host }))
    ]
  })
  let failure: unknown = new Error('it publishes no such port')
  for (const door of doors) {
    try {
      return await connect(door, signal)
    } catch (error) {
      failure = error
    }
  }
  throw new BrumeError(
    'PORT_CLOSED',
    `${replica} does not listen on port ${port}: ${sentenceOf(failure)}`
  )
}

function connect(door: { host: string; port: number }, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const socket = net.connect({ ...door, allowHalfOpen: true, noDelay: true })
    const abort = (): void => void socket.destroy(new Error('nobody waits for it any more'))
    signal.addEventListener('abort', abort, { once: true })
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_MS)
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      socket.off('error', onError)
    }
    const onError = (error: Error): void => {
      end()
      reject(error)
    }
    socket.on('error', onError)
    socket.once('connect', () => {
      end()
      // Between here and `join` a reset must not end the daemon; `join` sees it by the close.
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}
