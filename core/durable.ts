/**
 * What this node appends is on the disk before anybody hears of it. The store writes ahead without
 * syncing: a power cut takes its end, and a node that appended there anew would fork its own core
 * for every peer that has the old end.
 */
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Atom, StoreWrite } from 'corestore'
import { BrumeError } from './errors.ts'
import { syncDir } from './files.ts'
import type { Store } from './store.ts'

/**
 * From now on, what is written while `isOwn` is synced before it is announced to peers, and so before
 * an append resolves. What peers wrote is not: it can be had from them again.
 */
export function syncBeforeTelling(store: Store, isOwn: () => boolean): void {
  const { storage } = store
  const createAtom = storage.createAtom.bind(storage)
  const log = new WriteAheadLog(storage.db.path)
  storage.createAtom = () => {
    const atom = createAtom()
    const { db } = atom
    // An atom writes with `db` and tells the replicator afterwards: the one place between the two.
    atom.db = { write: (options) => syncing(db.write(options), log, isOwn) } satisfies Atom['db']
    return atom
  }
}

/** Makes a store that was just created survive a power cut: without this its very lock file may not. */
export async function syncNewStore(dir: string): Promise<void> {
  const db = join(dir, 'db')
  for (const path of [join(dir, 'CORESTORE'), join(db, 'CURRENT')]) await syncFile(path)
  await syncDir(db)
  await syncDir(dir)
  await syncDir(join(dir, '..'))
}

function syncing(write: StoreWrite, log: WriteAheadLog, isOwn: () => boolean): StoreWrite {
  return {
    tryPut: (key, value) => write.tryPut(key, value),
    tryDelete: (key) => write.tryDelete(key),
    tryDeleteRange: (start, end) => write.tryDeleteRange(start, end),
    async flush() {
      await write.flush()
      if (isOwn()) await log.sync()
    }
  }
}

/** RocksDB's `*.log`: written to the kernel at each flush, to the disk when it or we say so. */
class WriteAheadLog {
  readonly #dir: string
  #known = ''

  constructor(dir: string) {
    this.#dir = dir
  }

  async sync(): Promise<void> {
    const logs = (await readdir(this.#dir)).filter((name) => name.endsWith('.log')).sort()
    for (const name of logs) await syncFile(join(this.#dir, name))
    const known = logs.join(' ')
    if (known === this.#known) return
    await syncDir(this.#dir)
    this.#known = known
  }
}

/** A file that is gone meanwhile is synced elsewhere: RocksDB removes a log once it is in its tables. */
async function syncFile(path: string): Promise<void> {
  try {
    const file = await open(path, 'r+')
    try {
      await file.datasync()
    } finally {
      await file.close()
    }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    throw new BrumeError('NOT_DURABLE', `${path} cannot be brought to the disk: ${message}`, {
      cause
    })
  }
}
