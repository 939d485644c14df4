import test from 'brittle'
import type { Op } from '../../../core/state/index.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import { keys } from '../../../core/state/keys.ts'
import type { State } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const at = 1
const [A, B] = members('secret', 'pi1', 'pi2') as [Member, Member]
const slot0 = { application: 'app', microservice: 'web', slot: 0 }
const drain = { mode: 'draining', reason: 'roof', deadlineMs: 1_000 } as const

test('moves - a wish stays until the slot is there, or goes', async (t) => {
  const it = await mesh(2)
  const wish = (node: string | null): Promise<string | null> =>
    it.apply({ type: 'slot.move', ...slot0, node, at })
  t.is(
    await it.apply({ type: 'slot.move', ...slot0, slot: 5, node: B.id, at }),
    'there is no such replica'
  )
  t.is(await wish('y'.repeat(52)), 'there is no such node')
  t.is(await wish(B.id), null)
  t.is((await it.state()).moves.get('app/web/0')?.node, B.id)
  await it.place(A.id)
  t.ok((await it.state()).moves.has('app/web/0'), 'not for another place')
  await it.place(B.id)
  t.absent((await it.state()).moves.has('app/web/0'))
  t.is(await wish(B.id), null)
  t.absent((await it.state()).moves.has('app/web/0'), 'it is there already')
  await wish(A.id)
  await wish(null)
  t.absent((await it.state()).moves.has('app/web/0'), 'taken back')
  await wish(A.id)
  await it.apply({ type: 'placement.rm', ...slot0, term: 1, at })
  t.absent((await it.state()).moves.has('app/web/0'))
})

test('moves - of slots nobody asks for any more are gone', async (t) => {
  const it = await mesh(2)
  await it.apply({ type: 'slot.move', ...slot0, node: B.id, at })
  const spec = specWith({ replicas: 0 })
  await it.apply({
    type: 'microservice.set',
    application: 'app',
    name: 'web',
    spec,
    over: null,
    at
  })
  t.is((await it.state()).moves.size, 0)
})

test('moves - why a slot is where it is stays with it, from format 2 on', async (t) => {
  for (const format of [1, 2]) {
    const it = await mesh(format)
    await it.place(B.id, { moved: { from: A.id, why: 'silent' }, reason: 'pi1 is silent' })
    const placed = (await it.state()).placements.get('app/web/0')
    t.is(placed?.reason, format === 1 ? undefined : 'pi1 is silent')
    t.is(placed?.moved?.why, format === 1 ? undefined : 'silent')
  }
})

test('moves - where a slot with a volume was last is known for as long as that may be there', async (t) => {
  const volumes = [{ source: 'data', container: '/data', readOnly: false }]
  const home = async (it: Awaited<ReturnType<typeof mesh>>): Promise<string | undefined> =>
    (await it.state()).homes.get('app/web/0')?.node
  t.is(await home(await mesh(2)), undefined, 'it has none')
  t.is(await home(await mesh(1, { volumes })), undefined, 'format 1 knows of none')

  const it = await mesh(2, { volumes })
  t.is(await home(it), A.id)
  await it.place(B.id)
  t.is(await home(it), B.id)
  const wish = (): Promise<string | null> =>
    it.apply({ type: 'slot.move', ...slot0, node: A.id, at })
  await it.apply({ type: 'placement.rm', ...slot0, term: 1, at })
  t.is(await home(it), B.id, 'it has no place')
  t.is(await wish(), null)
  t.is((await it.state()).moves.get('app/web/0')?.node, A.id, 'and can be moved all the same')
  const scaled = specWith({ replicas: 0, volumes })
  const web = { application: 'app', name: 'web' }
  await it.apply({ type: 'microservice.set', ...web, spec: scaled, over: null, at })
  t.is((await it.state()).moves.size, 0)
  t.is(await wish(), 'there is no such replica')
  await it.apply({ type: 'microservice.rm', ...web, over: null, at })
  t.is(await home(it), B.id, 'nobody asks for it')
  t.is(await wish(), 'there is no such replica')
})

test('availability - an operator’s word, from format 2 on; in format 1 it is none', async (t) => {
  for (const format of [1, 2]) {
    const it = await mesh(format)
    const op: Op = { type: 'node.set', node: B.id, availability: drain, over: null, at }
    t.is(await it.apply(op), null)
    const { availability, edits } = (await it.state()).nodes.get(B.id) ?? {}
    t.alike(availability, format === 1 ? undefined : drain)
    t.is(edits?.availability !== undefined, format === 2)
    const back: Op = {
      type: 'node.set',
      node: B.id,
      availability: drain,
      lost: false,
      over: null,
      at
    }
    t.is((await it.apply(back, B)) === null, format === 1, 'that a node is back is all it may say')
  }
})

async function mesh(format: number, over: Partial<MicroserviceSpec> = {}) {
  const it = order(A.writer)
  const apply = (op: Op, by = A): Promise<string | null> => it.apply(by.writer, op)
  const must = async (op: Op): Promise<void> => {
    const why = await apply(op)
    if (why !== null) throw new Error(why)
  }
  const place = async (node: string, over = {}): Promise<void> => {
    const { revision } = (await it.view.state()).microservices.get('app/web') ?? { revision: '' }
    await must({ type: 'placement.set', ...slot0, node, revision, ...over, term: 1, at })
  }
  await must({ type: 'mesh.init', defaultRole: 'node', admission: A.paper, format, at })
  await must({ type: 'node.admit', admission: B.paper, at })
  await must({ type: 'application.set', name: 'app', over: null, at })
  const spec = specWith({ replicas: 2, ...over })
  await must({ type: 'microservice.set', application: 'app', name: 'web', spec, over: null, at })
  await it.view.put(keys.claim(A.id), 1)
  await place(A.id)
  return { apply, place, state: (): Promise<State> => it.view.state() }
}
