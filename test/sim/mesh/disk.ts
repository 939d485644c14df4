/**
 * The disk of a simulation: RocksDB's native part, in memory, below the real store. Requests are
 * answered in the order they came, at once or after a delay that a slow disk takes, never by another
 * thread: so a seed gives the same run. It knows what was flushed: a power cut leaves that, and of
 * what was written since, a beginning.
 */
import { closeSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import type { Life, VirtualTime } from './virtual-time.ts'

/** What the package's JavaScript asks of its native part. */
type Native = Record<string, unknown>

interface WriteOp {
  type: number
  key?: Buffer
  value?: Buffer
  start?: Buffer
  end?: Buffer
  columnFamily: string
}

type Tables = Map<string, Table>

/** One column family: sorted by key (as a latin1 string). Never changed once it is shared. */
class Table {
  readonly values: Map<string, Buffer>
  readonly keys: string[]
  shared = false

  constructor(values = new Map<string, Buffer>(), keys: string[] = []) {
    this.values = values
    this.keys = keys
  }

  copy(): Table {
    return new Table(new Map(this.values), [...this.keys])
  }

  put(key: string, value: Buffer): void {
    if (!this.values.has(key)) this.keys.splice(this.at(key), 0, key)
    this.values.set(key, value)
  }

  del(key: string): void {
    if (this.values.delete(key)) this.keys.splice(this.at(key), 1)
  }

  delRange(start: string, end: string): void {
    const from = this.at(start)
    const removed = this.keys.splice(from, Math.max(0, this.at(end) - from))
    for (const key of removed) this.values.delete(key)
  }

  /** Index of the first key that is not before this one. */
  at(key: string): number {
    let low = 0
    let high = this.keys.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.keys[middle] as string) < key) low = middle + 1
      else high = middle
    }
    return low
  }
}

interface Database {
  tables: Tables
  /** What is on the disk for certain, and the writes since, in their order. */
  durable: Tables
  since: WriteOp[][]
  slowMs: () => number
  /** When the last of the writes asked for is done: they are done in their order. */
  doneAt: number
}

interface Handle {
  database: Database | null
  /** The lock of the directory, which is the database's to let go. */
  lock: number
}

interface Iterator {
  entries: [string, Buffer][]
  next: number
  context: unknown
  onClose: Callback
  onRead: Callback
}

type Callback = (this: unknown, ...args: unknown[]) => void

export class SimDisk {
  readonly #time: VirtualTime
  readonly #databases = new Map<string, Database>()
  readonly #slow = new Map<Life, () => number>()
  /** How RocksDB's package numbers kinds of operations. */
  #kinds = { put: 0, del: 0, delRange: 0 }
  #queue: (() => void)[] = []

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** Puts itself in the place of RocksDB's native part, for good. */
  install(): void {
    const store = createRequire(createRequire(import.meta.url).resolve('hypercore-storage'))
    const path = join(dirname(store.resolve('rocksdb-native')), 'binding.js')
    const binding = createRequire(import.meta.url)(path) as Native
    this.#kinds = {
      put: binding['PUT'] as number,
      del: binding['DELETE'] as number,
      delRange: binding['DELETE_RANGE'] as number
    }
    Object.assign(binding, this.#native())
  }

  reset(): void {
    this.#databases.clear()
    this.#slow.clear()
    this.#queue = []
  }

  /** Writes of this run of a node take so long, in virtual ms. */
  slow(life: Life, ms: () => number): void {
    this.#slow.set(life, ms)
  }

  /** A node's store as a killed process leaves it, in another directory. */
  copy(from: string, to: string): void {
    const database = this.#databases.get(pathOf(from))
    if (database === undefined) return
    const { tables, durable, since } = database
    this.#databases.set(pathOf(to), fresh(share(tables), share(durable), [...since]))
  }

  /** As a power cut leaves it: what was flushed, and the first of the writes since. */
  copyDurable(from: string, to: string, writes: (below: number) => number): void {
    const database = this.#databases.get(pathOf(from))
    if (database === undefined) return
    const tables = share(database.durable)
    const kept = database.since.slice(0, writes(database.since.length + 1))
    for (const ops of kept) this.#write(tables, ops)
    this.#databases.set(pathOf(to), fresh(tables, share(tables), []))
  }

