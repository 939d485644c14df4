/**
 * The join channel: the first words on every connection. Both ends show their admission; a member
 * lets in who holds the mesh key, recognises who was admitted while it was away, and hands the
 * newcomer the encryption key. Until then a stranger gets nothing else, and 10 seconds.
 */
import c from 'compact-encoding'
import Protomux from 'protomux'
import { admission as admissionShape, verifyAdmission, type Admission } from './admission.ts'
import { toId } from './crypto.ts'
import { sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'
import type { Connection } from './swarm.ts'

export interface Welcome {
  /** Hex, 32 bytes. */
  encryptionKey: string
}

export interface Refusal {
  code: string
  message: string
}

interface Hello {
  paper: Admission
  /** The sender is not in the mesh yet and asks to be let in. */
  wants: boolean
}

/** What one end decides while it greets. */
export interface JoinSide {
  /** This end is a member and can replicate: only then are other channels opened. */
  inside: boolean
  /** My own admission. */
  paper(): Admission
  /** This node asks to be let in. */
  wants(): boolean
  /** Whether this verified paper lets its holder through: null if so, else why not. */
  judge(paper: Admission): Refusal | null
  /** Admits and gives what the newcomer needs, null while outside itself; throws what it should read. */
  admit(paper: Admission): Promise<Welcome | null>
  onWelcome(welcome: Welcome): void
  onRefused(refusal: Refusal): void
  /** Both ends are inside: replicate, gossip, answer. */
  onPeer(id: string, connection: Connection): void
  log: Logger
}

export interface Greeting {
  /** Goes on with another side: the newcomer is a member now. */
  enter(side: JoinSide): void
}

const HELLO_MS = 10_000
const MAX_HELLO_BYTES = 16 * 1024

/** Speaks the join channel on a connection; the side decides. */
export function greet(connection: Connection, first: JoinSide): Greeting {
  let side = first
  let trusted = false
  let ready = false
  let theyAreReady = false
  let linked = false
  const id = toId(connection.remotePublicKey)
  const timer = setTimeout(() => connection.destroy(), HELLO_MS)
  connection.once('close', () => clearTimeout(timer))

  const channel = Protomux.from(connection).createChannel({ protocol: 'brume/join/1' })
  if (channel === null) return { enter() {} }
  const hello = channel.addMessage<unknown>({ encoding: json, onmessage: onHello })
  const welcome = channel.addMessage<unknown>({ encoding: json, onmessage: onWelcome })
  const refuse = channel.addMessage<unknown>({ encoding: json, onmessage: onRefuse })
  const inside = channel.addMessage<unknown>({ encoding: json, onmessage: onInside })
  channel.open()
  hello.send({ paper: side.paper(), wants: side.wants() } satisfies Hello)
  return {
    enter(next) {
      side = next
      meet()
    }
  }

  function onHello(message: unknown): void {
    const { paper, wants } = (message ?? {}) as Partial<Hello>
    const refusal = judgeFrom(paper)
    if (refusal !== null || paper === undefined) {
      side.log.warn({ node: id, reason: refusal?.message }, 'a stranger was refused')
      refuse.send(refusal)
      // Time for the words to arrive; the other end hangs up on them.
      setTimeout(() => connection.destroy(), 500).unref()
      return
    }
    clearTimeout(timer)
    trusted = true
    meet()
    if (wants === true) {
      side.admit(paper).then(
        (answer) => {
          if (answer !== null) welcome.send(answer)
        },
        (error: unknown) =>
          void refuse.send({ code: 'JOIN_REFUSED', message: sentenceOf(error) } satisfies Refusal)
      )
    }
  }

  function judgeFrom(paper: Admission | undefined): Refusal | null {
    const bad = (message: string): Refusal => ({ code: 'JOIN_REFUSED', message })
    if (!admissionShape.check(paper)) return bad('its admission cannot be read')
    if (paper.node !== id) return bad('its admission is of another node')
    if (verifyAdmission(paper) === null) return bad('its admission does not verify')
    return side.judge(paper)
  }

  function onWelcome(message: unknown): void {
    // From a member only: a stranger on the topic could hand over any key.
    if (trusted) side.onWelcome(message as Welcome)
  }

  function onRefuse(message: unknown): void {
    const { code, message: text } = (message ?? {}) as Partial<Refusal>
    side.onRefused({ code: String(code ?? 'JOIN_REFUSED'), message: String(text ?? 'refused') })
  }

  function onInside(): void {
    theyAreReady = true
    meet()
  }

  // Protomux turns down a channel that the other end has not opened or paired yet, for good: so
  // each says that it is inside before either opens the rest.
  function meet(): void {
    if (connection.destroyed || !trusted || !side.inside) return
    if (!ready) inside.send(null)
    const met = theyAreReady && !linked
    ready = true
    if (met) {
      linked = true
      side.onPeer(id, connection)
    }
  }
}

const json = {
  preencode: (state: never, value: unknown) => c.json.preencode(state, value),
  encode: (state: never, value: unknown) => c.json.encode(state, value),
  decode(state: { start: number; end: number }): unknown {
    if (state.end - state.start > MAX_HELLO_BYTES) {
      state.start = state.end
      return null
    }
    try {
      return c.json.decode(state as never)
    } catch {
      state.start = state.end
      return null
    }
  }
}
