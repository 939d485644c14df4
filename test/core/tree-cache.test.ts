import test, { type Assert } from 'brittle'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'
import { openStore, type Store } from '../../core/store.ts'
import { treeCache } from '../../core/tree-cache.ts'

type View = Hyperbee<number>
type Edit = { key: string; value: number | null }

const edit = fc.record({
  key: fc.nat(60).map((n) => `k${n}`),
  value: fc.option(fc.nat(9), { freq: 4 })
})
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ edits: fc.array(edit, { minLength: 1, maxLength: 12 }) }) },
    { weight: 1, arbitrary: fc.record({ cutTo: fc.nat(40) }) }
  ),
  { maxLength: 40, size: 'max' }
)

test('tree cache - however a tree grows and is cut back, it reads as if nothing was kept', async (t) => {
  const store = await temporaryStore(t)
  let n = 0
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const view = treeIn(store, `view-${n++}`)
      await view.ready()
      // What was in it at which length.
      const been = new Map<number, Record<string, number>>([[0, {}]])
      let now: Record<string, number> = {}
      for (const step of steps) {
        if ('edits' in step) now = await change(view, step.edits, now)
        else now = await cut(view, step.cutTo, been)
        been.set(view.core.length, now)
        for (const key of Object.keys(now).slice(0, 3)) {
          if ((await view.get(key))?.value !== now[key]) throw new Error(`another ${key}`)
        }
      }
      mustBe(await contentOf(view), now)
      for (const [length, then] of been) {
        if (length === 0 || length > view.core.length) continue
        const old = view.checkout(length)
        mustBe(await contentOf(old), then)
        await old.close()
      }
      await view.close()
    }),
    { numRuns: 40 }
  )
  t.pass()
})

test('tree cache - what was just written is not read', async (t) => {
  const store = await temporaryStore(t)
  const view = treeIn(store, 'view')
  for (let i = 0; i < 40; i++) await change(view, [{ key: `k${i}`, value: i }], {})
  const { get } = Hypercore.prototype
  t.teardown(() => (Hypercore.prototype.get = get))
  let blocks = 0
  Hypercore.prototype.get = function (...asked) {
    blocks++
    return get.apply(this, asked)
  }
  for (let i = 0; i < 40; i++) {
    await change(view, [{ key: `k${i}`, value: i + 1 }], {})
    t.is((await view.get(`k${i}`))?.value, i + 1)
  }
  t.is(blocks, 0)
  await view.close()
})

test('tree cache - trees of a store keep so much together', async (t) => {
  const store = await temporaryStore(t)
  for (const name of ['one', 'other']) {
    const view = treeIn(store, name)
    for (let i = 0; i < 1_500; i++) await change(view, [{ key: `k${i}`, value: i }], {})
    await view.close()
  }
  const { globalCache } = store
  t.is(globalCache.maxSize, treeCache().maxSize)
  t.is(globalCache.globalSize, globalCache.maxSize)
})

/** Encrypted, as a view is. */
function treeIn(store: Store, name: string): View {
  const core = store.get({ name, encryption: { key: Buffer.alloc(32, 7) } })
  return new Hyperbee<number>(core, {
    extension: false,
    keyEncoding: 'utf-8',
    valueEncoding: 'json'
  })
}

async function change(
  view: View,
  edits: Edit[],
  before: Record<string, number>
): Promise<Record<string, number>> {
  const after = { ...before }
  const batch = view.batch({ update: false })
  for (const { key, value } of edits) {
    if (value === null) {
      delete after[key]
      await batch.del(key)
    } else {
      after[key] = value
      await batch.put(key, value)
    }
  }
  await batch.flush()
  return after
}

/** To the last length it had that is no longer than so. */
async function cut(
  view: View,
  to: number,
  been: Map<number, Record<string, number>>
): Promise<Record<string, number>> {
  const length = Math.max(...[...been.keys()].filter((length) => length <= to))
  if (length < view.core.length) await view.core.truncate(length)
  for (const each of [...been.keys()]) if (each > view.core.length) been.delete(each)
  return been.get(view.core.length) ?? {}
}

async function contentOf(view: View): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for await (const { key, value } of view.createReadStream()) found[key] = value
  return found
}

function mustBe(found: Record<string, number>, expected: Record<string, number>): void {
  const sorted = (of: Record<string, number>): string =>
    JSON.stringify(Object.entries(of).sort(([a], [b]) => (a < b ? -1 : 1)))
  if (sorted(found) !== sorted(expected)) throw new Error(`${sorted(found)} is ${sorted(expected)}`)
}

async function temporaryStore(t: Assert): Promise<Store> {
  const dir = await mkdtemp(join(tmpdir(), 'brume-tree-'))
  const store = await openStore(dir)
  t.teardown(async () => {
    await store.close()
    await rm(dir, { recursive: true, force: true })
  })
  return store
}
