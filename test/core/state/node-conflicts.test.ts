/** Edits of one node on two sides of a split, field by field, and what is no conflict. */
import test from 'brittle'
import fc from 'fast-check'
import { contentHash } from '../../../core/crypto.ts'
import { writeProof } from '../../../core/proof.ts'
import { conflictId, conflictsOf, type Conflict } from '../../../core/state/conflicts.ts'
import { historyOf, thingsUnder } from '../../../core/state/history.ts'
import type { Op } from '../../../core/state/index.ts'
import { nodeThing, nodeThings, seenOfNode, type NodeSet } from '../../../core/state/nodes.ts'
import { putBack } from '../../../core/state/put-back.ts'
import type { NodeField, NodeRecord } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'

const RUNS = { numRuns: 150 }
const at = 1
const WHO = members('secret', 'pi1', 'pi2', 'pi3', 'pi4', 'truck') as Member[] &
  [Member, Member, Member, Member, Member]
const [A, B, C, D, TRUCK] = WHO

type Fields = Pick<NodeSet, NodeField>
interface Step {
  by: Member
  op: Op
}

async function mesh(): Promise<Order> {
  const it = order(A.writer)
  await must(it, A, { type: 'mesh.init', defaultRole: 'admin', admission: A.paper, at })
  for (const { paper } of WHO.slice(1)) {
    await must(it, A, { type: 'node.admit', admission: paper, at })
  }
  return it
}

async function after(steps: Step[]): Promise<Order> {
  const it = await mesh()
  for (const { by, op } of steps) await it.apply(by.writer, op)
  return it
}

async function must(it: Order, by: Member, op: Op): Promise<void> {
  const refusal = await it.apply(by.writer, op)
  if (refusal !== null) throw new Error(`${op.type}: ${refusal}`)
}

const recordOf = async ({ view }: Order): Promise<NodeRecord> => {
  const record = (await view.state()).nodes.get(TRUCK.id)
  if (record === undefined) throw new Error('no truck')
  return record
}
const listed = async ({ view }: Order): Promise<Conflict[]> => (await conflictsOf(view)).conflicts
const ids = async (it: Order): Promise<string[]> => (await listed(it)).map(({ id }) => id).sort()

/** What a daemon appends for this, seeing what `view` shows. */
async function setting(it: Order, fields: Fields): Promise<Op> {
  const seen = await seenOfNode(it.view, await recordOf(it), fields)
  return { type: 'node.set', node: TRUCK.id, ...fields, ...seen, at }
}

async function sideOf(acts: { by: number; fields: Fields }[]): Promise<Step[]> {
  const it = await mesh()
  const steps: Step[] = []
  for (const { by, fields } of acts) {
    const step = { by: WHO[by] as Member, op: await setting(it, fields) }
    await must(it, step.by, step.op)
    steps.push(step)
  }
  return steps
}

function merged(sides: Step[][], picks: number[]): Step[] {
  const left = sides.map((side) => [...side])
  const steps: Step[] = []
  for (let i = 0; left.some((side) => side.length > 0); i++) {
    const open = left.filter((side) => side.length > 0)
    const next = open[(picks[i % picks.length] ?? 0) % open.length]?.shift()
    if (next !== undefined) steps.push(next)
  }
  return steps
}

const fields: fc.Arbitrary<Fields> = fc.oneof(
  fc.record({ labels: fc.constantFrom<Record<string, string>>({}, { zone: 'a' }, { rack: '7' }) }),
  fc.record({ role: fc.constantFrom('admin', 'operator', 'node') }),
  fc.record({ lost: fc.boolean(), name: fc.constantFrom('truck', 'van') }),
  fc.record({
    controller: fc.boolean(),
    role: fc.constantFrom('admin', 'node'),
    labels: fc.constantFrom<Record<string, string>>({ zone: 'b' })
  })
)
const actsBy = (...who: Member[]): fc.Arbitrary<{ by: number; fields: Fields }[]> =>
  fc.array(fc.record({ by: fc.constantFrom(...who.map((m) => WHO.indexOf(m))), fields }), {
    maxLength: 5
  })
const picks = fc.array(fc.nat(5), { minLength: 1, maxLength: 12 })

/** The last edit of each field on each side: those before it were seen. */
function lastEdits(
  side: Step[],
  start: Map<Member, number>
): Map<string, { op: string; hash: string }> {
  const lengths = new Map(start)
  const last = new Map<string, { op: string; hash: string }>()
  for (const { by, op } of side) {
    const length = (lengths.get(by) ?? 0) + 1
    lengths.set(by, length)
    for (const field of ['name', 'labels', 'role', 'controller', 'lost'] as const) {
      const value = (op as NodeSet)[field]
      if (value === undefined) continue
      const hash = contentHash({ [field]: value })
      last.set(field, { op: `${by.writer.toString('hex').slice(0, 8)}.${length}`, hash })
    }
  }
  return last
}

