/**
 * The system core of a base: what Autobase itself knows of the order (writers, indexers, lengths of
 * views), in a core that indexers sign. Another one with every change of indexers, and with a fork.
 * This file uses parts of Autobase that are no public API; its version is pinned.
 */
import type Autobase from 'autobase'
import type { FastForwardTo } from 'autobase'
import ApplyState from 'autobase/lib/apply-state.js'
import FastForward from 'autobase/lib/fast-forward.js'
import Fork from 'autobase/lib/fork.js'
import SystemView from 'autobase/lib/system.js'
import type Hypercore from 'hypercore'
import type { Store } from './store.ts'

type Base = Autobase<never>

/** Where a base can go over to: all blocks are here, what it needs to go on without any peer. */
export type Landing = FastForwardTo

/** Of one question to peers. */
const ASK_MS = 5_000

/**
 * Fetches the newest blocks of a system core and the views it stands for from peers; null where none
 * has them, or not before the signal's end. Of the rest, what is read comes from peers too, until
 * `holdWhole` has it all.
 */
export async function fetchNewest(
  base: Base,
  key: Buffer,
  signal: AbortSignal
): Promise<Landing | null> {
  if (signal.aborted) return null
  const forward = new FastForward(base, key, { verified: false, force: true, timeout: ASK_MS })
  const stop = (): void => void forward.close().catch(() => {})
  signal.addEventListener('abort', stop)
  const landing = await forward.upgrade()
  signal.removeEventListener('abort', stop)
  return landing
}

/**
 * The same with every block of them.
 *
 * Whole, because a base that goes over with the newest blocks only (as a fast-forward does) waits for
 * ever, in apply, for a block that nobody in reach has any more once those that had it are gone.
 */
export async function fetchSystem(
  base: Base,
  store: Store,
  key: Buffer,
  signal: AbortSignal
): Promise<Landing | null> {
  const landing = await fetchNewest(base, key, signal)
  if (landing === null) return null
  const cores = [{ key: landing.key, length: landing.length }, ...landing.views]
  for (const { key, length } of cores) {
    if (!(await download(store, key, length, signal))) return null
  }
  return landing
}

/** Lets a base begin there at its next update. Its own ops that are not in it come after. */
export function land(base: Base, landing: Landing): void {
  base.fastForwardTo = landing
}

/** Keeps fetching what a fast-forward left out; ends with the store. */
export function holdWhole(base: Base, store: Store, onError: (error: unknown) => void): void {
  const { system, view } = base as unknown as Autobase<{ core: Hypercore }>
  if (system === null) return
  // Not the `views` the system names: while a change of indexers is under way, those of after it.
  const cores = [system.core.key, ...(system.core.manifest?.linked ?? []), view.core.key]
  for (const key of cores) hold(store, key).catch(onError)
}

async function hold(store: Store, key: Buffer): Promise<void> {
  const core = store.get({ key, active: true })
  try {
    await core.ready()
    const { length } = core
    if (core.contiguousLength >= length) return
    await core.download({ start: 0, end: length }).done()
  } finally {
    await core.close()
  }
}

/** Whether every block of the order is here, fetching what is not until the signal's end. */
export async function isWhole(base: Base, signal: AbortSignal): Promise<boolean> {
  const { encryption, core, view } = base as unknown as Autobase<{ core: typeof core }>
  for (const one of [core, view.core, encryption?.core]) {
    if (one === null || one === undefined || one.length === 0) continue
    if (await one.has(0, one.length)) continue
    const range = one.download({ start: 0, end: one.length })
    if (!(await settles(range.done(), signal))) range.destroy()
    if (!(await one.has(0, one.length))) return false
  }
  return true
}

/**
 * Mends three things Autobase gets wrong once an order was forked, before the base is used.
 *
 * Views are encrypted with keys that are numbered, and two forks give one number to different keys.
 * Autobase remembers keys by number only: a base that changed over would read and write with those
 * of the order it came from. They are forgotten whenever it loads the order anew.
 *
 * And a system core names the core of those keys as it was one change of indexers before, whose key
 * a base that fast-forwards over that change cannot derive: it would begin an empty one, and wait
 * for ever for what is not in it.
 *
 * And a view that is longer than the one it goes over to is cut while it moves: from then on it reads
 * the new core's blocks from the old one. It is cut before.
 */
