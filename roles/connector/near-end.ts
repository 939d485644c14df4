/**
 * The near end of flows: dials containers of this node, and lets those that are to end go out of use
 * first.
 */
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Datagrams } from '../../core/datagrams.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { slotKey } from '../../core/state/state.ts'
import { dialDatagrams } from './dial-datagrams.ts'
import type { FlowHead } from './gate.ts'

/** A running copy of a slot on this machine. */
export interface LocalEnd {
  /** Of its container. */
  id: string
  application: string
  microservice: string
  slot: number
  /** Its own, at which all its ports are; null where published ones are all there is. */
  address: string | null
  ports: { container: number; host: number; protocol: 'tcp' | 'udp' }[]
  exposes: { container: number; protocol: 'tcp' | 'udp' }[]
  /** Wall ms. */
  startedAt: number | null
}

export interface DrainTimes {
  /** Until nobody is told of a container any more who asks where to go: gossip, a look, a TTL. */
  leavingMs: number
  /** How long a flow may go on after that. */
  drainMs: number
  /** One of datagrams ends after that time without any. */
  quietMs: number
}
const TIMES: DrainTimes = { leavingMs: 1_500, drainMs: 10_000, quietMs: 1_000 }

export class NearEnds {
  readonly #running: () => readonly LocalEnd[]
  readonly #times: DrainTimes
  /** Containers about to end. */
  readonly #leaving = new Set<string>()
  readonly #open = new Map<string, Set<Duplex>>()

  /** `running`: what runs on this machine now. */
  constructor(running: () => readonly LocalEnd[], times = TIMES) {
    this.#running = running
    this.#times = times
  }

  /** Copies of a slot, who stays before who leaves, then who has proved itself longest. */
  of(slot: { application: string; microservice: string; slot: number }): LocalEnd[] {
    const key = slotKey(slot)
    const ends = this.#running().filter((end) => slotKey(end) === key)
    const rank = (end: LocalEnd): number => Number(this.#leaving.has(end.id))
    return ends.sort((a, b) => rank(a) - rank(b) || (a.startedAt ?? 0) - (b.startedAt ?? 0))
  }

  /**
   * A connection to the first copy that takes it: half open, as flows are. Of UDP, which nobody takes
   * or refuses, to the first copy.
   *
   * @throws BrumeError REPLICA_NOT_HERE, PORT_CLOSED
   */
  async dial(
    { to, port, protocol }: Pick<FlowHead, 'to' | 'port' | 'protocol'>,
    signal: AbortSignal = NEVER
  ): Promise<Duplex> {
    const ends = this.of(to)
    if (ends.length === 0) {
      throw new BrumeError('REPLICA_NOT_HERE', `${slotKey(to)} does not run here`)
    }
    let failure: unknown = new Error('it publishes no such port')
    for (const { id, host, port: at } of ends.flatMap((end) => doorsOf(end, port, protocol))) {
      try {
        const socket = await dialOf(protocol)({ host, port: at }, signal)
        this.#count(id, socket)
        return socket
      } catch (error) {
        failure = error
      }
    }
    throw new BrumeError(
      'PORT_CLOSED',
      `${slotKey(to)} does not listen on port ${port}: ${sentenceOf(failure)}`
    )
  }

  /**
   * From now on these are chosen only where there is nobody else. Resolves when they may end: nobody
   * is sent to them any more, and their flows are over or have had their time.
   */
  async drained(ids: readonly string[]): Promise<void> {
    const known = this.#running()
    for (const id of this.#leaving) {
      if (!known.some((end) => end.id === id)) this.#leaving.delete(id)
    }
    const serving = known.filter(
      ({ id, ports, exposes }) => ids.includes(id) && ports.length + exposes.length > 0
    )
    if (serving.length === 0) return
    for (const { id } of serving) this.#leaving.add(id)
    await sleep(this.#times.leavingMs)
    const late = sleep(this.#times.drainMs, undefined, { ref: false })
    await Promise.race([late, Promise.all(serving.map(({ id }) => this.#idle(id)))])
  }

  /** Ends flows of datagrams to what is gone: no word of it comes from the network. */
  review(): void {
    const running = new Set(this.#running().map(({ id }) => id))
    for (const [id, open] of this.#open) {
      if (running.has(id)) continue
      for (const each of open) if (each instanceof Datagrams) each.destroy()
    }
  }

  #count(id: string, socket: Duplex): void {
    const open = this.#open.get(id) ?? new Set()
    this.#open.set(id, open.add(socket))
    socket.once('close', () => {
      open.delete(socket)
      if (open.size === 0 && this.#open.get(id) === open) this.#open.delete(id)
    })
  }

  async #idle(id: string): Promise<void> {
    const open = [...(this.#open.get(id) ?? [])]
    // They have no end of their own: between question and answer is a pause that long at most.
    for (const each of open) if (each instanceof Datagrams) each.idleAfter(this.#times.quietMs)
    await Promise.all(open.map((socket) => closed(socket)))
    if (this.#open.has(id)) await this.#idle(id)
  }
}

/** To a service outside the mesh, as this machine reaches it. @throws BrumeError PORT_CLOSED */
export async function dialOutside(
  { to, port, protocol }: Pick<FlowHead, 'to' | 'port' | 'protocol'>,
  host: string,
  signal: AbortSignal = NEVER
): Promise<Duplex> {
  try {
    return await dialOf(protocol)({ host, port }, signal)
  } catch (error) {
    const service = `${to.application}/${to.microservice}`
    throw new BrumeError('PORT_CLOSED', `${service} at ${host}:${port}: ${sentenceOf(error)}`)
  }
}

const dialOf = (protocol: FlowHead['protocol']) => (protocol === 'udp' ? dialDatagrams : connect)

const NEVER = new AbortController().signal

const closed = (socket: Duplex): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })

function doorsOf(
  { id, address, ports }: LocalEnd,
  port: number,
  protocol: FlowHead['protocol']
): { id: string; host: string; port: number }[] {
  const published = ports.filter((each) => each.container === port && each.protocol === protocol)
  return [
    ...(address === null ? [] : [{ id, host: address, port }]),
    ...published.map(({ host }) => ({ id, host: '127.0.0.1', port: host }))
  ]
}

/** A host that is there answers in a millisecond; a container behind another machine may never. */
const CONNECT_MS = 2_000

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