test('node conflicts - two sides, any order: each field by itself, listed under the same ids, and decided for good', async (t) => {
  let most = 0
  await fc.assert(
    fc.asyncProperty(actsBy(A, B), actsBy(C, D), picks, fc.boolean(), async (x, y, how, lost) => {
      const sides = [await sideOf(x), await sideOf(y)] as [Step[], Step[]]
      const start = new Map([[A, WHO.length]])
      const [one, other] = sides.map((side) => lastEdits(side, start)) as [
        ReturnType<typeof lastEdits>,
        ReturnType<typeof lastEdits>
      ]
      const expected = [...one].flatMap(([field, edit]) => {
        const rival = other.get(field)
        const differ = rival !== undefined && rival.hash !== edit.hash
        return differ ? [conflictId(edit.op, rival.op)] : []
      })
      most = Math.max(most, expected.length)
      for (const picked of [how, [0], [1]]) {
        const it = await after(merged(sides, picked))
        const found = (await ids(it)).join()
        if (found !== expected.sort().join()) throw new Error(`${picked.join()}: ${found}`)
      }
      const it = await after(merged(sides, how))
      for (let left = await listed(it); left.length > 0; left = await listed(it)) {
        const conflict = left[0] as Conflict
        const which = lost ? 'rival' : 'standing'
        const ops = await putBack(it.view, conflict, which, at)
        if (typeof ops === 'string') throw new Error(ops)
        for (const op of ops) await must(it, A, op)
        const record = await recordOf(it)
        for (const [field, value] of Object.entries(conflict[which].value as Fields)) {
          if (contentHash(record[field as NodeField]) !== contentHash(value)) {
            throw new Error(`${field} is not ${which}`)
          }
        }
        if ((await listed(it)).length >= left.length) throw new Error('it does not end')
      }
    }),
    RUNS
  )
  t.ok(most >= 3, `up to ${most} at once`)
})

test('node conflicts - labels on two sides: one stands, the other can be put back; other fields are left alone', async (t) => {
  const it = await mesh()
  const far = await setting(it, { labels: { zone: 'harbour' } })
  await must(it, B, await setting(it, { labels: { zone: 'yard' } }))
  await must(it, B, await setting(it, { controller: false }))
  await must(it, C, far)
  await must(it, C, { type: 'node.set', node: TRUCK.id, name: 'lorry', over: null, at })
  const record = await recordOf(it)
  t.alike([record.labels, record.controller, record.name], [{ zone: 'harbour' }, false, 'lorry'])
  const [conflict, ...more] = (await listed(it)) as [Conflict]
  t.is(more.length, 0)
  t.alike(
    [conflict.noun, conflict.name, conflict.standing.by, conflict.rival.by, conflict.rival.value],
    ['node', `${TRUCK.id}/labels`, C.id, B.id, { labels: { zone: 'yard' } }]
  )
  for (const op of (await putBack(it.view, conflict, 'rival', at)) as Op[]) await must(it, D, op)
  t.alike((await recordOf(it)).labels, { zone: 'yard' })
  t.is((await recordOf(it)).name, 'lorry')
  t.alike(await listed(it), [])
  const revisions = await historyOf(it.view, nodeThing(TRUCK.id, 'labels'))
  t.alike(
    revisions.map(({ by, keeps }) => [by, keeps !== null]),
    [
      [B.id, false],
      [C.id, false],
      [D.id, true]
    ]
  )
})

test('node conflicts - a node that is back says so against anybody: no conflict, whoever comes first', async (t) => {
  const lost = (value: boolean): Op => ({
    type: 'node.set',
    node: TRUCK.id,
    lost: value,
    over: null,
    at
  })
  for (const steps of [
    [B, TRUCK],
    [B, C, TRUCK],
    [TRUCK, B, TRUCK]
  ]) {
    const it = await mesh()
    for (const by of steps) await must(it, by, lost(by !== TRUCK))
    t.is((await recordOf(it)).lost, false)
    t.alike(await listed(it), [])
    t.alike(await it.view.list('~aside/node/'), [])
  }
  const it = await mesh()
  await must(it, B, lost(true))
  await must(it, C, lost(false))
  t.is((await listed(it)).length, 1, 'two operators who disagree')
  await must(it, TRUCK, lost(false))
  t.alike(await listed(it), [], 'it knows best')
  t.alike(
    (await historyOf(it.view, nodeThing(TRUCK.id, 'lost'))).map(({ by }) => by),
    [B.id, C.id, TRUCK.id]
  )
})

test('node conflicts - a removal leaves nothing to decide, in any order, and its history stays', async (t) => {
  const seenBefore = await mesh()
  const labels = (by: Member, zone: string): Promise<Step> =>
    setting(seenBefore, { labels: { zone } }).then((op) => ({ by, op }))
  const proof = writeProof(B.identity, A.paper.mesh, 'removal', TRUCK.id)
  const rm: Step = { by: B, op: { type: 'node.rm', node: TRUCK.id, proof, over: null, at } }
  const one = await labels(C, 'a')
  const other = await labels(D, 'b')
  for (const steps of [
    [one, other, rm],
    [one, rm, other],
    [rm, one, other]
  ]) {
    const it = await after(steps)
    t.is((await recordOf(it)).state, 'removed')
    t.alike(await listed(it), [])
    t.alike(await it.view.list('~aside/node/'), [])
    t.alike(await it.view.list('~ring-rivals/'), [])
    const things = await thingsUnder(it.view, nodeThings(TRUCK.id).noun, nodeThings(TRUCK.id).name)
    t.ok(things.some(({ name }) => name === `${TRUCK.id}/state`))
    const [last] = (await historyOf(it.view, nodeThing(TRUCK.id, 'state'))).slice(-1)
    t.alike([last?.by, last?.value], [B.id, null])
  }
  const it = await after([rm])
  t.is(await it.apply(C.writer, one.op), 'the node was removed')
})
