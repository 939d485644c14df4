import test from 'brittle'
import { historyOf } from '../../../core/state/history.ts'
import { conflictsOf } from '../../../core/state/conflicts.ts'
import type { Op } from '../../../core/state/index.ts'
import { keys } from '../../../core/state/keys.ts'
import { microserviceThing, type MicroserviceSpec } from '../../../core/state/microservices.ts'
import { recordAt, rolloutOf } from '../../../core/state/rollouts.ts'
import type { MicroserviceRecord, RolloutRecord, State } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const at = 1
const [A, B] = members('secret', 'pi1', 'pi2') as [Member, Member]
const web = { application: 'app', microservice: 'web' }

test('rollouts - another content begins one, other wishes do not', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1' })
  t.is(await it.rollout(), null, 'the first of all is none')
  await it.set({ image: 'x:1', replicas: 3 })
  t.is(await it.rollout(), null)
  const before = await it.record()
  await it.set({ image: 'x:2', replicas: 3 })
  const rollout = await it.rollout()
  t.is(rollout?.state, 'running')
  t.is(rollout?.from?.revision, before.revision)
  t.is(rollout?.of, (await it.record()).op)
  const state = await it.view.state()
  t.is(recordAt(state, await it.record(), before.revision)?.spec.image, 'x:1')
  t.is(recordAt(state, await it.record(), 'f'.repeat(16)), null, 'nobody knows what that was')
})

test('rollouts - in format 1 there are none', async (t) => {
  const it = await mesh(1)
  await it.set({ image: 'x:1' })
  await it.set({ image: 'x:2' })
  t.is(await it.rollout(), null)
  t.ok(await it.refusal(end(await it.record(), 'done')), 'nor ends of one')
})

test('rollouts - one that is overtaken goes back to what ran before both', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1' })
  const good = await it.record()
  await it.set({ image: 'x:2' })
  await it.set({ image: 'x:3' })
  t.is((await it.rollout())?.from?.revision, good.revision)
  await it.set({ image: 'x:1' })
  const back = await it.rollout()
  t.is(back?.from, null, 'and back to that itself has nothing behind it')
  t.is(await it.refusal(end(await it.record(), 'rolledBack')), 'there is nothing to go back to')
})

test('rollouts - what came to its end is what the next one goes back to', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1' })
  await it.set({ image: 'x:2' })
  const second = await it.record()
  t.is(await it.refusal(end(second, 'done')), null)
  t.is((await it.rollout())?.state, 'done')
  t.is((await it.rollout())?.from, null)
  t.is(await it.refusal(end(second, 'rolledBack')), 'no rollout of it is under way')
  await it.set({ image: 'x:3' })
  t.is((await it.rollout())?.from?.revision, second.revision)
})

test('rollouts - rolled back, the earlier value stands again, as an edit of the leader', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1', replicas: 2 })
  const good = await it.record()
  await it.set({ image: 'x:2', replicas: 2 })
  const bad = await it.record()
  t.is(await it.refusal(end(bad, 'rolledBack', 'web/0 does not run'), B), null)
  const now = await it.record()
  t.is(now.revision, good.revision)
  t.alike(now.spec, good.spec)
  t.is(now.by, B.id)
  const rollout = await it.rollout()
  t.alike(
    [rollout?.state, rollout?.reason, rollout?.revision],
    ['rolledBack', 'web/0 does not run', bad.revision]
  )
  t.is(rolloutOf(await it.view.state(), now), null)
  const last = (await historyOf(it.view, microserviceThing(now))).at(-1)
  t.is(last?.keeps, good.op)
  t.alike((await conflictsOf(it.view)).conflicts, [], 'nobody has to decide')
  await it.set({ image: 'x:2', replicas: 2 })
  t.is((await it.rollout())?.state, 'running', 'the same can be tried again')
})

test('rollouts - other wishes while it is under way stay, whichever content wins', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1', replicas: 2 })
  await it.set({ image: 'x:2', replicas: 2 })
  await it.set({ image: 'x:2', replicas: 5, update: { parallelism: 2 } })
  t.is((await it.rollout())?.state, 'running')
  t.is(await it.refusal(end(await it.record(), 'rolledBack')), null)
  const { spec } = await it.record()
  t.alike([spec.image, spec.replicas, spec.update], ['x:1', 5, { parallelism: 2 }])
})

test('rollouts - paused, resumed, promoted; and only while it is that one', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1' })
  await it.set({ image: 'x:2' })
  const { op: of } = await it.record()
  const steer = (fields: object): Promise<string | null> =>
    it.refusal({ type: 'rollout.set', ...web, of, ...fields, at })
  t.is(await it.refusal(end(await it.record(), 'paused', 'web/1 failed')), null)
  t.alike([(await it.rollout())?.state, (await it.rollout())?.reason], ['paused', 'web/1 failed'])
  t.is(await it.refusal(end(await it.record(), 'paused', 'again')), 'it is paused already')
  t.is(await steer({ paused: false }), null)
  t.alike([(await it.rollout())?.state, (await it.rollout())?.reason], ['running', null])
  t.is(await steer({ promoted: true }), null)
  t.is((await it.rollout())?.promoted, true)
  await it.set({ image: 'x:3' })
  t.is(await steer({ paused: true }), 'another change is rolled out by now')
})

test('rollouts - go with their microservice', async (t) => {
  const it = await mesh()
  await it.set({ image: 'x:1' })
  await it.set({ image: 'x:2' })
  const { op: over } = await it.record()
  const rm: Op = { type: 'microservice.rm', application: 'app', name: 'web', over, at }
  t.is(await it.refusal(rm), null)
  t.is(await it.rollout(), null)
})

test('rollouts - a restart is another revision from format 2 on', async (t) => {
  for (const [format, other] of [
    [1, false],
    [2, true]
  ] as const) {
    const it = await mesh(format)
    await it.set({ image: 'x:1' })
    const { revision } = await it.record()
    await it.set({ image: 'x:1', generation: 1 })
    t.is((await it.record()).revision !== revision, other, `format ${format}`)
  }
})

const end = (
  { op: of }: MicroserviceRecord,
  outcome: 'done' | 'rolledBack' | 'paused',
  reason = ''
): Op => ({ type: 'rollout.end', ...web, of, outcome, reason, log: [], term: 1, at })

async function mesh(format = 2) {
  const it = order(A.writer)
  const refusal = (op: Op, by = A): Promise<string | null> => it.apply(by.writer, op)
  const must = async (op: Op): Promise<void> => {
    const why = await refusal(op)
    if (why !== null) throw new Error(why)
  }
  await must({ type: 'mesh.init', defaultRole: 'admin', admission: A.paper, format, at })
  await must({ type: 'node.admit', admission: B.paper, at })
  await must({ type: 'application.set', name: 'app', over: null, at })
  for (const { id } of [A, B]) await it.view.put(keys.claim(id), 1)
  const state = (): Promise<State> => it.view.state()
  const record = async (): Promise<MicroserviceRecord> => {
    const found = (await state()).microservices.get('app/web')
    if (found === undefined) throw new Error('it is not there')
    return found
  }
  return {
    view: it.view,
    refusal,
    record,
    rollout: async (): Promise<RolloutRecord | null> =>
      (await state()).rollouts.get('app/web') ?? null,
    set: async (fields: Partial<MicroserviceSpec>): Promise<void> => {
      const over = (await state()).microservices.get('app/web')?.op ?? null
      await must({
        type: 'microservice.set',
        application: 'app',
        name: 'web',
        spec: specWith(fields),
        over,
        at
      })
    }
  }
}
