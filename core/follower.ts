/**
 * Says which order of ops this node stands on, hears it of others, and goes over to the one that is
 * ahead: a node that comes back after a recovery, a newcomer that met a member of the old order, and
 * both sides of a split on which an admin recovered.
 */
import { delayMs } from './backoff.ts'
import { toId, fromId } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import { whomToFollow } from './fork.ts'
import type { Gossip } from './gossip.ts'
import type { OrderBody } from './gossip-records.ts'
import type { Logger } from './logger.ts'
import type { Oplog } from './oplog.ts'
import type { State } from './state/state.ts'

export interface FollowerComponents {
  oplog: Oplog
  gossip: Gossip
  state(): State
  log: Logger
}

const RETRY = { firstMs: 1_000, capMs: 30_000 }

export class Follower {
  readonly #it: FollowerComponents
  #going: Promise<void> | null = null
  #retry: NodeJS.Timeout | null = null
  #failures = 0
  #closed = false

  constructor(components: FollowerComponents) {
    this.#it = components
  }

  start(): void {
    const { oplog, gossip } = this.#it
    oplog.on('order', () => this.#say())
    gossip.on('change', (_, kind) => {
      if (kind === 'order') this.look()
    })
    this.#say()
    this.look()
  }

  /** Whoever came into reach may have what was lacking. */
  onPeer(): void {
    this.#failures = 0
    this.look()
  }

  /** The order ahead that this node knows of and has not reached yet; null where there is none. */
  ahead(): OrderBody | null {
    const said = new Map<string, OrderBody>()
    for (const [id, { body }] of this.#it.gossip.all('order')) said.set(id, body)
    return whomToFollow(this.#it.oplog.fork, said, this.#it.state().nodes)
  }

  look(): void {
    if (this.#going !== null || this.#closed || this.ahead() === null) return
    if (this.#retry !== null) {
      if (this.#failures > 0) return
      clearTimeout(this.#retry)
      this.#retry = null
    }
    this.#going = this.#go().finally(() => {
      this.#going = null
      if (this.#failures === 0) this.look()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#retry !== null) clearTimeout(this.#retry)
    await this.#going
  }

  async #go(): Promise<void> {
    const { oplog, log } = this.#it
    const order = this.ahead()
    const system = order === null ? null : fromId(order.system)
    if (order === null || system === null) return
    log.info({ fork: order.fork, system: order.system }, 'going over to another order of ops')
    try {
      if (await oplog.moveTo(system, order.fork)) {
        this.#failures = 0
        return
      }
      log.warn({ system: order.system }, 'nobody in reach has the whole order that is ahead')
    } catch (error) {
      log.warn({ error: sentenceOf(error) }, 'going over to another order of ops failed')
    }
    this.#failures++
    this.#tryLater()
  }

  #tryLater(): void {
    if (this.#closed) return
    this.#retry = setTimeout(
      () => {
        this.#retry = null
        this.look()
      },
      delayMs(this.#failures - 1, RETRY, Math.random())
    )
  }

  #say(): void {
    const { oplog, gossip } = this.#it
    const { system, fork } = oplog
    if (system === null || this.#closed) return
    gossip.publish('order', { fork, system: toId(system.key), length: system.length })
  }
}
