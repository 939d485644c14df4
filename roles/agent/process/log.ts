/**
 * One file a container, written by the container itself: the order of its lines is kept, which
 * stream a line came from is not. Everything reads as stdout.
 */
import {
  closeSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  truncateSync,
  writeSync
} from 'node:fs'
import { copyFile, open, stat, type FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LogLine } from '../engine.ts'
import { LineCutter } from '../log-lines.ts'

/** The current file and the kept ones. */
const FILES = 3
const ROTATE_BYTES = 10 * 1024 * 1024
const CHUNK_BYTES = 64 * 1024
/** Nothing tells when another process writes to a file. */
const FOLLOW_MS = 100

export class RotatedLog {
  private readonly file: string
  private readonly limitBytes: number
  /** How often it was rotated while this object was there: how readers notice. */
  private rotations = 0

  constructor(file: string, limitBytes: number = ROTATE_BYTES) {
    this.file = file
    this.limitBytes = limitBytes
  }

  /**
   * Copies the file away and empties it, for its writer keeps it open. What is written in the few
   * microseconds between the two is lost. `log.1` is newer than `log.2`.
   */
  async rotate(): Promise<void> {
    if ((await sizeOf(this.file)) < this.limitBytes) return
    const copy = `${this.file}.copy`
    await copyFile(this.file, copy)
    // From here to the end nothing may run in between.
    appendRest(this.file, copy)
    for (let age = FILES - 1; age > 1; age--) {
      moveIfThere(`${this.file}.${age - 1}`, `${this.file}.${age}`)
    }
    renameSync(copy, `${this.file}.1`)
    truncateSync(this.file, 0)
    this.rotations++
  }

  /** LogLine objects from `tail` lines before the end (null: from the beginning), kept files too. */
  read(options: {
    follow: boolean
    tail: number | null
    isRunning: () => Promise<boolean>
  }): Readable {
    const abort = new AbortController()
    const lines = this.lines(options, abort.signal)
    let pulling = false
    const readable = new Readable({
      objectMode: true,
      read() {
        if (pulling) return
        pulling = true
        pull().then(
          () => (pulling = false),
          (error: Error) => readable.destroy(error)
        )
      },
      destroy(error, done) {
        abort.abort()
        done(error)
      }
    })
    const pull = async (): Promise<void> => {
      for (;;) {
        const { value, done } = await lines.next()
        if (abort.signal.aborted) return void (await lines.return(undefined))
        if (done) return void readable.push(null)
        if (!readable.push(value)) return
      }
    }
    return readable
  }

  private async *lines(
    {
      follow,
      tail,
      isRunning
    }: { follow: boolean; tail: number | null; isRunning: () => Promise<boolean> },
    signal: AbortSignal
  ): AsyncGenerator<LogLine, undefined> {
    const cutter = new LineCutter('stdout')
    let rotations = this.rotations
    const names = [this.file, ...this.kept()]
    let { age, position } =
      tail === null ? { age: FILES - 1, position: 0 } : await tailOf(names, tail)
    for (; age > 0; age--) {
      for await (const chunk of chunks(names[age] as string, position)) yield* cutter.push(chunk)
      position = 0
    }
    let ended = false
    while (!signal.aborted) {
      if (this.rotations !== rotations) {
        // What was left of the file is in its copy; of several copies the others are too old.
        if (this.rotations === rotations + 1) {
          for await (const chunk of chunks(`${this.file}.1`, position)) yield* cutter.push(chunk)
        }
        rotations = this.rotations
        position = 0
      }
      const chunk = await readAt(this.file, position)
      if (this.rotations !== rotations) continue
      position += chunk.length
      yield* cutter.push(chunk)
      if (chunk.length > 0) continue
      if (!follow || ended) break
      // One more look after its end: it may have written since the last.
      ended = !(await isRunning())
      if (!ended) await sleep(FOLLOW_MS, undefined, { signal }).catch(rethrowUnlessAborted)
    }
    yield* cutter.flush()
  }

  private kept(): string[] {
    return Array.from({ length: FILES - 1 }, (_, index) => `${this.file}.${index + 1}`)
  }
}

/** Where the last `lines` lines begin, in the files `names` (newest first). */
async function tailOf(names: string[], lines: number): Promise<{ age: number; position: number }> {
  let left = lines
  let atEnd = true
  for (const [age, name] of names.entries()) {
    const file = await openIfThere(name)
    if (file === null) continue
    try {
      let end = (await file.stat()).size
      if (lines === 0) return { age, position: end }
      while (end > 0) {
        const from = Math.max(0, end - CHUNK_BYTES)
        const chunk = Buffer.alloc(end - from)
        await file.read(chunk, 0, chunk.length, from)
        for (let at = chunk.length - 1; at >= 0; at--) {
          const first = atEnd
          atEnd = false
          // The end of the last line is not the beginning of another.
          if (chunk[at] !== 10 || first) continue
          if (--left === 0) return { age, position: from + at + 1 }
        }
        end = from
      }
    } finally {
      await file.close()
    }
  }
  return { age: names.length - 1, position: 0 }
}

async function* chunks(name: string, from: number): AsyncGenerator<Buffer> {
  const file = await openIfThere(name)
  if (file === null) return
  try {
    for (let position = from; ;) {
      const buffer = Buffer.alloc(CHUNK_BYTES)
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
      if (bytesRead === 0) return
      position += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

async function readAt(name: string, position: number): Promise<Buffer> {
  const file = await openIfThere(name)
  if (file === null) return Buffer.alloc(0)
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

async function openIfThere(name: string): Promise<FileHandle | null> {
  try {
    return await open(name, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function sizeOf(name: string): Promise<number> {
  try {
    return (await stat(name)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}

/** Brings `copy` up to `file`, which grew meanwhile. */
function appendRest(file: string, copy: string): void {
  const from = openSync(file, 'r')
  const to = openSync(copy, 'r+')
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    for (let position = fstatSync(to).size; ;) {
      const bytes = readSync(from, buffer, 0, buffer.length, position)
      if (bytes === 0) return
      writeSync(to, buffer, 0, bytes, position)
      position += bytes
    }
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

function moveIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function rethrowUnlessAborted(error: Error): void {
  if (error.name !== 'AbortError') throw error
}
