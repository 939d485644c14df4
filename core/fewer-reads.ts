/**
 * What Hypercore and Autobase ask the disk for, and write, more often than they need to. Each question
 * goes through a thread and back, which costs more than the answer, and in a mesh of many nodes most of
 * an op's cost was such questions. In all of this process; imported for its effect. Parts that are no
 * public API of the packages, whose versions are pinned.
 */
import Autobase, { type Writer } from 'autobase'
import SystemView, { type Reader } from 'autobase/lib/system.js'
import Core from 'hypercore/lib/core.js'
import { MerkleTree, type MerkleSession } from 'hypercore/lib/merkle-tree.js'
import { CoreRX } from 'hypercore-storage/lib/tx.js'

/**
 * When a core grows, each of its peers asks whether one that has what it had before can go on from
 * there: mostly the same question ten times in a row. It is asked once for all who ask before anything
 * else happens; later the answer may be another.
 */
const upgradeable = MerkleTree.upgradeable.bind(MerkleTree)
let asked = new Map<MerkleSession, Map<number, Promise<boolean>>>()
MerkleTree.upgradeable = (session, length) => {
  if (asked.size === 0) queueMicrotask(() => (asked = new Map()))
  const answers = asked.get(session) ?? new Map<number, Promise<boolean>>()
  asked.set(session, answers)
  const answer = answers.get(length) ?? upgradeable(session, length)
  answers.set(length, answer)
  return answer
}

/**
 * Before a block is asked for, what is here of the tree above it is looked up, node by node until one is
 * found: half of what a merge asked the disk for. Several at a time cost as much as one.
 */
const NODES_AT_ONCE = 8
MerkleTree.missingNodes = async ({ storage }, index, length) => {
  const path = pathOver(index, 2 * length)
  for (let from = 0; from < path.length; from += NODES_AT_ONCE) {
    const reader = storage.read()
    const nodes = path.slice(from, from + NODES_AT_ONCE).map((node) => reader.hasTreeNode(node))
    reader.tryFlush()
    const found = (await Promise.all(nodes)).indexOf(true)
    if (found >= 0) return from + found
  }
  return path.length
}

/** From the node `index` of a tree up to the last below one that reaches to `end`; none where it does itself. */
function pathOver(index: number, end: number): number[] {
  const path: number[] = []
  // Half of what is below a node, itself included: 1 of a leaf.
  let half = 1
  while ((index & half) !== 0) half *= 2
  for (let node = index; node + half <= end; half *= 2) {
    path.push(node)
    node += (node & (2 * half)) === 0 ? half : -half
  }
  return path
}

/**
 * What is known of a writer is looked up several times for each op, each time in a snapshot of its own,
 * which is a session of the core and one of the store. Only an update of the base asks, and nothing else
 * changes the core meanwhile: it is read as it is.
 */
const { _get: memberOf } = SystemView.prototype
SystemView.prototype._get = function (...asked) {
  const { db, _changes } = this
  const asItIs: Reader = {
    async get(key, options) {
      const reader = db.batch({ ...options, update: false })
      try {
        return await reader.get(key, options)
      } finally {
        await reader.close()
      }
    }
  }
  return memberOf.call({ db: asItIs, _changes } as SystemView, ...asked)
}

/**
 * How much of a core some peer has is written down with what is written next, not each time for itself:
 * after a start peers say it again.
 */
const { updateRemoteContiguousLength: noteRemote } = Core.prototype
Core.prototype.updateRemoteContiguousLength = function (length) {
  const had = this.hintsChanged
  noteRemote.call(this, length)
  this.hintsChanged = had
}

/**
 * Each look at what came begins with a question to every writer that was heard of lately, in a mesh of
 * many mostly to those that have nothing: they are not asked, only kept as active as they should be.
 */
const { _updateAll: updateAll } = Autobase.prototype
Autobase.prototype._updateAll = function () {
  const lacking: Writer[] = []
  for (const writer of this.activeWriters) {
    const { opened, nodes, core } = writer
    if (opened && nodes.length === core.length) writer.updateActivity()
    else lacking.push(writer)
  }
  return updateAll.call({ activeWriters: lacking })
}

/**
 * What is written and not flushed yet is answered without the disk, as all of a long update is. A question
 * in which nothing is left for the disk still went to its thread and back.
 */
const { tryFlush: askDisk } = CoreRX.prototype
CoreRX.prototype.tryFlush = function () {
  if (this.read._operations.length > 0) askDisk.call(this)
  else this.destroy()
}
