/** Makes relayed links direct, one at a time; which one and when, `punch.ts` decides. */
import type { Connection } from 'hyperswarm'
import { bootNow } from './clock.ts'
import { fromId } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'
import { punchAgainMs, whomToPunch, type PunchState, type RelayedLink } from './punch.ts'
import type { NatKind } from './relay.ts'

export interface PuncherComponents {
  self: string
  /** Of this node, now. */
  nat(): NatKind
  /** Tries to reach a node without a relay. */
  connect(key: Buffer): Connection
  /** One that was made; it may replace the relayed one. */
  onDirect(connection: Connection): void
  /** A try is over: another may begin. */
  onEnd(): void
  /** A try has so long. */
  ms: number
  log: Logger
}

export class Puncher {
  readonly #it: PuncherComponents
  readonly #tried = new Map<string, PunchState>()
  #now: Connection | null = null

  constructor(components: PuncherComponents) {
    this.#it = components
  }

  /** Begins with a link that is due, of all that go through a relay now. @returns when to look again */
  look(relayed: readonly RelayedLink[]): number {
    const now = bootNow()
    const ids = new Set(relayed.map(({ id }) => id))
    for (const id of this.#tried.keys()) if (!ids.has(id)) this.#tried.delete(id)
    for (const id of ids) {
      if (!this.#tried.has(id)) this.#tried.set(id, { tries: 0, nextAt: now + againMs(0) })
    }
    const { id, wakeAt } = whomToPunch({
      self: { id: this.#it.self, nat: this.#it.nat() },
      now,
      relayed,
      tried: this.#tried,
      punching: this.#now !== null
    })
    const key = id === null ? null : fromId(id)
    if (id !== null && key !== null) this.#begin(id, key)
    return wakeAt
  }

  end(): void {
    this.#now?.destroy()
  }

  #begin(id: string, key: Buffer): void {
    const connection = this.#it.connect(key)
    this.#now = connection
    const timer = setTimeout(() => connection.destroy(), this.#it.ms)
    let reason: Error | null = null
    const end = (): void => {
      clearTimeout(timer)
      connection.off('error', onError)
      this.#now = null
      this.#it.onEnd()
    }
    const onError = (error: Error): void => void (reason = error)
    const onClose = (): void => {
      const tries = (this.#tried.get(id)?.tries ?? 0) + 1
      this.#tried.set(id, { tries, nextAt: bootNow() + againMs(tries) })
      const error = reason === null ? 'it hung up' : sentenceOf(reason)
      this.#it.log.debug({ node: id, error, tries }, 'a relayed link stays relayed')
      end()
    }
    connection.on('error', onError)
    connection.once('close', onClose)
    connection.once('open', () => {
      connection.off('close', onClose)
      end()
      this.#it.onDirect(connection)
    })
  }
}

const againMs = (tries: number): number => punchAgainMs(tries, Math.random())