export async function mend(base: Base): Promise<void> {
  const views = base._viewStore
  const find = views.findViewByKey.bind(views)
  views.findViewByKey = async (key, ...rest) => {
    const to = base.fastForwardTo
    const first = to !== null && to.manifestVersion >= 2 ? to.views[0] : undefined
    if (first?.key.equals(key) === true) return views.byName.get('_encryption') ?? null
    return find(key, ...rest)
  }
  const moveTo = base._moveTo.bind(base)
  base._moveTo = async () => {
    for (const { batch, moveTo: target } of views.byName.values()) {
      // What a core begins with cannot be cut off it.
      const first = batch.manifest?.prologue?.length ?? 0
      const length = target?.[0].length ?? batch.length
      if (length < batch.length && length >= first) await batch.truncate(length)
    }
    await moveTo()
  }
  await base._preopen
  const { encryption } = base
  if (encryption === null) return
  const reload = encryption.reload.bind(encryption)
  encryption.reload = async (core) => {
    for (const session of encryption.sessions.values()) {
      session.keys = null
      session.keysById = new Map()
    }
    await reload(core)
  }
}

/**
 * The fourth: a fork takes back the last entry of the system core to write it anew, which cannot be
 * where nothing was confirmed since the last change of indexers. Written after it, it says the same.
 */
const { fork } = SystemView.prototype
SystemView.prototype.fork = async function (...given) {
  const { core, db } = this
  if (core.manifest?.prologue?.length !== core.length) return fork.apply(this, given)
  core.truncate = async () => {}
  db.createHistoryStream = () => []
  try {
    return await fork.apply(this, given)
  } finally {
    delete core.truncate
    delete db.createHistoryStream
  }
}

const { _upgrade: upgrade } = Fork.prototype
Fork.prototype._upgrade = async function () {
  await upgrade.call(this)
  const { state } = this
  const { length } = this.system.core
  state.pendingFork.length = length
  const finalize = state.finalize.bind(state)
  // Only now: until then it still is a length of the core before.
  state.finalize = (key) => {
    state.systemView.indexedLength = length
    return finalize(key)
  }
  // The op that ends an order signs nothing of it: what was confirmed since this node signed last
  // would be looked up in cores that were cut back just now, and waited for without an end.
  state.localIndexer = false
}

/**
 * A node that stopped between a change of indexers and its next op opens on the system core of after it,
 * and asks whether there is one to make. Autobase compares with the indexers of the newest op it knows: with
 * another change still unconfirmed there is, to the core it is on, which is cut back to be copied
 * from itself. What it was cut by is waited for without an end. Only a change that is confirmed is one.
 */
const { shouldMigrate } = ApplyState.prototype
ApplyState.prototype.shouldMigrate = async function () {
  if (!(await shouldMigrate.call(this))) return false
  const { store, fastForwarding, indexersUpdated, indexedLength, system } = this
  const { indexers } = await system.getIndexedInfo(indexedLength)
  const confirmed = { core: system.core, indexers }
  const state = { store, fastForwarding, indexersUpdated, system: confirmed }
  return shouldMigrate.call(state as ApplyState)
}

/** False where it was not all there before the signal's end. */
async function download(
  store: Store,
  key: Buffer,
  length: number,
  signal: AbortSignal
): Promise<boolean> {
  const core = store.get({ key, active: true })
  try {
    await core.ready()
    if (length === 0 || (await core.has(0, length))) return true
    const range = core.download({ start: 0, end: length })
    if (await settles(range.done(), signal)) return true
    range.destroy()
    return false
  } finally {
    await core.close()
  }
}

/** False where it rejects or comes after the signal's end. */
function settles(promise: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (settled: boolean): void => {
      signal.removeEventListener('abort', late)
      resolve(settled)
    }
    const late = (): void => end(false)
    // Also of one that is late already: nobody else hears of how it ends.
    promise.then(
      () => end(true),
      () => end(false)
    )
    if (signal.aborted) late()
    else signal.addEventListener('abort', late)
  })
}
