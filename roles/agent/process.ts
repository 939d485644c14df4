/**
 * Child processes as the engine, for nodes without a container engine. There is no isolation:
 * `cpus` and `memoryBytes` are not enforced, `image` is not looked at, files and network are the
 * node's own. Everything is on disk under `dir`, so that a restarted daemon has it all.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { arch, availableParallelism, release, totalmem, type } from 'node:os'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import { isNamed } from '../../core/state/volumes.ts'
import type {
  ContainerSpec,
  Engine,
  EngineContainer,
  EngineEvent,
  EngineInfo,
  EngineVolume,
  Owner
} from './engine.ts'
import { isDevice } from './devices.ts'
import { deviceMissing } from './missing.ts'
import { findMarked, isAlive, leftMembers, signalGroup, stampOf } from './process/identity.ts'
import { exitCodeOf, launch, resolveCommand, type Launched } from './process/launch.ts'
import { RotatedLog } from './process/log.ts'
import { assignPorts, reservation } from './process/ports.ts'
import {
  cleanHalfMade,
  makeContainer,
  pathsOf,
  readRecord,
  readRecords,
  removeContainer,
  writeRecord,
  type ContainerRecord
} from './process/record.ts'
import { runCommand } from './process/run.ts'
import { VolumeDirs } from './process/volumes.ts'

/** How soon the end of a process that an earlier daemon started is noticed. */
const LOOK_MS = 1000
const ROTATE_EVERY_LOOKS = 5
/** What the kernel may need to end a killed process. */
const KILL_MS = 10_000
/** It ended and nobody saw how. Counts as a failure. */
const UNKNOWN = -1
const KILLED = 137
/** Nobody may wait for these: a stop polls a process that is no child. */
const POLL_MS = 25

const ARCHITECTURES: Record<string, string | undefined> = { x64: 'amd64', ia32: '386' }

/**
 * `dir` is made if it is not there, `volumesDir` with the first volume; daemons of other owners may use them
 * too.
 */
export async function openProcess(
  owner: Owner,
  options: { dir: string; volumesDir: string }
): Promise<Engine> {
  const dir = resolve(options.dir)
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await cleanHalfMade(dir)
  const engine = new ProcessEngine(owner, dir, new VolumeDirs(resolve(options.volumesDir), owner))
  await engine.adopt()
  return engine
}

interface Watcher {
  onEvent: (event: EngineEvent) => void
  fail: (error: BrumeError) => void
}

class ProcessEngine implements Engine {
  readonly kind = 'process'
  private readonly owner: Owner
  private readonly dir: string
  private readonly volumeDirs: VolumeDirs
  private readonly logsOf = new Map<string, RotatedLog>()
  /** Running ones that are no children of this daemon: their end has to be looked for. */
  private readonly adopted = new Set<string>()
  /** Of children of this daemon: the exit code their launcher's end gives. */
  private readonly ended = new Map<string, Promise<number>>()
  private readonly watchers = new Set<Watcher>()
  /** The last verb on each container: verbs on one container run one after another. */
  private readonly queues = new Map<string, Promise<unknown>>()
  private readonly closed = new AbortController()
  private readonly looking: NodeJS.Timeout
  private looks = 0

  constructor(owner: Owner, dir: string, volumeDirs: VolumeDirs) {
    this.owner = owner
    this.dir = dir
    this.volumeDirs = volumeDirs
    let busy = false
    this.looking = setInterval(() => {
      if (busy) return
      busy = true
      this.look()
        .catch((error: unknown) => this.fail(error))
        .finally(() => (busy = false))
    }, LOOK_MS)
    this.looking.unref()
  }

  /** Takes over what an earlier daemon started. */
  async adopt(): Promise<void> {
    for (const record of await this.own()) {
      if (record.state === 'starting') await this.resolveStarting(record)
      else if (record.state === 'running') {
        if (await isAlive(record.pid, record.stamp)) this.adopted.add(record.id)
        else await this.settle(record.id, UNKNOWN)
      }
    }
  }

  async info(): Promise<EngineInfo> {
    return {
      kind: 'process',
      version: `${type()} ${release()}`,
      arch: ARCHITECTURES[arch()] ?? arch(),
      cpus: availableParallelism(),
      memoryBytes: totalmem()
    }
  }

  async hasImage(): Promise<boolean> {
    return true
  }

  async pull(): Promise<void> {}

