/**
 * One node of a simulation: its directory, its Mesh with the real roles on an engine in memory, and
 * what can befall it: a stop, a pause, a crash.
 */
import { cp, link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createMesh, joinMesh, openMesh } from '../../../core/enter.ts'
import { createKeyPair, hash, toId } from '../../../core/crypto.ts'
import { loadIdentity } from '../../../core/identity.ts'
import type { Op } from '../../../core/state/index.ts'
import type { State } from '../../../core/state/state.ts'
import type { Logger } from '../../../core/logger.ts'
import { decodeMeshKey } from '../../../core/mesh-key.ts'
import type { Mesh, MeshComponents } from '../../../core/mesh.ts'
import { openStore, type Store } from '../../../core/store.ts'
import { leave } from '../../../apps/daemon/leave.ts'
import { startNode, type RunningNode } from '../../../roles/node.ts'
import type { SimDisk } from './disk.ts'
import { MoodyEngine } from './moody-engine.ts'
import type { SimNetwork } from './network.ts'
import type { Life, VirtualTime } from './virtual-time.ts'

export interface HostOptions {
  time: VirtualTime
  network: SimNetwork
  disk: SimDisk
  /** Of the whole simulation; each run of the node gets a directory of its own below. */
  root: string
  seed: number
  /** How long a node must be alive to confirm the order. */
  stableMs: number
  log: (life: Life) => Logger
  onFailed: (host: Host, error: unknown) => void
}

/** What a process takes from its start until it reads its clock. */
const START_MS = 200
/** Views reach roles 100 ms late at the most; steps begin in the same moment. */
const LATE_MS = 150

interface Run {
  life: Life
  dir: string
  store: Store
  mesh: Mesh
  roles: RunningNode
  /** Resolves when the process is gone: what it was about will not come to an end. */
  gone: Promise<void>
  end(): void
}

export class Host {
  readonly name: string
  readonly engine: MoodyEngine
  /** Node id: of a key pair that comes of the seed. */
  readonly id: string
  /** It is in the mesh, as far as it knows: its directory can be opened again. */
  inside = false
  /** Between two runs. */
  changing = false
  /** Says goodbye, or ends what it runs. */
  leaving = false
  skewMs = 0
  /** Told of what this node appends, and waited for. */
  onAppend: (ops: readonly Op[], when: 'before' | 'after') => Promise<void> = () =>
    Promise.resolve()
  readonly #options: HostOptions
  #run: Run | null = null
  #runs = 0
  /** Power cuts till now: each is followed by another boot. */
  #boots = 0
  /** Newest last; of those older than LATE_MS only one. */
  #views: { at: number; state: State }[] = []
  #dir: string

