/**
 * Virtual time for one process: timers, `Date.now`, `performance.now` and the boot clock are the simulation's, and time
 * goes on only when nothing is left to do at the present moment. Which node a timer belongs to is
 * known from the asynchronous context it was set in, so that one node can stand still, or be dead,
 * while the others go on.
 *
 * For a process that does nothing else (`worker.ts`): the globals are replaced and stay so.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'
import timers from 'node:timers/promises'

/** One run of one node's process: what is set within it waits when it pauses, and ends when it dies. */
export interface Life {
  name: string
  /** Its wall clock against the simulation's, in ms. */
  skewMs: number
  paused: boolean
  dead: boolean
}

const FIRST_WALL_MS = Date.UTC(2026, 0, 1)
const FIRST_BOOT_MS = 1_000_000
/** What Node lists of a process whose loop has something to do. */
const BUSY = new Set([
  'FSReqCallback',
  'FSReqPromise',
  'FileHandleCloseReq',
  'CloseReq',
  'Immediate'
])
/** The loop must have been empty so many turns in a row. */
const QUIET_TURNS = 2

const real = {
  now: performance.now.bind(performance),
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setImmediate: globalThis.setImmediate
}

/** ms of the world outside. */
export const realNow = (): number => real.now()

/** Of the world outside: for deadlines of the simulation itself. */
export const realTimeout = (ms: number, act: () => void): (() => void) => {
  const timer = real.setTimeout(act, ms)
  return () => real.clearTimeout(timer)
}

class Timer {
  readonly time: VirtualTime
  readonly act: () => void
  readonly life: Life | null
  readonly waitMs: number
  readonly repeats: boolean
  at = 0
  seq = 0
  cancelled = false

  constructor(
    time: VirtualTime,
    life: Life | null,
    waitMs: number,
    repeats: boolean,
    act: () => void
  ) {
    this.time = time
    this.life = life
    this.waitMs = waitMs
    this.repeats = repeats
    this.act = act
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  refresh(): this {
    this.time.restart(this)
    return this
  }

  close(): this {
    this.cancelled = true
    return this
  }
}

export class VirtualTime {
  readonly #context = new AsyncLocalStorage<Life | null>()
  #heap: { at: number; seq: number; timer: Timer }[] = []
  readonly #held = new Map<Life, Timer[]>()
  #now = 0
  #seq = 0
  /** Instants at which something happened, since `install`. */
  instants = 0

  /** ms since the simulation began. */
  get now(): number {
    return this.#now
  }

  /** Runs `act` as that node: the timers it sets, now and later, are that node's. */
  as<T>(life: Life | null, act: () => T): T {
    return this.#context.run(life, act)
  }

  get life(): Life | null {
    return this.#context.getStore() ?? null
  }

  /** Runs `act` in `ms` as that node: later if it pauses, never once it is dead. */
  after(ms: number, life: Life | null, act: () => void): () => void {
    const timer = new Timer(this, life, Math.max(0, ms), false, act)
    this.restart(timer)
    return () => (timer.cancelled = true)
  }

  /** @internal */
  restart(timer: Timer): void {
    timer.cancelled = false
    timer.at = this.#now + timer.waitMs
    timer.seq = ++this.#seq
    push(this.#heap, { at: timer.at, seq: timer.seq, timer })
  }

  /** What waited while the node stood still happens now. */
  resume(life: Life): void {
    life.paused = false
    const held = this.#held.get(life) ?? []
    this.#held.delete(life)
    for (const timer of held) {
      timer.at = this.#now
      timer.seq = ++this.#seq
      push(this.#heap, { at: timer.at, seq: timer.seq, timer })
    }
  }

  /** For the next simulation: no timer is left, and it is the beginning again. */
  reset(): void {
    this.#heap = []
    this.#held.clear()
    this.#now = 0
    this.instants = 0
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    await this.until(() => false, ms)
  }

  /** Lets time pass until `holds` does, asked whenever all is quiet; false if not within `ms`. */
  async until(holds: () => boolean, ms: number): Promise<boolean> {
    const end = this.#now + ms
    for (;;) {
      await this.quiet()
      if (holds()) return true
      let next = this.#heap[0]
      if (next === undefined || next.at > end) break
      this.instants++
      this.#now = Math.max(this.#now, next.at)
      while (next !== undefined && next.at <= this.#now) {
        pop(this.#heap)
        this.#fire(next)
        next = this.#heap[0]
      }
    }
    this.#now = end
    return false
  }

  /** Resolves once nothing more happens unless time passes. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < QUIET_TURNS;) {
      await new Promise((resolve) => real.setImmediate(resolve))
      const busy = process.getActiveResourcesInfo().some((r) => BUSY.has(r))
      turns = busy ? 0 : turns + 1
    }
  }

  /** Takes the process over: from here on time is virtual, for good. */
  install(): void {
    const set =
      (repeats: boolean) =>
      (act: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): Timer => {
        const waitMs = Math.max(1, Number(ms) || 0)
        const timer = new Timer(this, this.life, waitMs, repeats, () => act(...args))
        this.restart(timer)
        return timer
      }
    const clear = (timer: unknown): void => {
      if (timer instanceof Timer) timer.cancelled = true
    }
    const setting = { setTimeout: set(false), setInterval: set(true) }
    Object.assign(globalThis, setting, { clearTimeout: clear, clearInterval: clear })
    Date.now = () => FIRST_WALL_MS + Math.floor(this.#now) + (this.life?.skewMs ?? 0)
    performance.now = () => this.#now
    os.uptime = () => (FIRST_BOOT_MS + this.#now) / 1000
    // Without options, which nobody gives here.
    timers.setTimeout = (ms, value) =>
      new Promise((resolve) => setTimeout(() => resolve(value as never), ms))
    syncBuiltinESMExports()
    AbortSignal.timeout = (ms) => {
      const controller = new AbortController()
      const reason = new DOMException('The operation timed out', 'TimeoutError')
      setTimeout(() => controller.abort(reason), ms)
      return controller.signal
    }
  }

  #fire({ timer, seq }: { timer: Timer; seq: number }): void {
    // Started again since, or called off.
    if (timer.seq !== seq || timer.cancelled || timer.life?.dead === true) return
    if (timer.life?.paused === true) {
      const held = this.#held.get(timer.life)
      if (held === undefined) this.#held.set(timer.life, [timer])
      else held.push(timer)
      return
    }
    if (timer.repeats) this.restart(timer)
    this.#context.run(timer.life, timer.act)
  }
}

interface Entry {
  at: number
  seq: number
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.seq < b.seq)

/** A binary heap: the earliest first, of one moment in the order they were set. */
function push<E extends Entry>(heap: E[], entry: E): void {
  let i = heap.push(entry) - 1
  while (i > 0) {
    const parent = (i - 1) >> 1
    if (!before(entry, heap[parent] as E)) break
    heap[i] = heap[parent] as E
    i = parent
  }
  heap[i] = entry
}

function pop<E extends Entry>(heap: E[]): void {
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1] as E, heap[child] as E)) child++
    if (!before(heap[child] as E, last)) break
    heap[i] = heap[child] as E
    i = child
  }
  heap[i] = last
}
