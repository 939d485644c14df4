/**
 * An engine whose containers are as their environment says: slow to start, sick, or soon dead. And one
 * that looks on: what is ended while it serves is told, before it ends.
 */
import type { EngineContainer, EngineEvent } from '../../../roles/agent/engine.ts'
import { FakeEngine } from '../fake-engine.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How a revision behaves; part of what a container is made of. */
export interface Moods {
  /** ms until it has started. */
  startsAfter?: number
  /** Ends with 1 so many ms after its start. */
  diesAfter?: number
  /** Fails every health check. */
  sick?: boolean
}

const STARTS = 'SIM_STARTS_AFTER'
const DIES = 'SIM_DIES_AFTER'
const SICK = 'SIM_SICK'

export const moodsToEnv = ({ startsAfter, diesAfter, sick }: Moods): Record<string, string> => ({
  ...(startsAfter !== undefined && { [STARTS]: String(startsAfter) }),
  ...(diesAfter !== undefined && { [DIES]: String(diesAfter) }),
  ...(sick === true && { [SICK]: '1' })
})

/** Whether what has this environment can ever serve. */
export const isBad = (env: Record<string, string>): boolean => DIES in env || SICK in env

export class MoodyEngine extends FakeEngine {
  /** Told of a running container that is asked to end. */
  onStop: (container: EngineContainer) => void = () => {}
  readonly #time: VirtualTime
  readonly #startedAt = new Map<string, number>()

  constructor(time: VirtualTime) {
    super(Date.now)
    this.#time = time
  }

  override async start(id: string): Promise<void> {
    const asker = this.#time.life
    const env = this.specs.get(id)?.env ?? {}
    const ms = Number(env[STARTS] ?? 0)
    if (ms > 0) await new Promise<void>((resolve) => this.#time.after(ms, null, resolve))
    await super.start(id)
    this.#startedAt.set(id, this.#time.now)
    const lives = env[DIES]
    if (lives !== undefined) {
      this.#time.after(Number(lives), null, () => {
        if (this.containers.get(id)?.state === 'running') this.die(id, 1)
      })
    }
    // Who was killed meanwhile hears of it no more.
    if (asker?.dead === true) await new Promise<void>(() => {})
  }

  /** Whoever set it off, each hears of it as itself. */
  override watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    const { life } = this.#time
    return super.watch((event) => this.#time.as(life, () => onEvent(event)), signal, onReady)
  }

  override async stop(id: string): Promise<void> {
    this.#tell(id)
    await super.stop(id)
  }

  override async remove(id: string): Promise<void> {
    this.#tell(id)
    await super.remove(id)
  }

  override async exec(id: string): Promise<{ exitCode: number; output: string }> {
    const answer = await super.exec(id)
    return this.isSick(id) ? { ...answer, exitCode: 1 } : answer
  }

  /** For how long its newest run has gone on. */
  ranMs(id: string): number {
    return this.#time.now - (this.#startedAt.get(id) ?? 0)
  }

  isSick(id: string): boolean {
    return SICK in (this.specs.get(id)?.env ?? {})
  }

  #tell(id: string): void {
    const container = this.containers.get(id)
    if (container?.state === 'running') this.onStop(container)
  }
}
