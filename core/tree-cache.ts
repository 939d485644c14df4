/**
 * What Hyperbee keeps of a tree's blocks. It learns of them only as they are read, each through some ten
 * waits, and reads for each op what the one before has written: here it keeps what it writes. What it keeps
 * it hands out at once, without the lock against two reads of one block. Of all Hyperbees in this process;
 * imported for its effect. Parts that are no public API of Hyperbee, whose version is pinned.
 */
import Hyperbee, { type BeeCache, type TreeBatch } from 'hyperbee'
import { Node } from 'hyperbee/lib/messages.js'
import Rache from 'rache'

/** Keys and blocks of all trees of a store: some 2 MiB. The upper part of a tree comes up each time. */
const MAX_KEPT = 4_096

/** Of all trees of one store. */
export const treeCache = (): Rache => new Rache({ maxSize: MAX_KEPT })

/** The class of batches is no export. */
const batches = Object.getPrototypeOf(
  Hyperbee.prototype.batch.call({ _batches: [], core: {} } as never)
) as TreeBatch

const { getBlock, getKey } = batches

batches.getKey = function (seq) {
  return kept(this, this.tree._keyCache, seq) ?? getKey.call(this, seq)
}

batches.getBlock = function (seq) {
  if (this.rootSeq === 0) this.rootSeq = seq
  const own = this.blocks?.get(seq)
  if (own !== undefined) return own
  if (kept(this, this.tree._nodeCache, seq) !== null) return this._getBlock(seq)
  return getBlock.call(this, seq)
}

batches._appendBatch = async function (written) {
  const blocks = Array.isArray(written) ? written : [written]
  try {
    const start = this.core.length
    await this.core.append(written)
    if (!isOfTree(this)) return
    for (const [i, block] of blocks.entries()) {
      const { key, value, index } = Node.decode(copied(block))
      this.tree._keyCache?.set(start + i, key)
      this.tree._nodeCache?.set(start + i, { key, value, index, inflated: null })
    }
  } finally {
    this._unlock()
  }
}

/** A tree that is being opened has no caches yet. */
const kept = <T>(batch: TreeBatch, cache: BeeCache<T> | null, seq: number): T | null =>
  cache !== null && isOfTree(batch) ? cache.get(seq) : null

/** A snapshot from before the tree was cut back may have others. */
const isOfTree = ({ core, tree }: TreeBatch): boolean => core.fork === tree.core.fork

/** On its own: a part of a larger buffer would keep all of that. */
function copied(block: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(block.length)
  block.copy(copy)
  return copy
}
