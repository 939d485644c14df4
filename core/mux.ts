/**
 * A session: any number of flows on one line, opened by either end. Each has its own back-pressure, so
 * that who does not read holds up nobody; what is asked and answered goes before data, and of data who
 * has little before who pours (`mux/turns.ts`).
 */
import { bootNow } from './clock.ts'
import { BrumeError } from './errors.ts'
import type { Line } from './line.ts'
import { FIRST_WINDOW, Flow, type FlowSession } from './mux/flow.ts'
import { bad, frame, FrameReader, HEADER_BYTES, Kind, writeHeader } from './mux/frames.ts'
import { Turns } from './mux/turns.ts'

export { MAX_BODY_BYTES } from './mux/frames.ts'
export type { Flow } from './mux/flow.ts'

export interface MuxOptions {
  line: Line
  /** The ends differ in it: who dialled. */
  isInitiator: boolean
  /** A flow is asked for; `accept` or `refuse` it. */
  onOpen: (flow: Flow, head: Buffer) => void
  /** The line is gone, with all flows. */
  onClose: (error: Error) => void
}

/** What the other end said when it did not take a flow. */
export class Refused extends Error {
  readonly said: Buffer

  constructor(said: Buffer) {
    super('the other end did not take it')
    this.said = said
  }
}

/** Of a message that is made. */
interface Part {
  kind: Kind
  flow: Flow
  /** Of its data. */
  bytes: number
}

interface Asked {
  flow: Flow
  resolve: (flow: Flow) => void
  reject: (error: Error) => void
}

const VERSION = 1
/** A flow gets no turn for less, where a message is nearly full. */
const LEAST_BYTES = 512
/** Answers that wait to go out; with more, no more is read that could ask for them. */
const MOST_ANSWERS_BYTES = 256 * 1024
/** By which readers that keep up may be given more room, all flows together. */
const SPARE_BYTES = 64 * 1024 * 1024
/** For what was written to go out when nothing follows it. */
const END_MS = 10_000

export class Mux implements FlowSession {
  readonly #options: MuxOptions
  readonly #line: Line
  readonly #reader = new FrameReader(this)
  readonly #flows = new Map<number, Flow>()
  readonly #asked = new Map<number, Asked>()
  readonly #turns = new Turns<Flow>()
  /** Frames that go before data. */
  #answers: Buffer[] = []
  #answersBytes = 0
  #isHeldUp = false
  #isSending = false
  #nextId: number
  /** Of the other end's flows. */
  #lastId = 0
  /** What it takes of a flow before it gives credit; null before its hello. */
  #credit: number | null = null
  #spare = SPARE_BYTES
  readonly #pings = new Map<number, () => void>()
  #lastPing = 0
  #usedAt = bootNow()
  /** Gone, and why. */
  #closed: Error | null = null
  #isEnding = false
  /** The line was told to end. */
  #isEnded = false

