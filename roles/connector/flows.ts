/**
 * Flows from this node: to the nearest replica that serves, and to the next where one does not take
 * it. Once the first byte went over, a failure is a reset: nothing is sent twice.
 */
import type { Duplex } from 'node:stream'
import { unreachable } from '../../core/channel.ts'
import { bootNow } from '../../core/clock.ts'
import { Datagrams } from '../../core/datagrams.ts'
import { BrumeError } from '../../core/errors.ts'
import { endedWell, join, reset } from '../../core/flow-stream.ts'
import { slotKey } from '../../core/state/state.ts'
import {
  nearestFirst,
  placeOf,
  serviceKey,
  type Directory,
  type Replica,
  type Service,
  type Vicinity
} from './directory.ts'
import type { FlowHead } from './gate.ts'

export interface FlowsComponents {
  /** Who serves now. */
  directory(): Directory
  vicinity: Omit<Vicinity, 'flowsTo' | 'isDoubtful'>
  /** A flow to a replica of another node. @throws BrumeError */
  tunnel(node: string, head: FlowHead): Promise<Duplex>
  /** One to a replica of this node. @throws BrumeError */
  local(head: FlowHead): Promise<Duplex>
  /** How new flows to a node go now. */
  pathTo(node: string): FlowPath
}

/** What a flow is asked for. */
export interface FlowTarget {
  application: string
  microservice: string
  /** null for any replica. */
  slot: number | null
  port: number
  /** TCP where it is not said. */
  protocol?: FlowHead['protocol']
  /** null for a person. */
  from: FlowHead['from']
}

export type FlowPath = 'local' | 'lan' | 'direct' | 'relayed'

/** Of one service, from this node, since its daemon started. */
export interface FlowFigures {
  open: number
  opened: number
  /** None of its replicas took it. */
  refused: number
  /** Taken by another replica than the first that was tried. */
  retried: number
  resets: number
  bytesSent: number
  bytesReceived: number
  /** Datagrams of flows that were taken, which came faster than they went over. */
  dropped: number
  /** Of those opened, how many began on which path. */
  paths: Record<FlowPath, number>
}

/** Of replicas that took none; more would keep who asks waiting. */
const MAX_TRIES = 4
/** A way that stands answers in a round trip, and a new one to a member in reach is seldom slower. */
const PATIENCE_MS = 3_000
/** A node that is gone is out of the directory by then. */
const DOUBT_MS = 10_000

export class Flows {
  readonly #it: FlowsComponents
  readonly #open = new Map<string, number>()
  readonly #figures = new Map<string, FlowFigures>()
  /** Nodes that kept a flow waiting, and until when, boot ms, they are tried last. */
  readonly #doubts = new Map<string, number>()

  constructor(components: FlowsComponents) {
    this.#it = components
  }

  /**
   * Gives, once a replica has taken the flow, what joins a client to it.
   *
   * @throws BrumeError UNKNOWN_SERVICE, NO_REPLICA, FORBIDDEN, or why the last replica that was tried
   * did not take it.
   */
  async open(target: FlowTarget): Promise<(client: Duplex) => void> {
    const key = serviceKey(target)
    const service = this.#it.directory().get(key)
    if (service === undefined) {
      throw new BrumeError('UNKNOWN_SERVICE', `there is no microservice ${key}`, {
        next: 'brume ps'
      })
    }
    const figures = this.#figuresOf(key)
    const fit = service.replicas.filter(({ slot }) => (target.slot ?? slot) === slot)
    const tried = nearestFirst(fit, this.#vicinity()).slice(0, MAX_TRIES)
    let failure: unknown = nobodyServes(key, target.slot)
    for (const [tries, replica] of tried.entries()) {
      try {
        const flow =
          tries + 1 < tried.length
            ? await this.#soon(replica, target)
            : await this.#to(replica, target)
        if (tries > 0) figures.retried++
        this.#count(flow, endOf(replica), figures)
        figures.paths[this.#it.pathTo(replica.node)]++
        return (client) => attach(client, flow, figures)
      } catch (error) {
        failure = error
        if (error instanceof BrumeError && error.code === 'FORBIDDEN') break
      }
    }
    figures.refused++
    throw failure
  }

  /** Its replicas in the order in which they are tried, each with what its place comes from. */
  order(service: Service): { replica: Replica; flows: number; why: string }[] {
    const vicinity = this.#vicinity()
    return nearestFirst(service.replicas, vicinity).map((replica) => ({
      replica,
      flows: vicinity.flowsTo(replica),
      why: placeOf(replica, vicinity)
    }))
  }

  #vicinity(): Vicinity {
    return {
      ...this.#it.vicinity,
      flowsTo: (replica) => this.#open.get(endOf(replica)) ?? 0,
      isDoubtful: (node) => this.#isDoubtful(node)
    }
  }

  /** By APP/MICROSERVICE. */
  figures(): ReadonlyMap<string, FlowFigures> {
    return this.#figures
  }

  #to(replica: Replica, { port, protocol = 'tcp', from }: FlowTarget): Promise<Duplex> {
    const { application, microservice, slot, node } = replica
    const to = { application, microservice, slot }
    const head: FlowHead = { to, port, protocol, from }
    return node === this.#it.vicinity.self ? this.#it.local(head) : this.#it.tunnel(node, head)
  }

  /** Where others wait to be tried, one that keeps quiet is doubted and not waited for. */
  async #soon(replica: Replica, target: FlowTarget): Promise<Duplex> {
    const opening = this.#to(replica, target)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#doubts.set(replica.node, bootNow() + DOUBT_MS)
        reject(unreachable(replica.node, new Error('no answer')))
        opening.then(reset, () => {})
      }, PATIENCE_MS)
    })
    try {
      return await Promise.race([opening, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #isDoubtful(node: string): boolean {
    const until = this.#doubts.get(node)
    if (until === undefined) return false
    if (until > bootNow()) return true
    this.#doubts.delete(node)
    return false
  }

  #figuresOf(key: string): FlowFigures {
    const known = this.#figures.get(key)
    if (known !== undefined) return known
    const fresh = { open: 0, opened: 0, refused: 0, retried: 0, resets: 0 }
    const paths = { local: 0, lan: 0, direct: 0, relayed: 0 }
    const figures = { ...fresh, bytesSent: 0, bytesReceived: 0, dropped: 0, paths }
    this.#figures.set(key, figures)
    return figures
  }

  #count(flow: Duplex, end: string, figures: FlowFigures): void {
    figures.open++
    figures.opened++
    this.#open.set(end, (this.#open.get(end) ?? 0) + 1)
    flow.once('close', () => {
      figures.open--
      if (!endedWell(flow)) figures.resets++
      const left = (this.#open.get(end) ?? 1) - 1
      if (left === 0) this.#open.delete(end)
      else this.#open.set(end, left)
    })
  }
}

function attach(client: Duplex, flow: Duplex, figures: FlowFigures): void {
  if (client.destroyed) return reset(flow)
  if (client instanceof Datagrams) {
    figures.dropped += client.dropped
    client.on('dropped', () => figures.dropped++)
  }
  join(client, flow, (from, bytes) => {
    if (from === 'a') figures.bytesSent += bytes
    else figures.bytesReceived += bytes
  })
}

const endOf = (replica: Replica): string => `${slotKey(replica)}@${replica.node}`

function nobodyServes(key: string, slot: number | null): BrumeError {
  const what = slot === null ? `no replica of ${key}` : `${key}/${slot}`
  return new BrumeError('NO_REPLICA', `${what} is up and healthy on a node in reach`, {
    next: `brume explain ${key}`
  })
}