  async create(spec: ContainerSpec): Promise<string> {
    if (spec.command.length === 0) {
      throw new BrumeError('COMMAND_NOT_FOUND', 'the process engine needs `command`', {
        next: 'give `command` in the application file'
      })
    }
    const slot = `${spec.application}/${spec.microservice}/${spec.slot}`
    return this.inTurn(slot, async () => {
      const records = await readRecords(this.dir)
      const there = records.find((each) => this.isOurs(each) && isOf(each, spec))
      if (there) return there.id
      const reserved = new Set(records.flatMap((each) => each.ports.map(reservation)))
      const record: ContainerRecord = {
        id: randomBytes(16).toString('hex'),
        owner: { mesh: this.owner.mesh, node: this.owner.node },
        application: spec.application,
        microservice: spec.microservice,
        slot: spec.slot,
        revision: spec.revision,
        image: spec.image,
        command: spec.command,
        env: spec.env,
        wanted: spec.ports,
        devices: spec.devices.map(({ host }) => host),
        volumes: spec.volumes,
        ports: await assignPorts(spec.ports, [], reserved, { checkFixed: false }),
        state: 'created',
        pid: null,
        stamp: null,
        startedAt: null,
        exitCode: null
      }
      await this.volumeDirs.ensure(spec, spec.volumes.filter(isNamed))
      await makeContainer(this.dir, record, spec.filesDir)
      return record.id
    })
  }

  async start(id: string): Promise<void> {
    await this.inTurn(id, async () => {
      let record = await this.mustRead(id)
      if (await isAlive(record.pid, record.stamp)) return
      if (record.state === 'running') record = (await this.settle(id, UNKNOWN)) ?? record
      const others = (await readRecords(this.dir)).filter((each) => each.id !== id)
      const reserved = new Set(others.flatMap((each) => each.ports.map(reservation)))
      const ports = await assignPorts(record.wanted, record.ports, reserved, { checkFixed: true })
      record = { ...record, ports }
      const { app, log, exit } = pathsOf(this.dir, id)
      const env = this.envOf(record)
      await mustHave(record.devices ?? [])
      await this.volumeDirs.ensure(record, record.volumes ?? [])
      const [name, ...args] = record.command
      const command = [await resolveCommand(name as string, app, env), ...args]

      await rm(exit, { force: true })
      await writeRecord(this.dir, { ...record, state: 'starting', pid: null, stamp: null })
      let launched: Launched
      try {
        launched = await launch({ command, cwd: app, env, log, exit })
      } catch (error) {
        await writeRecord(this.dir, record)
        throw error
      }
      this.attend(id, launched)
      const { pid } = launched
      // No stamp if it has ended already: `attend` says how.
      const stamp = await stampOf(pid)
      const started = { pid, stamp, startedAt: Date.now(), exitCode: null }
      try {
        await writeRecord(this.dir, { ...record, ...started, state: 'running' })
      } catch (error) {
        // What is not on record must not run: nobody would ever stop it.
        signalGroup(pid, 'SIGKILL')
        throw error
      }
      this.emit({ kind: 'started', id })
    })
  }

  async stop(id: string, graceMs: number): Promise<void> {
    await this.inTurn(id, async () => {
      const record = await this.read(id)
      if (record === null) return
      if (await isAlive(record.pid, record.stamp)) {
        signalGroup(record.pid as number, 'SIGTERM')
        if (!(await this.goneWithin(record, graceMs))) await this.kill(record)
      }
      await this.settle(id, KILLED)
    })
  }

  async remove(id: string): Promise<void> {
    // A stop under way must not hold this up for its grace.
    const running = await this.read(id)
    if (running === null) return
    if (await isAlive(running.pid, running.stamp)) signalGroup(running.pid as number, 'SIGKILL')
    await this.inTurn(id, async () => {
      const record = await this.read(id)
      if (record === null) return
      await this.kill(record)
      await this.settle(id, KILLED)
      await removeContainer(this.dir, id)
      this.logsOf.delete(id)
      this.emit({ kind: 'removed', id })
    })
  }

  async list(): Promise<EngineContainer[]> {
    return Promise.all((await this.own()).map((record) => this.containerOf(record)))
  }

  async volumes(): Promise<EngineVolume[]> {
    return this.volumeDirs.list()
  }

  /** There are no networks. */
  async clear(): Promise<void> {}

  /** Every line comes as stdout: see `process/log.ts`. */
  async logs(
    id: string,
    { follow, tail }: { follow: boolean; tail: number | null }
  ): Promise<Readable> {
    await this.mustRead(id)
    const isRunning = async (): Promise<boolean> => {
      const record = await this.read(id)
      return record !== null && (await isAlive(record.pid, record.stamp))
    }
    return this.logOf(id).read({ follow, tail, isRunning })
  }

  /** In the container's directory, with its environment. */
  async exec(
    id: string,
    command: string[],
    { timeoutMs }: { timeoutMs: number }
  ): Promise<{ exitCode: number; output: string }> {
    const record = await this.mustRead(id)
    if (!(await isAlive(record.pid, record.stamp))) {
      throw new BrumeError('ENGINE_FAILED', `container ${short(id)} is not running`)
    }
    const cwd = pathsOf(this.dir, id).app
    const env = this.envOf(record)
    const [name, ...args] = command
    let file: string
    try {
      file = await resolveCommand(name ?? '', cwd, env)
    } catch (error) {
      // As a shell has it, and Docker.
      if (error instanceof BrumeError) return { exitCode: 127, output: `${error.message}\n` }
      throw error
    }
    return runCommand([file, ...args], { cwd, env, timeoutMs, name: short(id) })
  }

