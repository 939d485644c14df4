/**
 * Child processes as the engine, for nodes without a container engine. There is no isolation:
 * `cpus` and `memoryBytes` are not enforced, `image` is not looked at, files and network are the
 * node's own. Everything is on disk under `dir`, so that a restarted daemon has it all.
 */
import { mkdir, rm } from 'node:fs/promises'
import { arch, availableParallelism, release, totalmem, type } from 'node:os'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { BrumeError } from '../../core/errors.ts'
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
import { Ends } from './process/ends.ts'
import { environmentOf } from './process/environment.ts'
import { isAlive, signalGroup, stampOf } from './process/identity.ts'
import { launch, resolveCommand, type Launched } from './process/launch.ts'
import { RotatedLog } from './process/log.ts'
import { OwnRecords, short } from './process/own-records.ts'
import { assignPorts, reservation } from './process/ports.ts'
import {
  cleanHalfMade,
  makeContainer,
  newRecord,
  pathsOf,
  readRecords,
  removeContainer,
  writeRecord,
  type ContainerRecord
} from './process/record.ts'
import { runCommand } from './process/run.ts'
import { Turns } from './process/turns.ts'
import { VolumeDirs } from './process/volumes.ts'
import { Watchers } from './process/watchers.ts'

/** How soon the end of a process that an earlier daemon started is noticed. */
const LOOK_MS = 1000
const ROTATE_EVERY_LOOKS = 5
const KILLED = 137

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

class ProcessEngine implements Engine {
  readonly kind = 'process'
  private readonly owner: Owner
  private readonly dir: string
  private readonly volumeDirs: VolumeDirs
  private readonly records: OwnRecords
  /** Verbs on one container run one after another. */
  private readonly turns = new Turns()
  private readonly closed = new AbortController()
  private readonly watchers = new Watchers(this.closed.signal)
  private readonly ends: Ends
  private readonly logsOf = new Map<string, RotatedLog>()
  private readonly looking: NodeJS.Timeout
  private looks = 0

  constructor(owner: Owner, dir: string, volumeDirs: VolumeDirs) {
    this.owner = owner
    this.dir = dir
    this.volumeDirs = volumeDirs
    this.records = new OwnRecords(dir, owner)
    const { records, turns, watchers, closed } = this
    this.ends = new Ends({ dir, records, turns, watchers, closed: closed.signal })
    let busy = false
    this.looking = setInterval(() => {
      if (busy) return
      busy = true
      this.look()
        .catch((error: unknown) => this.watchers.fail(error))
        .finally(() => (busy = false))
    }, LOOK_MS)
    this.looking.unref()
  }

  /** Takes over what an earlier daemon started. */
  async adopt(): Promise<void> {
    await this.ends.adopt()
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
    return this.turns.take(slot, async () => {
      const records = await readRecords(this.dir)
      const there = records.find((each) => this.records.has(each) && isOf(each, spec))
      if (there) return there.id
      const reserved = new Set(records.flatMap((each) => each.ports.map(reservation)))
      const ports = await assignPorts(spec.ports, [], reserved, { checkFixed: false })
      const record = newRecord(this.owner, spec, ports)
      await this.volumeDirs.ensure(spec, spec.volumes.filter(isNamed))
      await makeContainer(this.dir, record, spec.filesDir)
      return record.id
    })
  }

  async start(id: string): Promise<void> {
    await this.turns.take(id, async () => {
      let record = await this.records.mustRead(id)
      if (await isAlive(record.pid, record.stamp)) return
      if (record.state === 'running') record = (await this.ends.settle(id)) ?? record
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
      this.ends.attend(id, launched)
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
      this.watchers.emit({ kind: 'started', id })
    })
  }

  async stop(id: string, graceMs: number): Promise<void> {
    await this.turns.take(id, async () => {
      const record = await this.records.read(id)
      if (record === null) return
      if (await isAlive(record.pid, record.stamp)) {
        signalGroup(record.pid as number, 'SIGTERM')
        if (!(await this.ends.goneWithin(record, graceMs))) await this.ends.kill(record)
      }
      await this.ends.settle(id, KILLED)
    })
  }

  async remove(id: string): Promise<void> {
    // A stop under way must not hold this up for its grace.
    const running = await this.records.read(id)
    if (running === null) return
    if (await isAlive(running.pid, running.stamp)) signalGroup(running.pid as number, 'SIGKILL')
    await this.turns.take(id, async () => {
      const record = await this.records.read(id)
      if (record === null) return
      await this.ends.kill(record)
      await this.ends.settle(id, KILLED)
      await removeContainer(this.dir, id)
      this.logsOf.delete(id)
      this.watchers.emit({ kind: 'removed', id })
    })
  }

  async list(): Promise<EngineContainer[]> {
    return Promise.all((await this.records.all()).map((record) => this.containerOf(record)))
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
    await this.records.mustRead(id)
    const isRunning = async (): Promise<boolean> => {
      const record = await this.records.read(id)
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
    const record = await this.records.mustRead(id)
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
    await this.watchers.watch(onEvent, signal, onReady)
  }

  async close(): Promise<void> {
    clearInterval(this.looking)
    this.closed.abort()
    await this.turns.over()
  }

  private async look(): Promise<void> {
    await this.ends.look()
    if (++this.looks % ROTATE_EVERY_LOOKS !== 0) return
    for (const id of this.ends.awaited()) await this.logOf(id).rotate()
  }

  private async containerOf(record: ContainerRecord): Promise<EngineContainer> {
    const { id, application, microservice, slot, revision, image, startedAt, ports } = record
    const running = await isAlive(record.pid, record.stamp)
    // One that is being started has not ended.
    const began = record.state === 'running' || record.state === 'exited'
    const state = running ? 'running' : began ? 'exited' : 'created'
    const exitCode = state === 'exited' ? await this.ends.exitCodeOf(record) : null
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

  private envOf(record: ContainerRecord): Record<string, string> {
    return environmentOf(record, this.volumeDirs.variables(record, record.volumes ?? []))
  }

  private logOf(id: string): RotatedLog {
    let log = this.logsOf.get(id)
    if (!log) this.logsOf.set(id, (log = new RotatedLog(pathsOf(this.dir, id).log)))
    return log
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

/** @throws BrumeError DEVICE_MISSING */
async function mustHave(devices: readonly string[]): Promise<void> {
  for (const device of devices) {
    if (!(await isDevice(device))) throw deviceMissing(device)
  }
}
