/**
 * What Hypercore and Autobase ask the disk for, and write, more often than they need to. Each question
 * goes through a thread and back, which costs more than the answer, and in a mesh of many nodes most of
 * an op's cost was such questions. In all of this process; imported for its effect. Parts that are no
 * public API of the packages, whose versions are pinned.
 */
import Autobase, { type Writer } from 'autobase'
import ApplyState from 'autobase/lib/apply-state.js'
import SystemView, { type Reader } from 'autobase/lib/system.js'
import Core from 'hypercore/lib/core.js'
import { MerkleTree, type MerkleSession } from 'hypercore/lib/merkle-tree.js'

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
 * A writer's base writes everything to its store twice: once so that it can read what it appended back,
 * then the rest. Where it appended nothing the second time is enough.
 */
const { _flush: flush } = ApplyState.prototype
ApplyState.prototype._flush = function (localNodes) {
  const { store } = this
  if (localNodes === null && this.localCheckpoint !== null) {
    store.flush = () => {
      delete store.flush
      return Promise.resolve()
    }
  }
  return flush.call(this, localNodes)
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