  constructor(options: MuxOptions) {
    this.#options = options
    this.#line = options.line
    this.#nextId = options.isInitiator ? 1 : 2
    this.#line.start({
      onBytes: (bytes) => this.#read(bytes),
      onRoom: () => this.#send(),
      onClose: (error) => this.#close(error)
    })
    const hello = Buffer.alloc(5)
    hello[0] = VERSION
    hello.writeUInt32BE(FIRST_WINDOW, 1)
    this.#answer(frame(Kind.hello, 0, hello))
  }

  /** Flows under way, those that are only asked for among them. */
  get size(): number {
    return this.#flows.size
  }

  /** Boot ms of when it last had a flow. */
  get usedAt(): number {
    return this.#flows.size > 0 ? bootNow() : this.#usedAt
  }

  /** It takes no new flows. */
  get isEnding(): boolean {
    return this.#isEnding || this.#closed !== null
  }

  get closed(): boolean {
    return this.#closed !== null
  }

  /**
   * Asks for a flow. `head` says what for, at most 8 KiB. Ended by `signal` it is taken back.
   *
   * @throws Refused; any other error: the session is of no use, or what `signal` says.
   */
  open(head: Buffer, signal: AbortSignal): Promise<Flow> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      if (this.#closed !== null) throw this.#closed
      if (this.#isEnding) throw new Error('the session ends')
      const id = this.#nextId
      this.#nextId += 2
      const flow = new Flow(this, id, this.#credit ?? 0)
      const question = frame(Kind.open, id, head)
      const takeBack = (): void => void flow.destroy()
      signal.addEventListener('abort', takeBack, { once: true })
      const settle = <A extends unknown[]>(then: (...args: A) => void) => {
        return (...args: A): void => {
          this.#asked.delete(id)
          signal.removeEventListener('abort', takeBack)
          then(...args)
        }
      }
      this.#flows.set(id, flow)
      this.#asked.set(id, { flow, resolve: settle(resolve), reject: settle(reject) })
      // Who asked hears of it; as long as nobody has the flow nobody else does.
      flow.on('error', () => {})
      flow.once('close', () => {
        const why = signal.aborted ? (signal.reason as Error) : (flow.errored ?? this.#closed)
        this.#asked.get(id)?.reject(why ?? new Error('it was taken back'))
      })
      this.#answer(question)
    })
  }

  /** Calls `done` when the other end has heard everything that was sent before. */
  ping(done: () => void): void {
    this.#answer(frame(Kind.ping, this.#asks(done)))
  }

  #asks(done: () => void): number {
    this.#lastPing = (this.#lastPing + 1) % 0x1_0000_0000
    this.#pings.set(this.#lastPing, done)
    return this.#lastPing
  }

  /** Once its flows are over. */
  end(): void {
    if (this.#isEnding || this.#closed !== null) return
    this.#isEnding = true
    this.#endSoon()
  }

  destroy(error = new Error('the session was ended')): void {
    this.#close(error)
  }

  // For flows.

  ready(flow: Flow): void {
    this.#turns.add(flow)
    this.#send()
  }

  give(flow: Flow, bytes: number): void {
    const body = Buffer.allocUnsafe(4)
    body.writeUInt32BE(bytes)
    this.#answer(frame(Kind.credit, flow.id, body))
  }

  widen(bytes: number): boolean {
    if (bytes > this.#spare) return false
    this.#spare -= bytes
    return true
  }

  answer(flow: Flow, refusal: Buffer | null): void {
    if (this.#flows.get(flow.id) !== flow) return
    this.#answer(
      refusal === null ? frame(Kind.accept, flow.id) : frame(Kind.refuse, flow.id, refusal)
    )
  }

  over(flow: Flow, whole: boolean): void {
    this.#turns.delete(flow)
    if (!this.#flows.delete(flow.id)) return
    this.#usedAt = bootNow()
    if (!whole) this.#answer(frame(Kind.reset, flow.id))
    if (this.#isEnding) this.#endSoon()
  }

  // For its reader.

  onData(id: number, piece: Buffer): void {
    const flow = this.#known(id)
    if (flow?.onData(piece) === false) throw bad('there is more data of a flow than may come')
  }

  onFrame(kind: Exclude<Kind, 4>, id: number, body: Buffer): void {
    if (kind === Kind.hello) return this.#onHello(body)
    if (this.#credit === null) throw bad('a session begins with hello')
    switch (kind) {
      case Kind.open:
        return this.#onOpen(id, body)
      case Kind.accept:
        this.#known(id)
        return this.#asked.get(id)?.resolve(this.#flows.get(id) as Flow)
      case Kind.refuse: {
        const flow = this.#known(id)
        // A copy: what was read is larger, and gone soon.
        this.#asked.get(id)?.reject(new Refused(Buffer.from(body)))
        return flow?.lost(new Error('it was not taken'))
      }
      case Kind.end:
        return this.#known(id)?.onEnd()
      case Kind.reset:
        return this.#known(id)?.lost(new Error('it was reset at its other end'))
      case Kind.credit:
        if (body.length !== 4) throw bad('credit is a number of four bytes')
        return this.#known(id)?.onCredit(body.readUInt32BE())
      case Kind.ping:
        return this.#answer(frame(Kind.pong, id))
      case Kind.pong: {
        const done = this.#pings.get(id)
        this.#pings.delete(id)
        return done?.()
      }
      case Kind.padding:
        return
    }
  }

  #onHello(body: Buffer): void {
    if (this.#credit !== null || body.length < 5) throw bad('a hello that makes no sense')
    if (body[0] !== VERSION) throw bad(`the other end speaks version ${body[0]}, this ${VERSION}`)
    this.#credit = body.readUInt32BE(1)
    for (const flow of this.#flows.values()) flow.onCredit(this.#credit)
  }

  #onOpen(id: number, head: Buffer): void {
    if (this.#isMine(id) || id <= this.#lastId) throw bad(`flow ${id} cannot be opened`)
    this.#lastId = id
    const flow = new Flow(this, id, this.#credit ?? 0)
    this.#flows.set(id, flow)
    this.#options.onOpen(flow, Buffer.from(head))
  }

  /** undefined where it is over. @throws where there never was one */
  #known(id: number): Flow | undefined {
    const flow = this.#flows.get(id)
    if (flow !== undefined) return flow
    const wasThere = id > 0 && (this.#isMine(id) ? id < this.#nextId : id <= this.#lastId)
    if (!wasThere) throw bad(`there is no flow ${id}`)
    return undefined
  }

  #isMine(id: number): boolean {
    return id % 2 === this.#nextId % 2
  }

  #read(bytes: Buffer): void {
    try {
      if (this.#closed === null) this.#reader.read(bytes)
    } catch (error) {
      if (!(error instanceof BrumeError)) throw error
      this.#close(error)
    }
  }

  #answer(bytes: Buffer): void {
    if (this.#closed !== null) return
    this.#answers.push(bytes)
    this.#answersBytes += bytes.length
    if (this.#answersBytes > MOST_ANSWERS_BYTES && !this.#isHeldUp) {
      this.#isHeldUp = true
      this.#line.pause()
    }
    this.#send()
  }

  /** As many messages as the line takes now. */
  #send(): void {
    // By what it lets be written: that is looked at when this message is out.
    if (this.#isSending || this.#closed !== null) return
    this.#isSending = true
    for (
      let room = this.#line.room();
      room > 0 && this.#closed === null;
      room = this.#line.room()
    ) {
      if (!this.#sendOne(room)) break
    }
    this.#isSending = false
    if (this.#isHeldUp && this.#answersBytes <= MOST_ANSWERS_BYTES) {
      this.#isHeldUp = false
      this.#line.resume()
    }
    if (this.#isEnding) this.#endSoon()
  }

  /** Of at most `room` bytes. False where there is nothing to send. */
  #sendOne(room: number): boolean {
    let size = 0
    let answers = 0
    for (const { length } of this.#answers) {
      if (size + length > room) break
      size += length
      answers++
    }
    const parts: Part[] = []
    const mayPour = !this.#line.isBusy()
    while (mayPour && room - size >= HEADER_BYTES + LEAST_BYTES) {
      const flow = this.#turns.next()
      if (flow === null) break
      size += HEADER_BYTES
      if (flow.planEnd()) {
        parts.push({ kind: Kind.end, flow, bytes: 0 })
        continue
      }
      const bytes = Math.min(flow.ready, room - size)
      flow.plan(bytes)
      this.#turns.took(flow, bytes)
      parts.push({ kind: Kind.data, flow, bytes })
      size += bytes
    }
    if (size === 0) return false
    size = this.#cut(parts, size)
    const padding = this.#line.padding(size, HEADER_BYTES)
    size += padding
    const heard = parts.length > 0 ? this.#line.mark(size) : null
    if (heard !== null) size += HEADER_BYTES
    const message = this.#line.alloc(size)
    let at = 0
    for (const answer of this.#answers.splice(0, answers)) {
      at += answer.copy(message, at)
      this.#answersBytes -= answer.length
    }
    for (const { kind, flow, bytes } of parts) {
      writeHeader(message, at, kind, flow.id, bytes)
      flow.fill(message, at + HEADER_BYTES, bytes)
      at += HEADER_BYTES + bytes
    }
    if (heard !== null) writeHeader(message, at, Kind.ping, this.#asks(heard), 0)
    if (padding > 0) {
      writeHeader(message, at, Kind.padding, 0, padding - HEADER_BYTES)
      message.fill(0, at + HEADER_BYTES)
    }
    this.#line.write(message)
    for (const { flow } of parts) flow.sent()
    return true
  }

  /** Leaves data planned last for the next message, as the line has it. Gives how large it is then. */
  #cut(parts: Part[], size: number): number {
    for (let rest = size; ;) {
      const excess = this.#line.excess(rest)
      const last = parts.at(-1)
      if (excess === 0 || last?.kind !== Kind.data) return rest
      const bytes = Math.min(excess, last.bytes)
      last.bytes -= bytes
      last.flow.plan(-bytes)
      this.#turns.took(last.flow, -bytes)
      this.#turns.add(last.flow)
      rest -= bytes
      if (last.bytes > 0) return rest
      parts.pop()
      rest -= HEADER_BYTES
    }
  }

  #endSoon(): void {
    if (this.#flows.size > 0 || this.#answers.length > 0) return
    if (this.#isEnded || this.#closed !== null) return
    this.#isEnded = true
    this.#line.end(END_MS)
  }

  #close(error: Error): void {
    if (this.#closed !== null) return
    this.#closed = error
    this.#line.destroy(error)
    for (const flow of [...this.#flows.values()]) flow.lost(error)
    this.#answers = []
    this.#pings.clear()
    this.#options.onClose(error)
  }
}
