/** History and audit: what is kept, how much of it, and what is not. */
import test from 'brittle'
import fc from 'fast-check'
import { auditOf, MAX_AUDIT } from '../../../core/state/audit.ts'
import {
  historyOf,
  MAX_HISTORY_BYTES,
  MAX_REVISIONS,
  remember,
  thingsUnder
} from '../../../core/state/history.ts'
import type { Op } from '../../../core/state/index.ts'
import { droppedOf, push, release } from '../../../core/state/ring.ts'
import { members, type Member } from '../../helpers/members.ts'
import { MemoryView, order, type Order } from '../../helpers/memory-view.ts'

const at = 1
const [A, B] = members('secret', 'pi1', 'pi2') as [Member, Member]

async function mesh(): Promise<Order> {
  const it = order(A.writer)
  await it.apply(A.writer, { type: 'mesh.init', defaultRole: 'admin', admission: A.paper, at })
  await it.apply(A.writer, { type: 'node.admit', admission: B.paper, at })
  return it
}

const context = (view: MemoryView, n: number): Parameters<typeof remember>[0] => ({
  view,
  meshKey: A.writer,
  writer: A.writer,
  author: null,
  op: `a.${n}`,
  format: 1,
  addWriter: async () => {},
  indexers: { confirming: [], coming: [], add: async () => {}, remove: async () => {} }
})

test('history - the last revisions of each thing, by number and by bytes', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 80_000 }), { minLength: 1, maxLength: 80 }),
      async (sizes) => {
        const view = new MemoryView()
        const thing = { noun: 'node', name: 'pi/1' }
        for (const [n, size] of sizes.entries()) {
          const edit = { thing, over: null, at, value: 'x'.repeat(size) }
          await remember(context(view, n), edit)
          await remember(context(view, n), { ...edit, thing: { noun: 'node', name: 'pi' } })
        }
        const found = await historyOf(view, thing)
        const bytes = found.reduce((sum, r) => sum + (r.value === undefined ? 0 : r.bytes), 0)
        if (found.length > MAX_REVISIONS || bytes > MAX_HISTORY_BYTES) throw new Error('too much')
        if (found.at(-1)?.n !== sizes.length) throw new Error('the last is there')
        if (found.some(({ n }, i) => n !== sizes.length - found.length + 1 + i)) {
          throw new Error('in one piece')
        }
        const room = MAX_HISTORY_BYTES - 80_002
        if (found.length < Math.min(sizes.length, MAX_REVISIONS) && bytes < room) {
          throw new Error('more would fit')
        }
      }
    ),
    { numRuns: 60 }
  )
  t.pass()
})

test('history - a name that begins with another is another thing', async (t) => {
  const view = new MemoryView()
  for (const name of ['app/web', 'app/web-2', 'app-2/web', 'app/db']) {
    await remember(context(view, 1), {
      thing: { noun: 'microservice', name },
      over: null,
      at,
      value: name
    })
  }
  t.is((await historyOf(view, { noun: 'microservice', name: 'app/web' })).length, 1)
  t.alike(
    (await thingsUnder(view, 'microservice', 'app/')).map(({ name }) => name),
    ['app/db', 'app/web', 'app/web-2']
  )
})

test('audit - who did what, in the order; the last so many; nothing that was refused', async (t) => {
  const it = await mesh()
  const app = (n: number): Op => ({ type: 'application.set', name: `app-${n}`, over: null, at: n })
  await it.apply(A.writer, app(1))
  await it.apply(B.writer, {
    type: 'node.set',
    node: A.id,
    labels: { zone: 'a' },
    over: 'x.1',
    at: 2
  })
  await it.apply(B.writer, { type: 'lease.claim', term: 1, at })
  await it.apply(A.writer, { type: 'node.set', node: B.id, role: 'viewer', over: null, at: 3 })
  t.ok(/may not deploy/.test(String(await it.apply(B.writer, app(4)))))
  t.alike(
    (await auditOf(it.view)).map(({ n, by, type, subject, over, at }) => [
      n,
      by,
      type,
      subject,
      over,
      at
    ]),
    [
      [0, A.id, 'application.set', 'app-1', null, 1],
      [1, B.id, 'node.set', A.id, 'x.1', 2],
      [2, A.id, 'node.set', B.id, null, 3]
    ]
  )
  for (let n = 0; n < MAX_AUDIT + 20; n++) await it.apply(A.writer, app(n))
  const all = await auditOf(it.view)
  t.is(all.length, MAX_AUDIT)
  t.is(all[0]?.n, 23)
  t.is(all.at(-1)?.subject, `app-${MAX_AUDIT + 19}`)
})

test('ring - whatever is pushed and released: the newest are there, and what went is counted', async (t) => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant('push' as const) },
    { weight: 1, arbitrary: fc.nat(20) }
  )
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.array(step), async (max, steps) => {
      const view = new MemoryView()
      const ring = { name: 'test', max }
      let held: number[] = []
      let dropped = 0
      let next = 0
      for (const step of steps) {
        if (step === 'push') {
          const { n, evicted } = await push(view, ring, next)
          if (n !== next) throw new Error('numbers go by one')
          held.push(next++)
          const gone = held.length > max ? held.splice(0, held.length - max) : []
          dropped += gone.length
          if (gone.join() !== evicted.join()) throw new Error(`evicted ${evicted.join()}`)
        } else {
          await release(view, ring, step)
          held = held.filter((n) => n !== step)
        }
        const found = await view.list<number>('~ring-test/')
        if (found.map(({ value }) => value).join() !== held.join()) throw new Error('not the same')
        if ((await droppedOf(view, ring)) !== dropped) throw new Error('not counted')
      }
    })
  )
  t.pass()
})
