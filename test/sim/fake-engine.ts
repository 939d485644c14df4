/** An engine in memory, for tests of what stands above `engine.ts`. It forgets nothing but its events. */
import { Readable } from 'node:stream'
import { BrumeError } from '../../core/errors.ts'
import { slotKey } from '../../core/state/state.ts'
import { volumeNames } from '../../core/state/volumes.ts'
import type {
  ContainerSpec,
  Engine,
  EngineContainer,
  EngineEvent,
  EngineInfo,
  EngineVolume
} from '../../roles/agent/engine.ts'

type Verb = 'create' | 'start' | 'stop' | 'remove' | 'list' | 'pull' | 'exec'

export class FakeEngine implements Engine {
  readonly kind: Engine['kind']
  readonly containers = new Map<string, EngineContainer>()
  readonly specs = new Map<string, ContainerSpec>()
  readonly kept = new Map<string, EngineVolume>()
  readonly images = new Set<string>(['local/node:20'])
  readonly registry = new Set<string>()
  /** Every call that changes something, as `verb app/ms/slot@revision`. */
  calls: string[] = []
  lists = 0
  /** Most `create`s and `start`s at the same time. */
  busiest = 0
  /** Awaited before a verb acts; by default nothing. */
  gate: Partial<Record<Verb, (subject: string) => Promise<void>>> = {}
  /** What health checks exit with. */
  exitCode = 0
  isUp = true
  readonly #wallNow: () => number
  #watchers = new Set<{ tell: (event: EngineEvent) => void; lose: (error: unknown) => void }>()
  #ids = 0
  #busy = 0

  constructor(wallNow: () => number = () => 0, kind: Engine['kind'] = 'docker') {
    this.#wallNow = wallNow
    this.kind = kind
  }

  async info(): Promise<EngineInfo> {
    this.#check()
    return { kind: this.kind, version: '1', arch: 'amd64', cpus: 2, memoryBytes: 1e9 }
  }

  async hasImage(image: string): Promise<boolean> {
    this.#check()
    return this.images.has(image)
  }

  async pull(image: string): Promise<void> {
    await this.#verb('pull', image)
    if (!this.registry.has(image))
      throw new BrumeError('ENGINE_FAILED', `${image} is in no registry.`)
    this.images.add(image)
  }

  async create(spec: ContainerSpec): Promise<string> {
    const subject = `${spec.application}/${spec.microservice}/${spec.slot}@${spec.revision}`
    await this.#verb('create', subject)
    if (spec.image === null || !this.images.has(spec.image))
      throw new BrumeError('IMAGE_MISSING', `Image ${spec.image} is not here.`)
    const there = [...this.containers.values()].find((c) => subjectOf(c) === subject)
    if (there) return there.id
    const id = `c${++this.#ids}`
    this.specs.set(id, spec)
    const { application, microservice, slot } = spec
    for (const name of volumeNames({ volumes: [...spec.volumes] })) {
      const place = `${slotKey(spec)}/${name}`
      this.kept.set(place, { application, microservice, slot, name, place })
    }
    this.put({ ...spec, id })
    return id
  }

  async start(id: string): Promise<void> {
    await this.#verb('start', subjectOf(this.#get(id)))
    if (this.#get(id).state === 'running') return
    this.put({ ...this.#get(id), state: 'running', startedAt: this.#wallNow(), exitCode: null })
    this.#tell({ kind: 'started', id })
  }

  async stop(id: string): Promise<void> {
    const container = this.containers.get(id)
    await this.#verb('stop', container ? subjectOf(container) : id)
    if (container?.state === 'running') this.die(id, 143)
  }

  async remove(id: string): Promise<void> {
    const container = this.containers.get(id)
    await this.#verb('remove', container ? subjectOf(container) : id)
    if (this.containers.delete(id)) this.#tell({ kind: 'removed', id })
  }

  async list(): Promise<EngineContainer[]> {
    this.lists++
    const now = [...this.containers.values()]
    await this.gate.list?.('')
    this.#check()
    return now
  }

  async logs(): Promise<Readable> {
    return Readable.from([])
  }

  async exec(id: string): Promise<{ exitCode: number; output: string }> {
    await this.gate.exec?.(id)
    this.#check()
    return { exitCode: this.exitCode, output: '' }
  }

  watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.isUp) return reject(unreachable())
      const watcher = { tell: onEvent, lose: reject }
      this.#watchers.add(watcher)
      signal.addEventListener('abort', () => {
        this.#watchers.delete(watcher)
        resolve()
      })
      onReady?.()
    })
  }

  async volumes(): Promise<EngineVolume[]> {
    return [...this.kept.values()]
  }

  async clear(): Promise<void> {}

  async close(): Promise<void> {}

  /** Puts a container there as if it had always been. */
  put(
    container: Partial<Omit<EngineContainer, 'ports'>> & {
      id: string
      application: string
      microservice: string
      slot: number
      revision: string
    }
  ): void {
    this.containers.set(container.id, {
      image: container.image ?? null,
      state: container.state ?? 'created',
      startedAt: container.startedAt ?? null,
      exitCode: container.exitCode ?? null,
      id: container.id,
      application: container.application,
      microservice: container.microservice,
      slot: container.slot,
      revision: container.revision,
      ports: [],
      exposes: [],
      filesDir: null,
      address: null
    })
  }

  /** The container ends by itself. */
  die(id: string, exitCode: number): void {
    this.put({ ...this.#get(id), state: 'exited', exitCode })
    this.#tell({ kind: 'died', id })
  }

  /** `docker load`. */
  load(image: string): void {
    this.images.add(image)
    this.#tell({ kind: 'images' })
  }

  /** The engine goes away, and its containers with it. */
  crash(): void {
    this.isUp = false
    for (const c of this.containers.values())
      if (c.state === 'running') this.put({ ...c, state: 'exited', exitCode: 137 })
    for (const watcher of this.#watchers) watcher.lose(unreachable())
    this.#watchers.clear()
  }

  running(): string[] {
    return [...this.containers.values()]
      .filter((c) => c.state === 'running')
      .map(subjectOf)
      .sort()
  }

  async #verb(verb: Verb, subject: string): Promise<void> {
    this.#check()
    this.calls.push(`${verb} ${subject}`)
    const creates = verb === 'create' || verb === 'start'
    if (creates) this.busiest = Math.max(this.busiest, ++this.#busy)
    try {
      await this.gate[verb]?.(subject)
    } finally {
      if (creates) this.#busy--
    }
    this.#check()
  }

  #check(): void {
    if (!this.isUp) throw unreachable()
  }

  #get(id: string): EngineContainer {
    const container = this.containers.get(id)
    if (!container) throw new BrumeError('ENGINE_FAILED', `There is no container ${id}.`)
    return container
  }

  #tell(event: EngineEvent): void {
    for (const watcher of this.#watchers) watcher.tell(event)
  }
}

const subjectOf = (c: EngineContainer): string =>
  `${c.application}/${c.microservice}/${c.slot}@${c.revision}`

const unreachable = (): BrumeError =>
  new BrumeError('ENGINE_UNREACHABLE', 'The engine does not answer.')