  /** A file was brought to the disk: where it is a store's log of writes, they are durable now. */
  synced(path: string): void {
    if (basename(path) !== LOG_FILE) return
    const database = this.#databases.get(dirname(path))
    if (database !== undefined) makeDurable(database)
  }

  #native(): Native {
    const empty = Buffer.alloc(0)
    return {
      init: (): Handle => ({ database: null, lock: -1 }),
      open: (
        handle: Handle,
        _self: unknown,
        path: string,
        families: string[],
        lock: number,
        request: unknown,
        done: Callback
      ) => {
        const database = this.#databases.get(path) ?? fresh(new Map(), new Map(), [])
        for (const name of families) {
          if (!database.tables.has(name)) database.tables.set(name, new Table())
        }
        this.#databases.set(path, database)
        // What is synced by path finds the directory, and what it writes ahead in it.
        mkdirSync(path, { recursive: true })
        writeFileSync(join(path, LOG_FILE), '')
        const life = this.#time.life
        database.slowMs = () => (life === null ? 0 : (this.#slow.get(life)?.() ?? 0))
        handle.database = database
        handle.lock = lock
        this.#answer(() => done.call(request, null))
      },
      close: (handle: Handle, request: unknown, done: Callback) => {
        if (handle.lock !== -1) closeSync(handle.lock)
        handle.lock = -1
        this.#answer(() => done.call(request, null))
      },
      flush: ({ database }: Handle, _family: string, request: unknown, done: Callback) => {
        if (database === null) return
        this.#answerWrite(database, () => {
          makeDurable(database)
          done.call(request, null)
        })
      },
      compact: (...args: unknown[]) => this.#answerLast(args),
      compactRange: (...args: unknown[]) => this.#answerLast(args),
      suspend: (_handle: Handle, request: unknown, done: Callback) =>
        this.#answer(() => done.call(request, null)),
      resume: (_handle: Handle, request: unknown, done: Callback) =>
        this.#answer(() => done.call(request, null)),
      columnFamilyInit: (name: string) => name,
      columnFamilyDestroy: () => {},
      readInit: () => empty,
      readBuffer: () => empty,
      read: (
        { database }: Handle,
        _batch: unknown,
        gets: { key: Buffer; columnFamily: string }[],
        snapshot: Tables | undefined,
        _async: boolean,
        _fill: boolean,
        context: unknown,
        done: Callback
      ) => {
        const tables = snapshot ?? database?.tables
        const values = gets.map(
          ({ key, columnFamily }) => tables?.get(columnFamily)?.values.get(textOf(key)) ?? null
        )
        const errors = gets.map(() => null)
        this.#answer(() => done.call(context, errors, values))
      },
      writeInit: () => empty,
      writeBuffer: () => empty,
      write: (
        { database }: Handle,
        _batch: unknown,
        ops: WriteOp[],
        context: unknown,
        done: Callback
      ) => {
        if (database === null) return
        const kept = ops.map(({ type, key, value, start, end, columnFamily }) => ({
          type,
          columnFamily,
          ...(key === undefined ? {} : { key: Buffer.from(key) }),
          ...(value === undefined ? {} : { value: Buffer.from(value) }),
          ...(start === undefined ? {} : { start: Buffer.from(start) }),
          ...(end === undefined ? {} : { end: Buffer.from(end) })
        }))
        // Not to be read before its writer knows of it.
        this.#answerWrite(database, () => {
          this.#write(database.tables, kept)
          database.since.push(kept)
          done.call(context, null)
        })
      },
      snapshotCreate: ({ database }: Handle) => share(database?.tables ?? new Map<string, Table>()),
      snapshotDestroy: () => {},
      iteratorInit: (): { iterator: Iterator | null } => ({ iterator: null }),
      iteratorBuffer: () => empty,
      iteratorOpen: (
        { database }: Handle,
        holder: { iterator: Iterator | null },
        columnFamily: string,
        gt: Buffer,
        gte: Buffer,
        lt: Buffer,
        lte: Buffer,
        reverse: boolean,
        _keysOnly: boolean,
        snapshot: Tables | undefined,
        context: unknown,
        onOpen: Callback,
        onClose: Callback,
        onRead: Callback
      ) => {
        const table = (snapshot ?? database?.tables)?.get(columnFamily) ?? new Table()
        const entries = range(table, { gt, gte, lt, lte })
        if (reverse) entries.reverse()
        holder.iterator = { entries, next: 0, context, onClose, onRead }
        this.#answer(() => onOpen.call(context, null))
      },
      iteratorRead: ({ iterator }: { iterator: Iterator | null }, capacity: number) => {
        if (iterator === null) return
        const found = iterator.entries.slice(iterator.next, iterator.next + capacity)
        iterator.next += found.length
        const keys = found.map(([key]) => Buffer.from(key, 'latin1'))
        const values = found.map(([, value]) => value)
        this.#answer(() => iterator.onRead.call(iterator.context, null, keys, values))
      },
      iteratorClose: ({ iterator }: { iterator: Iterator | null }) =>
        this.#answer(() => iterator?.onClose.call(iterator.context, null))
    }
  }

  #write(tables: Tables, ops: WriteOp[]): void {
    for (const { type, key, value, start, end, columnFamily } of ops) {
      let table = tables.get(columnFamily) ?? new Table()
      if (table.shared) table = table.copy()
      tables.set(columnFamily, table)
      if (type === this.#kinds.put) table.put(textOf(key), value ?? Buffer.alloc(0))
      else if (type === this.#kinds.del) table.del(textOf(key))
      else if (type === this.#kinds.delRange) table.delRange(textOf(start), textOf(end))
      else throw new Error(`the disk does not know writes of kind ${type}`)
    }
  }

  #answerWrite(database: Database, act: () => void): void {
    const { now } = this.#time
    database.doneAt = Math.max(database.doneAt, now + database.slowMs())
    this.#answer(act, database.doneAt - now)
  }

  #answerLast(args: unknown[]): void {
    const done = args.at(-1) as Callback
    this.#answer(() => done.call(args.at(-2), null))
  }

  /** In the caller's context: what comes of it is that node's. */
  #answer(act: () => void, afterMs = 0): void {
    const { life } = this.#time
    if (afterMs > 0) {
      // Not the node's own time: a disk goes on while a process stands still.
      this.#time.after(afterMs, null, () => this.#time.as(life, act))
      return
    }
    this.#queue.push(() => this.#time.as(life, act))
    if (this.#queue.length > 1) return
    setImmediate(() => {
      const answers = this.#queue
      this.#queue = []
      for (const answer of answers) answer()
    })
  }
}

