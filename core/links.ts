/**
 * Links: live connections to members. Each end sends a frame a second, a heartbeat where it has
 * nothing else to say, and answers none; any packet counts as heard; three silent seconds end a
 * link, since the socket notices only after 14.
 */
import { EventEmitter } from 'node:events'
import c from 'compact-encoding'
import Protomux, { type Channel } from 'protomux'
import { bootNow } from './clock.ts'
import { gatherFrames } from './one-frame.ts'
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
  /** Of the transport, acknowledgements included; a lost frame does not hold them up. */
  packetsRead: number
  bytesWritten: number
  /** Ticks since the last packet, since the last frame, since this end sent a frame. */
  missed: number
  unread: number
  unsaid: number
  ticks: number
}

/** Half a heartbeat: what was just missed is noticed half a second later, not a whole one. */
const TICK_MS = 500
const MAX_MISSED = 6
/** The round trip is measured every so many ticks. */
const RTT_TICKS = 20
/**
 * Packets carry no signature, frames do: without a frame for so many ticks they count no more.
 * Longer than it takes to send a frame again that was lost several times.
 */
const MAX_UNREAD = 24
/** A tick this late means that the machine or the process stood still: nobody else was silent. */
const GAP_MS = 2_000

/** Emits `up` and `down`, and `gap` after this daemon itself stood still. */
export class Links extends EventEmitter<{
  up: [Link]
  down: [Link]
  gap: []
}> {
  readonly #links = new Map<string, Beating>()
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null
  #lastTick: number

  /** `now` in boot ms. */
  constructor(now: () => number = bootNow) {
    super()
    this.#now = now
    this.#lastTick = now()
  }

  start(): void {
    this.#lastTick = this.#now()
    this.#timer = setInterval(() => this.tick(), TICK_MS)
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
    gatherFrames(mux)
    const old = this.#links.get(id)
    const link: Beating = {
      id,
      connection,
      mux,
      heardAt: this.#now(),
      bytesRead: connection.rawBytesRead,
      packetsRead: packetsOf(connection),
      bytesWritten: connection.rawBytesWritten,
      missed: 0,
      unread: 0,
      unsaid: 1,
      ticks: 0,
      since: this.#now(),
      rttMs: null,
      calls: 0,
      calledAt: this.#now(),
      heart: heartbeat(mux, (ms) => (link.rttMs = ms))
    }
    this.#links.set(id, link)
    old?.connection.destroy()
    connection.once('close', () => this.#onClose(link))
    this.emit('up', link)
  }

  #onClose(link: Beating): void {
    listen(link, this.#now())
    if (this.#links.get(link.id) !== link) return
    this.#links.delete(link.id)
    this.emit('down', link)
  }

  /** What is due each half second: `start` calls it. */
  tick(): void {
    const now = this.#now()
    const gap = now - this.#lastTick > TICK_MS + GAP_MS
    this.#lastTick = now
    for (const link of this.#links.values()) {
      speak(link)
      listen(link, now)
      // What came in meanwhile is read only after the timers.
      if (gap) link.missed = 0
      if (link.missed >= MAX_MISSED) link.connection.destroy()
    }
    if (gap) this.emit('gap')
  }
}

/** No heartbeat where something else was said within the last tick. */
function speak(link: Beating): void {
  if (link.ticks++ % RTT_TICKS === 0) link.heart.measure()
  const written = link.connection.rawBytesWritten
  link.unsaid = written === link.bytesWritten ? link.unsaid + 1 : 0
  if (link.unsaid > 0) {
    link.heart.beat()
    link.unsaid = -1
  }
  link.bytesWritten = link.connection.rawBytesWritten
}

function listen(link: Beating, now: number): void {
  const { rawBytesRead } = link.connection
  const packets = packetsOf(link.connection)
  link.unread = rawBytesRead === link.bytesRead ? link.unread + 1 : 0
  const heard = link.unread === 0 || (packets !== link.packetsRead && link.unread < MAX_UNREAD)
  link.bytesRead = rawBytesRead
  link.packetsRead = packets
  link.missed = heard ? 0 : link.missed + 1
  if (heard) link.heardAt = now
}

/** 0 where the transport does not count them. */
const packetsOf = ({ rawStream }: Connection): number => rawStream?.packetsReceived ?? 0

const EMPTY = Buffer.alloc(0)

interface Heart {
  beat(): void
  /** Asks for an answer, which gives the round trip. */
  measure(): void
}

function heartbeat(mux: Protomux, onRtt: (ms: number) => void): Heart {
  const channel: Channel | null = mux.createChannel({ protocol: 'brume/presence/1' })
  const beat = channel?.addMessage({ encoding: c.raw, onmessage() {} })
  const ask = channel?.addMessage<number>({
    encoding: c.uint,
    onmessage: (n) => void answer?.send(n)
  })
  const answer = channel?.addMessage<number>({ encoding: c.uint, onmessage: onAnswer })
  channel?.open()
  let askedAt = 0
  let asked = 0
  let answered = 0
  return {
    beat() {
      if (channel?.closed === false) atOnce(() => beat?.send(EMPTY))
    },
    measure() {
      if (channel?.closed !== false) return
      askedAt = performance.now()
      atOnce(() => ask?.send(++asked))
    }
  }

  /** What is written counts as said. */
  function atOnce(say: () => void): void {
    mux.cork()
    say()
    mux.uncork()
  }

  function onAnswer(n: number): void {
    if (n !== asked || n === answered) return
    answered = n
    onRtt(performance.now() - askedAt)
  }
}
