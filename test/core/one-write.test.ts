import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Autobase, { type ApplyNode } from 'autobase'
import ApplyState from 'autobase/lib/apply-state.js'
import test from 'brittle'
import Corestore from 'corestore'
import type Hypercore from 'hypercore'
import '../../core/one-write.ts'

/** Parts of a base that are no public API. */
interface Parts {
  readonly _applyState: { readonly store: object; readonly system: { core: { length: number } } }
  /** What it opens with, from the disk. */
  _getBootRecord(): Promise<{ systemLength: number }>
}

test('one write - no write of an own op leaves on the disk what a base would apply again', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const store = new Corestore(join(dir, 'store'))
  const base = new Autobase<Hypercore>(store, null, {
    valueEncoding: 'binary',
    open: (views: { get(name: string): Hypercore }) => views.get('view'),
    apply: async (nodes: ApplyNode[], view: Hypercore) => {
      for (const { value } of nodes) if (value !== null) await view.append(value)
    }
  } as never)
  await base.ready()
  await base.append(Buffer.from('first'))

  const parts = base as unknown as Parts
  const disk = Object.getPrototypeOf(parts._applyState.store) as {
    flush: (this: unknown) => Promise<void>
  }
  const toDisk = disk.flush
  t.teardown(() => (disk.flush = toDisk))
  const known: number[] = []
  const applied: number[] = []
  disk.flush = async function () {
    await toDisk.call(this)
    known.push((await parts._getBootRecord()).systemLength)
    applied.push(parts._applyState.system.core.length)
  }
  await base.append([Buffer.from('second'), Buffer.from('third')])
  disk.flush = toDisk

  t.ok(known.length > 0)
  t.alike(known, applied, 'the only indexer confirms what it applies')
  t.is(base.view.length, 3)
  await base.close()
  await store.close()
})

test('one write - a writer that appended nothing writes to its store once, else twice', async (t) => {
  let writes = 0
  class Store {
    flush(): Promise<void> {
      writes++
      return Promise.resolve()
    }
  }
  const done = (): Promise<void> => Promise.resolve()
  const applied = {
    store: new Store(),
    localCheckpoint: { update: done },
    localState: { setBootRecord() {}, flush: done },
    systemView: { indexedLength: 0 },
    base: { recoveries: 0 },
    pendingViews: null,
    _appendLocalNodes: done
  } as unknown as ApplyState
  const flush = async (localNodes: object[] | null): Promise<number> => {
    writes = 0
    await ApplyState.prototype._flush.call(applied, localNodes)
    return writes
  }
  t.is(await flush(null), 1)
  t.is(await flush([{}]), 2)
  t.is(await flush(null), 1)
})