  async watch(
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
    onReady?: () => void
  ): Promise<void> {
    const until = AbortSignal.any([signal, this.closed.signal])
    if (until.aborted) return
    const failure = new AbortController()
    const watcher: Watcher = { onEvent, fail: (error) => failure.abort(error) }
    this.watchers.add(watcher)
    try {
      onReady?.()
      await once(AbortSignal.any([until, failure.signal]), 'abort')
      failure.signal.throwIfAborted()
    } finally {
      this.watchers.delete(watcher)
    }
  }

  async close(): Promise<void> {
    clearInterval(this.looking)
    this.closed.abort()
    await Promise.allSettled(this.queues.values())
  }

  /** The crash came between the record and the process, or between the process and its record. */
  private async resolveStarting(record: ContainerRecord): Promise<void> {
    const { exit } = pathsOf(this.dir, record.id)
    const pid = await findMarked(exit)
    const stamp = pid === null ? null : await stampOf(pid)
    if (pid !== null && stamp !== null) {
      const startedAt = Date.now()
      await writeRecord(this.dir, { ...record, state: 'running', pid, stamp, startedAt })
      this.adopted.add(record.id)
      return
    }
    const exitCode = await readExit(exit)
    const ran = exitCode !== null
    const startedAt = ran ? Date.now() : record.startedAt
    const state = ran || record.startedAt !== null ? 'exited' : 'created'
    await writeRecord(this.dir, {
      ...record,
      state,
      startedAt,
      exitCode: exitCode ?? record.exitCode
    })
  }

  private attend(id: string, { exited }: Launched): void {
    this.ended.set(
      id,
      exited.then(([code, signal]) => {
        const exitCode = exitCodeOf(code, signal)
        // In turn: after the verb that is under way, which may be the start itself.
        if (!this.closed.signal.aborted) {
          const settled = this.inTurn(id, () => this.settle(id, exitCode))
          settled.catch((error: unknown) => this.fail(error))
        }
        return exitCode
      })
    )
  }

  /**
   * Records the end of a process that is gone, once. `otherwise` is its exit code where the
   * launcher could not leave one.
   */
  private async settle(id: string, otherwise: number): Promise<ContainerRecord | null> {
    const record = await this.read(id)
    if (record === null || record.state !== 'running') return record
    if (await isAlive(record.pid, record.stamp)) return record
    const left = await readExit(pathsOf(this.dir, id).exit)
    if (left === null && record.pid !== null && record.stamp !== null) {
      // The launcher was killed: what it would have ended may still be there.
      if (await leftMembers(record.pid, record.stamp)) signalGroup(record.pid, 'SIGKILL')
    }
    const settled: ContainerRecord = {
      ...record,
      state: 'exited',
      pid: null,
      stamp: null,
      exitCode: left ?? otherwise
    }
    try {
      await writeRecord(this.dir, settled)
    } catch (error) {
      // Removed meanwhile, by another daemon of this owner.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    } finally {
      this.adopted.delete(id)
      this.ended.delete(id)
      // A full disk hides no death: `list` sees it without the record.
      this.emit({ kind: 'died', id })
    }
    return settled
  }

  private async kill(record: ContainerRecord): Promise<void> {
    if (!(await isAlive(record.pid, record.stamp))) return
    signalGroup(record.pid as number, 'SIGKILL')
    if (await this.goneWithin(record, KILL_MS)) return
    throw new BrumeError('ENGINE_FAILED', `container ${short(record.id)} cannot be ended`, {
      next: `look at process ${record.pid}: the kernel may be waiting for a disk or a device`
    })
  }

  private async goneWithin(record: ContainerRecord, ms: number): Promise<boolean> {
    const until = performance.now() + ms
    const exited = this.ended.get(record.id)
    while (await isAlive(record.pid, record.stamp)) {
      const left = until - performance.now()
      if (left <= 0) return false
      if (exited) await firstOf(exited, left)
      else await sleep(Math.min(left, POLL_MS))
    }
    return true
  }

  private async look(): Promise<void> {
    for (const id of [...this.adopted]) {
      await this.inTurn(id, async () => {
        const record = await this.read(id)
        if (record === null) this.adopted.delete(id)
        else await this.settle(id, UNKNOWN)
      })
    }
    if (++this.looks % ROTATE_EVERY_LOOKS !== 0) return
    for (const id of new Set([...this.adopted, ...this.ended.keys()])) await this.logOf(id).rotate()
  }

