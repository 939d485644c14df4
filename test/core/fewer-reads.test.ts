import test from 'brittle'
import Autobase, { type Writer } from 'autobase'
import SystemView from 'autobase/lib/system.js'
import Core from 'hypercore/lib/core.js'
import { MerkleTree } from 'hypercore/lib/merkle-tree.js'
import { CoreRX } from 'hypercore-storage/lib/tx.js'
import '../../core/fewer-reads.ts'

test('fewer reads - what all peers of a core ask at one moment is read once, and anew later', async (t) => {
  let reads = 0
  let isThere = true
  const session = {
    storage: {
      read() {
        reads++
        const here = (): Promise<object | null> => Promise.resolve(isThere ? {} : null)
        return { getTreeNode: here, hasTreeNode: () => Promise.resolve(isThere), tryFlush() {} }
      }
    }
  }
  const ask = (length: number): Promise<boolean> => MerkleTree.upgradeable(session, length)
  t.alike(await Promise.all([ask(4), ask(4), ask(4), ask(8)]), [true, true, true, true])
  t.is(reads, 2, 'one for each length')
  isThere = false
  t.is(await ask(4), false)
})

test('fewer reads - what of a tree is missing above a block is counted as node by node', async (t) => {
  let reads = 0
  const count = (there: Set<number>, index: number, length: number): Promise<number> =>
    MerkleTree.missingNodes(
      {
        storage: {
          read() {
            reads++
            return { hasTreeNode: (node) => Promise.resolve(there.has(node)), tryFlush() {} }
          }
        }
      },
      index,
      length
    )
  // Above block 0 of 16: 1, 3, 7 and 15, which is all of them.
  t.is(await count(new Set([7]), 0, 17), 3)
  t.is(await count(new Set([0]), 0, 17), 0)
  t.is(await count(new Set(), 0, 17), 5, 'below the end, where there is none')
  t.is(await count(new Set(), 10, 5), 0, 'none where the tree is not known')
  reads = 0
  t.is(await count(new Set([1_023]), 0, 1_024), 10)
  t.is(reads, 2, 'eight are one read')
})

test('fewer reads - where nothing is left for the disk it is not asked', (t) => {
  let done = ''
  const questions = (operations: object[]): CoreRX =>
    ({
      read: { _operations: operations, tryFlush: () => (done = 'asked') },
      destroy: () => (done = 'let go'),
      _free() {}
    }) as unknown as CoreRX
  CoreRX.prototype.tryFlush.call(questions([{}]))
  t.is(done, 'asked')
  CoreRX.prototype.tryFlush.call(questions([]))
  t.is(done, 'let go')
})

test('fewer reads - a look asks only those writers that may have something', async (t) => {
  const asked: string[] = []
  const kept: string[] = []
  const writer = (name: string, read: number, length: number, opened = true): Writer =>
    ({
      core: { length },
      nodes: { length: read },
      opened,
      updateActivity: () => void kept.push(name),
      update: () => Promise.resolve(asked.push(name) > 0)
    }) as unknown as Writer
  const activeWriters = [
    writer('read whole', 3, 3),
    writer('grown', 3, 4),
    writer('opening', 3, 3, false),
    writer('cut', 3, 2)
  ]
  await Autobase.prototype._updateAll.call({ activeWriters })
  t.alike(asked, ['grown', 'opening', 'cut'])
  t.alike(kept, ['read whole'])
})

test('fewer reads - what is known of a writer is read without a snapshot, and nothing is left open', async (t) => {
  let open = 0
  const known = { length: 7 }
  const system = {
    db: {
      get: () => t.fail('a snapshot'),
      batch(options: { update: boolean }) {
        t.is(options.update, false, 'nor does it wait for peers')
        open++
        return {
          get: () => Promise.resolve({ value: known }),
          close: () => Promise.resolve(open--)
        }
      }
    },
    _changes: [{ key: Buffer.from('b'), value: { length: 8 } }]
  } as unknown as SystemView
  const ask = (key: string): Promise<object | null> =>
    SystemView.prototype._get.call(system, Buffer.from(key), 0)
  t.is(await ask('a'), known)
  t.alike(await ask('b'), { length: 8 }, 'what is not written yet counts')
  t.is(open, 0)
})

test('fewer reads - how much a peer has is written down with what is written next', (t) => {
  const core = { hintsChanged: false, header: { hints: { remoteContiguousLength: 0 } } }
  const note = (length: number): void =>
    Core.prototype.updateRemoteContiguousLength.call(core as unknown as Core, length)
  note(5)
  t.is(core.header.hints.remoteContiguousLength, 5)
  t.is(core.hintsChanged, false)
  core.hintsChanged = true
  note(6)
  t.is(core.hintsChanged, true, 'what else is to be written is')
})
