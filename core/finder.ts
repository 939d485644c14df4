/**
 * Finds nodes of the mesh that no record names: announces this one on the topic and looks it up, and
 * asks the addresses it was told which nodes are there; often at first and while somebody is missing.
 */
import { jittered } from './backoff.ts'
import { toId } from './crypto.ts'
import type { Address, MeshDht } from './dht.ts'
import { sentenceOf } from './errors.ts'
import type { Logger } from './logger.ts'

export interface FinderComponents {
  dht: Pick<MeshDht, 'lookup' | 'whoIs'>
  topic: Buffer
  /** Asked which node they are. */
  told: readonly Address[]
  announce: () => Promise<unknown>
  /** No connection at all. */
  isAlone: () => boolean
  onFound: (id: string, addresses: Address[]) => void
  onAnswer: (id: string, address: Address) => void
  onPulse: () => void
  log: Logger
}

/** ms after `start`: nodes that join in the same moment find each other only by looking again. */
const FIRST_PULSES = [0, 500, 1_500, 3_000, 6_000, 10_000]
const ALONE_PULSE_MS = 6_000
const MISSING_PULSE_MS = 25_000
const QUIET_PULSE_MS = 300_000

/** ms from so many pulses to the next one. */
export function pulseMs(
  pulses: number,
  { alone, missing }: { alone: boolean; missing: boolean }
): number {
  const first = FIRST_PULSES[pulses]
  if (first !== undefined) return first - (FIRST_PULSES[pulses - 1] ?? 0)
  return jittered(alone ? ALONE_PULSE_MS : missing ? MISSING_PULSE_MS : QUIET_PULSE_MS)
}

export class Finder {
  readonly #it: FinderComponents
  #timer: NodeJS.Timeout | null = null
  #pulses = 0
  #missing = false
  #started = false
  #closed = false
  #lookingUp = false

  constructor(components: FinderComponents) {
    this.#it = components
  }

  start(): void {
    this.#started = true
    this.#schedule()
  }

  end(): void {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** Somebody is to be found: a member that is missing, or anybody at all. */
  get searching(): boolean {
    return this.#missing || this.#it.isAlone()
  }

  /** Members are known that no link leads to: it looks more often then. */
  setMissing(missing: boolean): void {
    if (missing === this.#missing) return
    this.#missing = missing
    this.#schedule()
  }

  async lookUp(): Promise<void> {
    // One that waits for a dead DHT takes seconds.
    if (this.#lookingUp) return
    this.#lookingUp = true
    const { dht, topic, onFound, log } = this.#it
    try {
      for await (const { peers } of dht.lookup(topic)) {
        for (const { publicKey, relayAddresses } of peers) onFound(toId(publicKey), relayAddresses)
      }
    } catch (error) {
      log.debug({ error: sentenceOf(error) }, 'looking up the mesh failed')
    } finally {
      this.#lookingUp = false
    }
  }

  #schedule(): void {
    if (this.#closed || !this.#started) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const ms = pulseMs(this.#pulses, { alone: this.#it.isAlone(), missing: this.#missing })
    this.#timer = setTimeout(() => this.#onPulse(), ms)
    this.#timer.unref()
  }

  #onPulse(): void {
    const { announce, told, onPulse, log } = this.#it
    // The first announcement is on its way already.
    if (this.#pulses++ > 0) {
      announce().catch((error: unknown) =>
        log.debug({ error: sentenceOf(error) }, 'announcing this node failed')
      )
    }
    void this.lookUp()
    for (const address of told) void this.#ask(address)
    onPulse()
    this.#schedule()
  }

  async #ask(address: Address): Promise<void> {
    const key = await this.#it.dht.whoIs(address)
    if (key !== null && !this.#closed) this.#it.onAnswer(toId(key), address)
  }
}