  private async containerOf(record: ContainerRecord): Promise<EngineContainer> {
    const { id, application, microservice, slot, revision, image, startedAt, ports } = record
    const running = await isAlive(record.pid, record.stamp)
    // One that is being started has not ended.
    const began = record.state === 'running' || record.state === 'exited'
    const state = running ? 'running' : began ? 'exited' : 'created'
    const exitCode = state === 'exited' ? await this.exitCodeOf(record) : null
    return {
      id,
      application,
      microservice,
      slot,
      revision,
      image,
      state,
      startedAt,
      exitCode,
      ports: running ? ports : [],
      exposes: [],
      filesDir: null,
      address: null
    }
  }

  /** Of one that is not running, whether its end is on record yet or not. */
  private async exitCodeOf({ id, state, exitCode }: ContainerRecord): Promise<number> {
    if (state === 'exited') return exitCode ?? UNKNOWN
    const left = await readExit(pathsOf(this.dir, id).exit)
    return left ?? (await this.ended.get(id)) ?? (await this.read(id))?.exitCode ?? UNKNOWN
  }

  /** Nothing of the daemon's environment but what a command needs to be found and to talk. */
  private envOf(record: ContainerRecord): Record<string, string> {
    const env: Record<string, string> = {}
    for (const name of ['PATH', 'HOME', 'LANG']) {
      const value = process.env[name]
      if (value !== undefined) env[name] = value
    }
    const volumes = this.volumeDirs.variables(record, record.volumes ?? [])
    Object.assign(env, record.env, volumes, {
      BRUME_APPLICATION: record.application,
      BRUME_MICROSERVICE: record.microservice,
      BRUME_SLOT: String(record.slot),
      BRUME_NODE: this.owner.node
    })
    const [first] = record.ports
    if (first) env['PORT'] = String(first.host)
    for (const { container, host } of record.ports) env[`BRUME_PORT_${container}`] = String(host)
    return env
  }

  private logOf(id: string): RotatedLog {
    let log = this.logsOf.get(id)
    if (!log) this.logsOf.set(id, (log = new RotatedLog(pathsOf(this.dir, id).log)))
    return log
  }

  private async own(): Promise<ContainerRecord[]> {
    return (await readRecords(this.dir)).filter((record) => this.isOurs(record))
  }

  /** null if it is not there, or another owner's. */
  private async read(id: string): Promise<ContainerRecord | null> {
    // What is no id is no path either.
    if (!/^[0-9a-f]{32}$/.test(id)) return null
    const record = await readRecord(this.dir, id)
    return record && this.isOurs(record) ? record : null
  }

  private async mustRead(id: string): Promise<ContainerRecord> {
    const record = await this.read(id)
    if (record) return record
    throw new BrumeError('ENGINE_FAILED', `container ${short(id)} is not there (any more)`)
  }

  private isOurs({ owner }: ContainerRecord): boolean {
    return owner.mesh === this.owner.mesh && owner.node === this.owner.node
  }

  private emit(event: EngineEvent): void {
    for (const { onEvent } of this.watchers) onEvent(event)
  }

  /** What goes wrong behind the scenes is told to those who watch: they come back and list. */
  private fail(error: unknown): void {
    const sentence = `the process engine failed: ${sentenceOf(error)}`
    const failure = new BrumeError('ENGINE_FAILED', sentence, { cause: error })
    for (const watcher of this.watchers) watcher.fail(failure)
  }

  private async inTurn<T>(key: string, act: () => Promise<T>): Promise<T> {
    const before = this.queues.get(key)
    const turn = (async () => {
      // Its failure is told to whoever asked for it.
      await before?.catch(() => undefined)
      return act()
    })()
    this.queues.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.queues.get(key) === turn) this.queues.delete(key)
    }
  }
}

function isOf(record: ContainerRecord, spec: ContainerSpec): boolean {
  return (
    record.application === spec.application &&
    record.microservice === spec.microservice &&
    record.slot === spec.slot &&
    record.revision === spec.revision
  )
}

async function firstOf(event: Promise<unknown>, ms: number): Promise<void> {
  const cancel = new AbortController()
  const late = sleep(ms, undefined, { signal: cancel.signal }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error
  })
  await Promise.race([event, late])
  cancel.abort()
}

/** null if the launcher left none. */
async function readExit(path: string): Promise<number | null> {
  try {
    const text = await readFile(path, 'utf8')
    return text.endsWith('\n') ? Number(text) : null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function short(id: string): string {
  return id.slice(0, 12)
}

/** @throws BrumeError DEVICE_MISSING */
async function mustHave(devices: readonly string[]): Promise<void> {
  for (const device of devices) {
    if (!(await isDevice(device))) throw deviceMissing(device)
  }
}
