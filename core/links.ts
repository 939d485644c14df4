/**
 * Links: live connections to members. Each end sends one heartbeat a second and answers none; any
 * frame counts as heard; three silent seconds end a link, since the socket notices only after 14.
 */
import { EventEmitter } from 'node:events'
import c from 'compact-encoding'
import Protomux, { type Channel } from 'protomux'
import { bootNow } from './clock.ts'
import type { Connection } from './swarm.ts'

export interface Link {
  /** Node id of the peer. */
  id: string
  connection: Connection
  mux: Protomux
  /** Boot ms of the last frame. */
  heardAt: number
  /** Boot ms at which it came up. */
  since: number
  /** Measured every 10 s; null until the first time. */
  rttMs: number | null
  /** Calls under way on it, of both ends. */
  calls: number
  /** Boot ms at which the last of them ended. */
  calledAt: number
}

interface Beating extends Link {
  heart: Heart
  bytesRead: number
  missed: number
}

const BEAT_MS = 1_000
const MAX_MISSED = 3
const RTT_BEATS = 10
/** A tick this late means that the machine or the process stood still: nobody else was silent. */
const GAP_MS = 2_000

/**
 * Emits `up` and `down` (with how long the peer had been silent), and `gap` after this daemon
 * itself stood still.
 */
export class Links extends EventEmitter<{
  up: [Link]
  down: [Link, silentMs: number]
  gap: []
}> {
  readonly #links = new Map<string, Beating>()
  #timer: NodeJS.Timeout | null = null
  #lastTick = bootNow()

  start(): void {
    this.#lastTick = bootNow()
    this.#timer = setInterval(() => this.#tick(), BEAT_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    for (const link of this.#links.values()) link.connection.destroy()
  }

  get(id: string): Link | null {
    return this.#links.get(id) ?? null
  }

  get ids(): string[] {
    return [...this.#links.keys()]
  }

  get all(): Link[] {
    return [...this.#links.values()]
  }

  /** Takes a connection whose other end is known to be a member. A newer one replaces the old. */
  add(id: string, connection: Connection): void {
    const mux = Protomux.from(connection)
    const old = this.#links.get(id)
    const link: Beating = {
      id,
      connection,
      mux,
      heardAt: bootNow(),
      bytesRead: connection.rawBytesRead,
      missed: 0,
      since: bootNow(),
      rttMs: null,
      calls: 0,
      calledAt: bootNow(),
      heart: heartbeat(mux, (ms) => (link.rttMs = ms))
    }
    this.#links.set(id, link)
    old?.connection.destroy()
    connection.once('close', () => this.#onClose(link))
    this.emit('up', link)
  }

  #onClose(link: Beating): void {
    this.#listen(link, bootNow())
    if (this.#links.get(link.id) !== link) return
    this.#links.delete(link.id)
    this.emit('down', link, bootNow() - link.heardAt)
  }

  #tick(): void {
    const now = bootNow()
    const gap = now - this.#lastTick > BEAT_MS + GAP_MS
    this.#lastTick = now
    for (const link of this.#links.values()) {
      if (gap) link.missed = 0
      link.heart.beat()
      if (this.#listen(link, now)) continue
      link.missed++
      if (link.missed >= MAX_MISSED) link.connection.destroy()
    }
    if (gap) this.emit('gap')
  }

  #listen(link: Beating, now: number): boolean {
    const read = link.connection.rawBytesRead
    if (read === link.bytesRead) return false
    link.bytesRead = read
    link.missed = 0
    link.heardAt = now
    return true
  }
}

interface Heart {
  beat(): void
}

/** Every tenth beat, the first too, asks for an answer, which gives the round trip. */
function heartbeat(mux: Protomux, onRtt: (ms: number) => void): Heart {
  const channel: Channel | null = mux.createChannel({ protocol: 'brume/presence/1' })
  const beat = channel?.addMessage({ encoding: c.uint, onmessage() {} })
  const ask = channel?.addMessage<number>({
    encoding: c.uint,
    onmessage: (n) => void answer?.send(n)
  })
  const answer = channel?.addMessage<number>({ encoding: c.uint, onmessage: onAnswer })
  channel?.open()
  let beats = 0
  let askedAt = 0
  let asked = -1
  return {
    beat() {
      if (channel?.closed !== false) return
      if (beats++ % RTT_BEATS !== 0) return void beat?.send(0)
      askedAt = performance.now()
      asked = beats
      ask?.send(asked)
    }
  }

  function onAnswer(n: number): void {
    if (n !== asked) return
    asked = -1
    onRtt(performance.now() - askedAt)
  }
}
