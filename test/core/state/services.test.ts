import test from 'brittle'
import fc from 'fast-check'
import { conflictsOf, seen } from '../../../core/state/conflicts.ts'
import { historyOf } from '../../../core/state/history.ts'
import type { Op } from '../../../core/state/index.ts'
import { putBack } from '../../../core/state/put-back.ts'
import {
  isGateway,
  isServiceSpec,
  serviceThing,
  type ServiceSpec
} from '../../../core/state/services.ts'
import { labelsFulfil, readWish } from '../../../core/state/wishes.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'
import { node } from '../../sim/worlds.ts'

const [A, B] = members('secret', 'pi1', 'pi2') as [Member, Member]
const at = 1
const PLC = serviceThing({ application: 'plant', name: 'plc' })

const spec = (over: Partial<ServiceSpec> = {}): ServiceSpec => ({
  host: '192.168.0.7',
  ports: [{ port: 502, protocol: 'tcp' }],
  node: 'plant-3',
  constraints: [],
  allow: [],
  ...over
})

async function mesh(format = 2): Promise<Order> {
  const it = order(A.writer)
  const init: Op = { type: 'mesh.init', defaultRole: 'admin', admission: A.paper, at }
  await it.apply(A.writer, format === 2 ? { ...init, format } : init)
  await it.apply(A.writer, { type: 'node.admit', admission: B.paper, at })
  return it
}

async function set(it: Order, over: Partial<ServiceSpec> = {}): Promise<Op> {
  const record = (await it.view.state()).services.get('plant/plc')
  const has = await seen(it.view, PLC, record)
  const named = { application: 'plant', name: 'plc' }
  return { type: 'service.set', ...named, spec: spec(over), ...has, at }
}

test('services - one is set, changed and removed, and all of it is remembered', async (t) => {
  const it = await mesh()
  t.is(await it.apply(A.writer, await set(it)), null)
  t.is(await it.apply(B.writer, await set(it, { host: 'plc.local' })), null)
  const record = (await it.view.state()).services.get('plant/plc')
  t.is(record?.spec.host, 'plc.local')
  t.is(record?.by, B.id)
  const rm: Op = {
    type: 'service.rm',
    application: 'plant',
    name: 'plc',
    ...(await seen(it.view, PLC, record)),
    at
  }
  t.is(await it.apply(A.writer, rm), null)
  t.is((await it.view.state()).services.size, 0)
  t.is((await historyOf(it.view, PLC)).length, 3)
  t.alike((await conflictsOf(it.view)).conflicts, [])
  t.ok(await it.apply(A.writer, { ...rm, name: 'other' }), 'none of that name')
})

test('services - an older format knows none', async (t) => {
  const it = await mesh(1)
  t.ok(await it.apply(A.writer, await set(it)))
  t.is((await it.view.state()).services.size, 0)
})

test('services - edits made apart are a conflict, and the one that lost can be put back', async (t) => {
  const it = await mesh()
  const [mine, yours] = [await set(it, { host: '10.0.0.1' }), await set(it, { host: '10.0.0.2' })]
  await it.apply(A.writer, mine)
  await it.apply(B.writer, yours)
  const { conflicts } = await conflictsOf(it.view)
  t.is(conflicts.length, 1)
  const ops = conflicts[0] === undefined ? [] : await putBack(it.view, conflicts[0], 'rival', at)
  t.ok(Array.isArray(ops))
  for (const op of ops) await it.apply(A.writer, op as Op)
  t.is((await it.view.state()).services.get('plant/plc')?.spec.host, '10.0.0.1')
  t.alike((await conflictsOf(it.view)).conflicts, [])
})

test('services - what has not the shape of one is none', (t) => {
  t.ok(isServiceSpec(spec({ host: 'nas.example.org' })))
  for (const bad of [
    { host: '' },
    { host: 'a b' },
    { host: '-a' },
    { host: '10.0.0.1:502' },
    { host: 'http://10.0.0.1' },
    { host: 'a'.repeat(254) },
    { ports: [{ port: 0, protocol: 'tcp' as const }] }
  ]) {
    t.absent(isServiceSpec(spec(bad)), JSON.stringify(bad))
  }
})

test('services - who dials it: members of that name and with those labels', (t) => {
  const plant = node('p', { displayName: 'plant-3', labels: { site: 'plant' } })
  t.ok(isGateway(spec(), plant))
  t.ok(isGateway(spec({ node: null, constraints: ['site=plant'] }), plant))
  t.absent(isGateway(spec({ node: 'plant-4' }), plant))
  t.absent(isGateway(spec({ constraints: ['site=office'] }), plant))
  t.absent(isGateway(spec({ constraints: ['what is this'] }), plant), 'nobody knows what is meant')
  t.absent(isGateway(spec(), { ...plant, state: 'removed' }))
  t.absent(isGateway(spec(), { ...plant, state: 'pending' }))
})

test('wishes - of labels: a wish and its opposite are never both fulfilled', (t) => {
  const value = fc.constantFrom('a', 'b', 'c')
  const labels = fc.dictionary(fc.constantFrom('zone', 'site'), value, { maxKeys: 2 })
  fc.assert(
    fc.property(labels, fc.constantFrom('zone', 'toString'), value, value, (has, key, x, y) => {
      const pairs = [
        [`${key}=${x}`, `${key}!=${x}`],
        [`${key} in (${x}, ${y})`, `${key} not in (${x}, ${y})`],
        [key, `!${key}`]
      ] as const
      return pairs.every((pair) => {
        const [one, other] = pair.map((text) => {
          const wish = readWish(text)
          return wish !== null && labelsFulfil(wish, has)
        })
        return one !== other
      })
    })
  )
  const wish = readWish('zone in (a, b)')
  t.ok(wish !== null && labelsFulfil(wish, { zone: 'b' }))
  t.absent(wish !== null && labelsFulfil(wish, { zone: 'c' }))
})
