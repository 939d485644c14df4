import test, { type Assert } from 'brittle'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import Hyperbee from 'hyperbee'
import Hypercore from 'hypercore'
import { keys } from '../../core/state/keys.ts'
import { emptyState, nextState } from '../../core/state/read.ts'
import { Records } from '../../core/state/sorted.ts'
import type { State } from '../../core/state/state.ts'
import { openStore, type Store } from '../../core/store.ts'
import { ViewTracker } from '../../core/view-tracker.ts'

type View = Hyperbee<unknown>
type Step =
  | { does: 'put' | 'del'; kind: number; n: number; value: number }
  | { does: 'cut'; blocks: number }
  | { does: 'read' }

const edit = fc.record({
  does: fc.constantFrom('put' as const, 'put' as const, 'put' as const, 'del' as const),
  kind: fc.nat(3),
  n: fc.nat(40),
  value: fc.nat(3)
})
const cut = fc.record({
  does: fc.constant('cut' as const),
  blocks: fc.integer({ min: 1, max: 12 })
})
const read = fc.constant({ does: 'read' as const })
const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: edit },
    { weight: 1, arbitrary: cut },
    { weight: 3, arbitrary: read }
  ),
  { maxLength: 120, size: 'max' }
)

test('view tracker - however a view grows and is cut back, its state is that of a whole read', async (t) => {
  const { store, close } = await temporaryStore()
  t.teardown(close)
  let n = 0
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const core = store.get({ name: `view-${n++}` }) as Truncatable
      const view = beeOn(core)
      await view.ready()
      const tracker = new ViewTracker()
      for (const step of steps) {
        if (step.does === 'read') await compare(view, tracker)
        else if (step.does === 'cut') {
          if (core.length > step.blocks) await core.truncate(core.length - step.blocks)
        } else await change(view, step)
      }
      await compare(view, tracker)
      await view.close()
    }),
    { numRuns: 25 }
  )
  t.pass()
})

test('view tracker - what did not change is shared; an unchanged view gives the same state', async (t) => {
  const { view, tracker } = await tracked(t)
  await view.put('application/a', { name: 'a' })
  await view.put('node/x', { id: 'x', name: 'x', ordinal: 0 })
  const first = await readBy(tracker, view)
  t.is(await readBy(tracker, view), first)
  await view.put('application/b', { name: 'b' })
  const second = await readBy(tracker, view)
  t.alike([...second.applications.keys()], ['a', 'b'])
  t.is(second.nodes, first.nodes)
  t.unlike(second.applications, first.applications)
  await view.close()
})

test('view tracker - a change reads no more of a large view than of a small one', async (t) => {
  const { view, tracker } = await tracked(t)
  const { get } = Hypercore.prototype
  t.teardown(() => (Hypercore.prototype.get = get))
  let blocks = 0
  const readAfter = async (key: string): Promise<number> => {
    await view.put(`application/${key}`, { name: key })
    const snapshot = view.snapshot()
    snapshot._sessions = false
    blocks = 0
    Hypercore.prototype.get = function (...asked) {
      blocks++
      return get.apply(this, asked)
    }
    await tracker.read(snapshot)
    Hypercore.prototype.get = get
    await snapshot.close()
    return blocks
  }
  for (let n = 0; n < 500; n++) await view.put(`application/k${n}`, { name: `k${n}` })
  await readAfter('k100x')
  const first = await readAfter('k100y')
  t.ok((await readAfter('k100z')) <= 3, `the change, and what is beside it; ${first} before`)
})

test('view tracker - a read that fails changes nothing', async (t) => {
  const { view, tracker } = await tracked(t)
  await view.put('application/a', { name: 'a' })
  const broken = view.snapshot()
  await broken.close()
  await t.exception(() => tracker.read(broken))
  t.alike([...(await readBy(tracker, view)).applications.keys()], ['a'])
  await view.close()
})

async function tracked(t: Assert): Promise<{ view: Bee; tracker: ViewTracker }> {
  const { store, close } = await temporaryStore()
  t.teardown(close)
  const view = beeOn(store.get({ name: 'view' }))
  await view.ready()
  return { view, tracker: new ViewTracker() }
}

type Truncatable = Hypercore & { truncate(length: number): Promise<void> }

type Bee = View & { put: Put; del: Del }

const beeOn = (core: Hypercore): Bee =>
  new Hyperbee<unknown>(core, {
    extension: false,
    keyEncoding: 'utf-8',
    valueEncoding: 'json'
  }) as Bee

type Put = (key: string, value: unknown) => Promise<void>
type Del = (key: string) => Promise<void>

const PREFIXES = ['application/', 'node/', 'microservice/app/', '~audit/']

async function change(
  view: { put: Put; del: Del },
  { does, kind, n, value }: Extract<Step, { kind: number }>
): Promise<void> {
  const key = `${PREFIXES[kind]}k${n}`
  if (does === 'del') return view.del(key)
  const id = `k${n}`
  await view.put(key, { name: id, id, application: 'app', ordinal: n, value })
}

async function compare(view: View, tracker: ViewTracker): Promise<void> {
  const whole = new Records()
  const all: string[] = []
  for await (const { key, value } of view.createReadStream({ lt: keys.onDemand })) {
    whole.set(key, value)
    all.push(key)
  }
  const expected = dump(nextState(emptyState(), whole, all))
  const found = dump(await readBy(tracker, view))
  if (found !== expected) throw new Error(`${found} instead of ${expected}`)
}

async function readBy(tracker: ViewTracker, view: View): Promise<State> {
  const snapshot = view.snapshot()
  try {
    return await tracker.read(snapshot)
  } finally {
    await snapshot.close()
  }
}

const dump = (state: State): string =>
  JSON.stringify(state, (_, value: unknown) => (value instanceof Map ? [...value] : value))

async function temporaryStore(): Promise<{ store: Store; close: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  const store = await openStore(dir)
  return {
    store,
    close: async () => {
      await store.close()
      await rm(dir, { recursive: true, force: true })
    }
  }
}