  constructor(name: string, options: HostOptions) {
    this.name = name
    this.#options = options
    this.engine = new MoodyEngine(options.time)
    this.#dir = join(options.root, `${name}.0`)
    this.id = toId(createKeyPair(this.#identity()).publicKey)
  }

  get up(): boolean {
    return this.#run !== null
  }

  get paused(): boolean {
    return this.#run?.life.paused === true
  }

  get mesh(): Mesh {
    if (this.#run === null) throw new Error(`${this.name} is down`)
    return this.#run.mesh
  }

  /** The views its Agent may act on: it hears of one a moment after it is made, and what it does begins later. */
  get views(): State[] {
    return this.#views.map(({ state }) => state)
  }

  /** State of this node's Controller, as `brume status` says it. */
  get controller(): string {
    return this.#run?.roles.actors().find(({ name }) => name === 'controller')?.state ?? 'down'
  }

  get waiting(): string[] {
    return (this.#run?.roles.explain() ?? []).map(({ reason }) => reason)
  }

  /** Runs `act` in this node's context: what it sets off belongs to this run of the node. */
  as<T>(act: () => T): T {
    return this.#options.time.as(this.#run?.life ?? null, act)
  }

  /** As `as`; resolves with nothing where this run of the node is killed amid it. */
  async orGone<T>(act: () => Promise<T>): Promise<T | void> {
    const run = this.#run
    if (run === null) throw new Error(`${this.name} is down`)
    return Promise.race([this.as(act), run.gone])
  }

  async make(): Promise<void> {
    await this.#prepare()
    const options = { name: this.name, bootstrap: [], peers: [], defaultRole: 'admin' as const }
    await this.#start((components) => createMesh(components, options))
  }

  async join(key: string): Promise<void> {
    await this.#prepare()
    const options = { name: this.name, bootstrap: [], peers: [] }
    await this.#start((components) => joinMesh(components, decodeMeshKey(key), options, () => {}))
  }

  async reopen(): Promise<void> {
    if (this.up || this.changing) throw new Error(`${this.name} is up`)
    this.changing = true
    await new Promise<void>((resolve) => this.#options.time.after(START_MS, null, resolve))
    await this.#start(async (components) => {
      const mesh = await openMesh(components)
      if (mesh === null) throw new Error(`${this.name} is in no mesh`)
      return mesh
    })
  }

  /** As a daemon's stop. */
  async stop(): Promise<void> {
    const run = this.#run
    if (run === null) return
    if (run.life.paused) this.resume()
    this.#run = null
    this.changing = true
    await this.#options.time.as(run.life, async () => {
      await run.roles.stop()
      await run.mesh.close()
      await run.store.close()
    })
    run.life.dead = true
    this.changing = false
  }

  /**
   * As `brume leave` does: says so, ends what runs here, forgets. @throws BrumeError as
   * `apps/daemon/leave.ts`; it stays then.
   */
  async leave(force: boolean): Promise<void> {
    const run = this.#run
    if (run === null || run.life.paused || this.leaving) return
    this.leaving = true
    try {
      const member = { mesh: run.mesh, node: run.roles }
      await this.orGone(() => leave(member, { force }, () => {}))
      // It may have been killed amid it.
      if (this.#run !== run) return
      this.#run = null
      this.inside = false
      await this.#options.time.as(run.life, () => run.store.close())
      run.life.dead = true
    } finally {
      this.leaving = false
    }
  }

  /** The wall clock jumps to so many ms off. */
  setClock(skewMs: number): void {
    this.skewMs = skewMs
    if (this.#run !== null) this.#run.life.skewMs = skewMs
  }

  pause(): void {
    if (this.#run !== null) this.#run.life.paused = true
  }

  resume(): void {
    if (this.paused && this.#run !== null) this.#options.time.resume(this.#run.life)
  }

  /** Writes take so long from now on, in virtual ms. */
  slowDisk(ms: () => number): void {
    if (this.#run !== null) this.#options.disk.slow(this.#run.life, ms)
  }

  /**
   * The process is gone: nobody hears of it. Its next run starts from what it had written, or, after
   * a power cut, from what was flushed and as many of the writes since as `kept` says.
   */
  async crash(kept: 'all' | ((below: number) => number)): Promise<void> {
    const run = this.#run
    if (run === null) return
    this.#run = null
    this.changing = true
    run.life.dead = true
    run.end()
    const next = join(this.#options.root, `${this.name}.${++this.#runs}`)
    const { disk } = this.#options
    if (kept === 'all') disk.copy(run.dir, next)
    else {
      this.#boots++
      disk.copyDurable(run.dir, next, kept)
    }
    await copyDir(run.dir, next)
    this.#dir = next
    await this.#bury(run)
    this.changing = false
  }

  async #prepare(): Promise<void> {
    await mkdir(this.#dir, { recursive: true })
    await writeFile(join(this.#dir, 'identity'), this.#identity(), { mode: 0o600 })
  }

  /** Keys decide who comes first among equals: the same in every run of a seed. */
  #identity(): Buffer {
    return hash('sim', Buffer.from(`identity ${this.#options.seed} ${this.name}`))
  }

  async #start(enter: (components: MeshComponents) => Promise<Mesh>): Promise<void> {
    const { time, network, stableMs, log } = this.#options
    const life: Life = { name: this.name, skewMs: this.skewMs, paused: false, dead: false }
    const dir = this.#dir
    this.changing = true
    try {
      await time.as(life, async () => {
        const store = await openStore(dir)
        await forgetCreation(dir)
        const identity = await loadIdentity(dir)
        const openSwarm: MeshComponents['openSwarm'] = (options) => network.open(life, options)
        const boot = `boot ${this.#boots}`
        const components = { dir, store, identity, openSwarm, boot, log: log(life) }
        const mesh = await enter(components).catch(async (error: unknown) => {
          await store.close()
          throw error
        })
        const append = mesh.append.bind(mesh)
        mesh.append = async (ops) => {
          await this.onAppend(ops, 'before')
          const ids = await append(ops)
          await this.onAppend(ops, 'after')
          return ids
        }
        this.#views = [{ at: this.#options.time.now, state: mesh.state }]
        mesh.on('view', () => this.#noteView(mesh.state))
        mesh.on('failed', (error) => this.#options.onFailed(this, error))
        const openEngine = (): Promise<MoodyEngine> => Promise.resolve(this.engine)
        const about = { version: '0.1.0', stableMs, names: false }
        const roles = startNode({ mesh, dir, openEngine, log: log(life), ...about })
        let end = (): void => {}
        const gone = new Promise<void>((resolve) => (end = resolve))
        this.#run = { life, dir, store, mesh, roles, gone, end }
        this.inside = true
      })
    } catch (error) {
      life.dead = true
      throw error
    } finally {
      this.changing = false
    }
  }

  #noteView(state: State): void {
    const at = this.#options.time.now
    const old = this.#views.findLastIndex((view) => view.at < at - LATE_MS)
    this.#views = [...this.#views.slice(Math.max(0, old)), { at, state }]
  }

  /** Frees what the dead run holds in this process; it can neither speak nor wait any more. */
  async #bury({ mesh, roles, store, dir }: Run): Promise<void> {
    try {
      await roles.stop()
      await mesh.close()
      await store.close()
    } catch {
      // It is dead.
    }
    await rm(dir, { recursive: true, force: true })
  }
}

/** Names the device that a store lives on: moved or copied, the store does not open. */
const DEVICE_FILE = join('store', 'CORESTORE')

/** A store knows its device file by inode: that file stays itself. */
async function copyDir(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true, filter: (path) => path !== join(from, DEVICE_FILE) })
  await link(join(from, DEVICE_FILE), join(to, DEVICE_FILE))
}

/** It was created at a virtual time, which the file system would contradict. */
async function forgetCreation(dir: string): Promise<void> {
  const path = join(dir, DEVICE_FILE)
  const lines = (await readFile(path, 'utf8')).split('\n')
  await writeFile(path, lines.filter((line) => !line.startsWith('device/created')).join('\n'))
}
