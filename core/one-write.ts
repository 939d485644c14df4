/**
 * What a base appended, what it made of it and how far that is go to the disk in one write. Autobase writes
 * the last one by itself, later: a writer that was killed between the two applied its own ops once more
 * when it opened, on top of what was there, and confirmed that as an indexer, for ever apart from all others.
 * Where it appended nothing, only the later write is needed. In all of this process; imported for its
 * effect. Uses a part of Autobase that is no public API; its version is pinned.
 */
import ApplyState from 'autobase/lib/apply-state.js'
import { BOOT_RECORD_VERSION } from 'autobase/lib/caps.js'

const { _flush: flush } = ApplyState.prototype
ApplyState.prototype._flush = function (localNodes) {
  const { store } = this
  const toDisk = store.flush
  // The first of two, but of who never wrote, where it is the only one.
  store.flush = async () => {
    delete store.flush
    if (this.localCheckpoint === null) return toDisk?.call(store)
    if (localNodes === null) return
    this.localState.setBootRecord({
      version: BOOT_RECORD_VERSION,
      key: this.key,
      systemLength: this.systemView.indexedLength,
      indexersUpdated: false,
      fastForwarding: false,
      recoveries: this.base.recoveries
    })
    await this.localState.flush()
    await toDisk?.call(store)
  }
  return flush.call(this, localNodes)
}
