/**
 * How processes end: heard of those this daemon started, looked for of those an earlier one did, and
 * recorded once.
 */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrumeError } from '../../../core/errors.ts'
import { findMarked, isAlive, leftMembers, signalGroup, stampOf } from './identity.ts'
import { exitCodeOf, type Launched } from './launch.ts'
import { short, type OwnRecords } from './own-records.ts'
import { pathsOf, writeRecord, type ContainerRecord } from './record.ts'
import type { Turns } from './turns.ts'
import type { Watchers } from './watchers.ts'

/** What the kernel may need to end a killed process. */
const KILL_MS = 10_000
/** It ended and nobody saw how. Counts as a failure. */
const UNKNOWN = -1
/** Nobody may wait for these: a stop polls a process that is no child. */
const POLL_MS = 25

/** What of the engine an end concerns. */
interface EndsOf {
  dir: string
  records: OwnRecords
  turns: Turns
  watchers: Watchers
  closed: AbortSignal
}

export class Ends {
  readonly #dir: string
  readonly #records: OwnRecords
  readonly #turns: Turns
  readonly #watchers: Watchers
  readonly #closed: AbortSignal
  /** Running ones that are no children of this daemon: their end has to be looked for. */
  readonly #adopted = new Set<string>()
  /** Of children of this daemon: the exit code their launcher's end gives. */
  readonly #ended = new Map<string, Promise<number>>()

  constructor({ dir, records, turns, watchers, closed }: EndsOf) {
    this.#dir = dir
    this.#records = records
    this.#turns = turns
    this.#watchers = watchers
    this.#closed = closed
  }

  /** Takes over what an earlier daemon started. */
  async adopt(): Promise<void> {
    for (const record of await this.#records.all()) {
      if (record.state === 'starting') await this.#resolveStarting(record)
      else if (record.state === 'running') {
        if (await isAlive(record.pid, record.stamp)) this.#adopted.add(record.id)
        else await this.settle(record.id)
      }
    }
  }

  /** Of a child: its end is recorded when it comes. */
  attend(id: string, { exited }: Launched): void {
    this.#ended.set(
      id,
      exited.then(([code, signal]) => {
        const exitCode = exitCodeOf(code, signal)
        // In turn: after the verb that is under way, which may be the start itself.
        if (!this.#closed.aborted) {
          const settled = this.#turns.take(id, () => this.settle(id, exitCode))
          settled.catch((error: unknown) => this.#watchers.fail(error))
        }
        return exitCode
      })
    )
  }

  /** Records the ends of what an earlier daemon started. */
  async look(): Promise<void> {
    for (const id of [...this.#adopted]) {
      await this.#turns.take(id, async () => {
        const record = await this.#records.read(id)
        if (record === null) this.#adopted.delete(id)
        else await this.settle(id)
      })
    }
  }

  /** The ids of those whose end is still to come, or to be recorded. */
  awaited(): ReadonlySet<string> {
    return new Set([...this.#adopted, ...this.#ended.keys()])
  }

  /**
   * Records the end of a process that is gone, once. `otherwise` is its exit code where the
   * launcher could not leave one.
   */
  async settle(id: string, otherwise = UNKNOWN): Promise<ContainerRecord | null> {
    const record = await this.#records.read(id)
    if (record === null || record.state !== 'running') return record
    if (await isAlive(record.pid, record.stamp)) return record
    const left = await readExit(pathsOf(this.#dir, id).exit)
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
      await writeRecord(this.#dir, settled)
    } catch (error) {
      // Removed meanwhile, by another daemon of this owner.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    } finally {
      this.#adopted.delete(id)
      this.#ended.delete(id)
      // A full disk hides no death: `list` sees it without the record.
      this.#watchers.emit({ kind: 'died', id })
    }
    return settled
  }

  /** @throws BrumeError ENGINE_FAILED where the kernel does not end it */
  async kill(record: ContainerRecord): Promise<void> {
    if (!(await isAlive(record.pid, record.stamp))) return
    signalGroup(record.pid as number, 'SIGKILL')
    if (await this.goneWithin(record, KILL_MS)) return
    throw new BrumeError('ENGINE_FAILED', `container ${short(record.id)} cannot be ended`, {
      next: `look at process ${record.pid}: the kernel may be waiting for a disk or a device`
    })
  }

  /** Whether it is no more, at the latest after so long. */
  async goneWithin(record: ContainerRecord, ms: number): Promise<boolean> {
    const until = performance.now() + ms
    const exited = this.#ended.get(record.id)
    while (await isAlive(record.pid, record.stamp)) {
      const left = until - performance.now()
      if (left <= 0) return false
      if (exited) await firstOf(exited, left)
      else await sleep(Math.min(left, POLL_MS))
    }
    return true
  }

  /** Of one that is not running, whether its end is on record yet or not. */
  async exitCodeOf({ id, state, exitCode }: ContainerRecord): Promise<number> {
    if (state === 'exited') return exitCode ?? UNKNOWN
    const left = await readExit(pathsOf(this.#dir, id).exit)
    return (
      left ?? (await this.#ended.get(id)) ?? (await this.#records.read(id))?.exitCode ?? UNKNOWN
    )
  }

  /** The crash came between the record and the process, or between the process and its record. */
  async #resolveStarting(record: ContainerRecord): Promise<void> {
    const { exit } = pathsOf(this.#dir, record.id)
    const pid = await findMarked(exit)
    const stamp = pid === null ? null : await stampOf(pid)
    if (pid !== null && stamp !== null) {
      const startedAt = Date.now()
      await writeRecord(this.#dir, { ...record, state: 'running', pid, stamp, startedAt })
      this.#adopted.add(record.id)
      return
    }
    const exitCode = await readExit(exit)
    const ran = exitCode !== null
    const startedAt = ran ? Date.now() : record.startedAt
    const state = ran || record.startedAt !== null ? 'exited' : 'created'
    await writeRecord(this.#dir, {
      ...record,
      state,
      startedAt,
      exitCode: exitCode ?? record.exitCode
    })
  }
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
