import test from 'brittle'
import type { Op } from '../../../core/state/index.ts'
import { survey } from '../../../core/state/recover.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'

const at = 1
const promote = (node: string, indexer = true, term: number | null = null): Op => ({
  type: 'indexer.set',
  node,
  indexer,
  term,
  at
})

async function mesh(
  defaultRole: 'admin' | 'node'
): Promise<{ it: Order; who: [Member, Member, Member] }> {
  const who = members('indexers', 'a1', 'b2', 'c3') as [Member, Member, Member]
  const [a, b, c] = who
  const it = order(a.writer)
  const init: Op = { type: 'mesh.init', defaultRole, admission: a.paper, at }
  for (const op of [
    init,
    { type: 'node.admit', admission: b.paper, at },
    { type: 'node.admit', admission: c.paper, at }
  ] satisfies Op[]) {
    const refusal = await it.apply(a.writer, op)
    if (refusal !== null) throw new Error(refusal)
  }
  return { it, who }
}

test('indexers - an admin, or a leader under its claim; one always stays', async (t) => {
  const { it, who } = await mesh('node')
  const [a, b, c] = who
  t.ok(await it.apply(b.writer, promote(b.id)), 'a field node may not')
  t.ok(await it.apply(b.writer, promote(b.id, true, 1)), 'nor without a claim')
  t.is(await it.apply(b.writer, { type: 'lease.claim', term: 1, at }), null)
  t.is(await it.apply(b.writer, promote(b.id, true, 1)), null)
  t.ok(await it.apply(b.writer, promote(c.id, true, 2)), 'a claim is of one term')
  t.is(await it.apply(a.writer, promote(c.id)), null)
  t.is(await it.apply(a.writer, promote(c.id)), null, 'again is no change')
  t.is(it.confirming.length, 3)
  for (const node of [a, b]) t.is(await it.apply(a.writer, promote(node.id, false)), null)
  t.ok(await it.apply(a.writer, promote(c.id, false)))
  t.alike(it.confirming, [c.writer.toString('hex')])
  t.ok(await it.apply(a.writer, promote('y'.repeat(52))), 'no such node')
})

test('indexers - who leaves confirms no more; the last cannot leave while others stay', async (t) => {
  const { it, who } = await mesh('admin')
  const [a, b] = who
  t.ok(await it.apply(a.writer, { type: 'node.leave', at }))
  t.is(await it.apply(a.writer, promote(b.id)), null)
  t.is(await it.apply(a.writer, { type: 'node.leave', at }), null)
  t.alike(it.confirming, [b.writer.toString('hex')])
})

test('recover - an admin writes it, its epoch is at most one higher; two sides may write the same', async (t) => {
  const { it, who } = await mesh('node')
  const [a, b] = who
  const recover = (epoch: number): Op => ({
    type: 'mesh.recover',
    epoch,
    reached: [a.id],
    minority: true,
    at
  })
  t.ok(await it.apply(b.writer, recover(1)))
  t.ok(await it.apply(a.writer, recover(2)))
  t.is(await it.apply(a.writer, recover(1)), null)
  t.is(await it.apply(a.writer, recover(1)), null)
  t.is(await it.apply(a.writer, recover(2)), null)
  const state = await it.view.state()
  t.alike(
    state.recoveries.map(({ epoch }) => epoch),
    [1, 1, 2]
  )
  const found = survey({ ...state, indexers: [a.id] }, new Set([a.id]))
  t.alike([found.epoch, found.most, found.confirming, found.quorum], [3, false, 1, 1])
})

test('format - an operator raises it, nobody lowers it', async (t) => {
  const { it, who } = await mesh('node')
  const [a, b] = who
  const activate = (format: number): Op => ({ type: 'format.activate', format, at })
  t.ok(await it.apply(b.writer, activate(2)))
  t.is((await it.view.state()).format, 1)
  t.is(await it.apply(a.writer, activate(3)), null)
  t.is(await it.apply(a.writer, activate(2)), null)
  t.is((await it.view.state()).format, 3)
})
