/** The store of a data directory: one Corestore, and with it the lock of the directory. */
import { join } from 'node:path'
import Corestore from 'corestore'
import CorestoreStorage from 'hypercore-storage'
import { syncNewStore } from './durable.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import './short-bitfields.ts'
import { treeCache } from './tree-cache.ts'

export type Store = Corestore

/**
 * Of RocksDB's memory for what is not in its tables yet. Its own 64 MiB are for servers: a daemon
 * would grow by them over days, and its store takes as much on the disk from its first op on.
 */
const WRITE_BUFFER_BYTES = 4 * 1024 * 1024

/** @throws BrumeError ALREADY_RUNNING: another daemon holds it; STORE_FAILED. */
export async function openStore(dir: string): Promise<Store> {
  const path = join(dir, 'store')
  const storage = new CorestoreStorage(path, { writeBufferSize: WRITE_BUFFER_BYTES })
  const store = new Corestore(storage, { globalCache: treeCache() })
  try {
    await store.ready()
    await syncNewStore(path)
    return store
  } catch (error) {
    throw storeError(error, dir)
  }
}

/** A locked store has no error code of its own. */
function storeError(error: unknown, dir: string): BrumeError {
  if (/could not be locked/i.test(sentenceOf(error))) {
    return new BrumeError('ALREADY_RUNNING', `a brume daemon already runs on ${dir}`, {
      next: `brume status --data ${dir}`,
      cause: error
    })
  }
  // The store's own mark of the file system it was made on.
  if ((error as { code?: string }).code === 'DEVICE_FILE') {
    return new BrumeError(
      'STORE_COPIED',
      `the store in ${dir} was copied from elsewhere, file by file`,
      {
        next: `brume adopt --data ${dir}, which makes it a node of its own`,
        cause: error
      }
    )
  }
  return new BrumeError(
    'STORE_FAILED',
    `the store in ${dir} cannot be opened: ${sentenceOf(error)}`,
    { cause: error }
  )
}