/** Where RocksDB writes ahead: empty here, there to be synced. */
const LOG_FILE = '000001.log'

function makeDurable(database: Database): void {
  database.durable = share(database.tables)
  database.since = []
}

const pathOf = (dir: string): string => join(dir, 'store', 'db')

const textOf = (key: Buffer | undefined): string => key?.toString('latin1') ?? ''

const fresh = (tables: Tables, durable: Tables, since: WriteOp[][]): Database => ({
  tables,
  durable,
  since,
  slowMs: () => 0,
  doneAt: 0
})

/** The same tables, to be copied before either side changes one. */
function share(tables: Tables): Tables {
  for (const table of tables.values()) table.shared = true
  return new Map(tables)
}

function range(
  table: Table,
  { gt, gte, lt, lte }: { gt: Buffer; gte: Buffer; lt: Buffer; lte: Buffer }
): [string, Buffer][] {
  const from = gte.length > 0 ? table.at(textOf(gte)) : gt.length > 0 ? past(table, gt) : 0
  const to =
    lt.length > 0 ? table.at(textOf(lt)) : lte.length > 0 ? past(table, lte) : table.keys.length
  return table.keys
    .slice(from, Math.max(from, to))
    .map((key): [string, Buffer] => [key, table.values.get(key) as Buffer])
}

function past(table: Table, key: Buffer): number {
  const at = table.at(textOf(key))
  return table.keys[at] === textOf(key) ? at + 1 : at
}
