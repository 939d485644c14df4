/**
 * The join channel: the first words on every connection. Both ends show their admission; a member
 * lets in who holds the mesh key, recognises who was admitted while it was away, and hands the
 * newcomer the encryption key. Until then a stranger gets nothing else, and 10 seconds.
 */
import c from 'compact-encoding'
import Protomux from 'protomux'
import { admission as admissionShape, verifyAdmission, type Admission } from './admission.ts'
import { toId } from './crypto.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import type { Refusal, Shown } from './judge.ts'
import type { Logger } from './logger.ts'
import { proof as proofShape, type Proof } from './proof.ts'
import { nullable, object, optional, pattern, text, type Shape } from './state/shape.ts'
import type { Connection } from './swarm.ts'

export interface Welcome {
  /** Hex, 32 bytes. */
  encryptionKey: string
  /** That the newcomer's join key is one of this mesh; null where every member knows. */
  proof: Proof | null
  /** Key of the system core of the member, z-base-32: whom the newcomer met may not have what led to it. */
  system?: string
}

/** What one end decides while it greets. */
export interface JoinSide {
  /** This end is a member and can replicate: only then are other channels opened. */
  inside: boolean
  /** My own admission, and what makes it believed by who was away. */
  shows(): Shown
  /** Whether this verified paper lets its holder through: null if so, else why not. */
  judge(shown: Shown): Refusal | null
  /** Admits and gives what the newcomer needs, null while outside itself; throws what it should read. */
  admit(paper: Admission): Promise<Welcome | null>
  onWelcome(welcome: Welcome): void
  onRefused(refusal: Refusal, by: string): void
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
  hello.send(side.shows())
  return {
    enter(next) {
      side = next
      meet()
    }
  }

  function onHello(message: unknown): void {
    const shown = shownOf(message)
    const refusal = shown === null ? UNREADABLE : judgeFrom(shown)
    if (refusal !== null || shown === null) {
      side.log.warn({ node: id, reason: refusal?.message }, 'a stranger was refused')
      refuse.send(refusal)
      // Time for the words to arrive; the other end hangs up on them.
      setTimeout(() => connection.destroy(), 500).unref()
      return
    }
    clearTimeout(timer)
    trusted = true
    meet()
    if (shown.wants) {
      side.admit(shown.paper).then(
        (answer) => {
          if (answer !== null) welcome.send(answer)
        },
        (error: unknown) => void refuse.send(refusalOf(error))
      )
    }
  }

  function judgeFrom(shown: Shown): Refusal | null {
    const bad = (message: string): Refusal => ({ code: 'JOIN_REFUSED', message })
    if (shown.paper.node !== id) return bad('its admission is of another node')
    if (verifyAdmission(shown.paper) === null) return bad('its admission does not verify')
    return side.judge(shown)
  }

  function onWelcome(message: unknown): void {
    // From a member only: a stranger on the topic could hand over any key.
    if (trusted && welcomeShape.check(message)) side.onWelcome(message)
  }

  function onRefuse(message: unknown): void {
    if (refusalShape.check(message)) side.onRefused(message, id)
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

/** What a stranger said, or null; unknown fields are ignored. */
function shownOf(message: unknown): Shown | null {
  const { paper, proof, wants } = (message ?? {}) as Record<string, unknown>
  if (!admissionShape.check(paper)) return null
  return { paper, proof: proofShape.check(proof) ? proof : null, wants: wants === true }
}

function refusalOf(error: unknown): Refusal {
  if (!(error instanceof BrumeError)) return { code: 'JOIN_FAILED', message: sentenceOf(error) }
  const { code, message, next } = error
  return { code, message, ...(next === null ? {} : { next }) }
}

const UNREADABLE: Refusal = { code: 'JOIN_REFUSED', message: 'its admission cannot be read' }

const welcomeShape: Shape<Welcome> = object({
  encryptionKey: pattern(/^[0-9a-f]{64}$/),
  proof: nullable(proofShape),
  system: optional(pattern(/^[a-z0-9]{52}$/))
})
const refusalShape: Shape<Refusal> = object({
  code: pattern(/^[A-Z_]{1,64}$/),
  message: text(1024),
  next: optional(text(1024)),
  proof: optional(proofShape)
})

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
