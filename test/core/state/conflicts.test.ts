import test from 'brittle'
import fc from 'fast-check'
import { contentHash } from '../../../core/crypto.ts'
import { applicationRev, applicationThing, seenOfAll } from '../../../core/state/applications.ts'
import {
  conflictId,
  conflictsOf,
  MAX_REMOVALS,
  MAX_RIVALS,
  MAX_RIVALS_OF_THING,
  seen,
  type Conflict
} from '../../../core/state/conflicts.ts'
import { historyOf, MAX_VALUE_BYTES } from '../../../core/state/history.ts'
import type { Op } from '../../../core/state/index.ts'
import { microserviceThing, type MicroserviceSpec } from '../../../core/state/microservices.ts'
import { putBack } from '../../../core/state/put-back.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const RUNS = { numRuns: 150 }
const at = 1
const WHO = members('secret', 'pi1', 'pi2', 'pi3', 'pi4') as [Member, Member, Member, Member]
const [A, B, C, D] = WHO

const spec = (fields: Partial<MicroserviceSpec> = {}): MicroserviceSpec =>
  specWith({ image: 'local/x:1', command: [], ...fields })

/** What one member did, as its oplog has it: ops that were appended together stay together. */
interface Step {
  by: Member
  ops: Op[]
}

/** A view with the steps applied; what is refused is no error of the test. */
async function after(steps: Step[]): Promise<Order> {
  const it = order(A.writer)
  for (const step of steps) await perform(it, step)
  return it
}

async function perform(it: Order, { by, ops }: Step): Promise<void> {
  for (const op of ops) await it.apply(by.writer, op)
}

const base = (): Step[] => [
  { by: A, ops: [{ type: 'mesh.init', defaultRole: 'admin', admission: A.paper, at }] },
  { by: A, ops: WHO.slice(1).map(({ paper }) => ({ type: 'node.admit', admission: paper, at })) },
  {
    by: A,
    ops: [
      { type: 'application.set', name: 'app', over: null, at },
      ...['web', 'db'].map((name): Op => {
        return { type: 'microservice.set', application: 'app', name, spec: spec(), over: null, at }
      })
    ]
  }
]

type Act =
  | { do: 'set'; name: string; replicas: number }
  | { do: 'rm'; name: string }
  | { do: 'rm-app' }
  | { do: 'deploy'; replicas: number }

/** What a daemon appends for an order, seeing what `view` shows; null where it would refuse. */
async function opsOf({ view }: Order, act: Act): Promise<Op[] | null> {
  const state = await view.state()
  const application = 'app'
  const record = state.applications.get(application)
  const appSeen = await seen(view, applicationThing({ name: application }), record)
  const set = async (name: string, replicas: number): Promise<Op> => {
    const old = state.microservices.get(`app/${name}`)
    const has = await seen(view, microserviceThing({ application, name }), old)
    return { type: 'microservice.set', application, name, spec: spec({ replicas }), ...has, at }
  }
  const deploy: Op = { type: 'application.set', name: application, ...appSeen, at }
  if (act.do === 'deploy') {
    return [deploy, await set('web', act.replicas), await set('db', act.replicas)]
  }
  if (act.do === 'rm-app') {
    if (record === undefined) return null
    const all = await seenOfAll(view, application, record)
    return [{ type: 'application.rm', name: application, ...all, at }]
  }
  const { name } = act
  const old = state.microservices.get(`app/${name}`)
  if (old === undefined) return null
  if (act.do === 'set') return [await set(name, act.replicas)]
  const has = await seen(view, microserviceThing({ application, name }), old)
  return [{ type: 'microservice.rm', application, name, ...has, at }]
}

async function sideOf(acts: { by: number; act: Act }[]): Promise<Step[]> {
  const steps: Step[] = []
  const it = await after(base())
  for (const { by, act } of acts) {
    const ops = await opsOf(it, act)
    if (ops === null) continue
    const step = { by: WHO[by] as Member, ops }
    steps.push(step)
    await perform(it, step)
  }
  return steps
}

/** One order of all sides' steps: each side's own stay in their order. */
function merged(sides: Step[][], picks: number[]): Step[] {
  const left = sides.map((side) => [...side])
  const steps = base()
  for (let i = 0; left.some((side) => side.length > 0); i++) {
    const open = left.filter((side) => side.length > 0)
    const next = open[(picks[i % picks.length] ?? 0) % open.length]?.shift()
    if (next !== undefined) steps.push(next)
  }
  return steps
}

interface Edit {
  op: string
  by: Member
  thing: string
  hash: string
  knows: Set<string>
}

/** Edits that no later one has seen, by thing, told without any order between the sides. */
function unseenEdits(sides: Step[][]): Map<string, Edit[]> {
  const lengths = new Map<Member, number>()
  const edits: Edit[] = []
  for (const { by, ops } of [...base(), ...sides.flat()]) {
    for (const op of ops) {
      const length = (lengths.get(by) ?? 0) + 1
      lengths.set(by, length)
      const id = `${by.writer.toString('hex').slice(0, 8)}.${length}`
      const edit = (thing: string, value: unknown, over: string | null, beside: string[] = []) =>
        edits.push({
          op: id,
          by,
          thing,
          hash: contentHash(value),
          knows: new Set([over ?? '', ...beside])
        })
      if (op.type === 'application.set') edit('app', {}, op.over, op.beside)
      if (op.type === 'application.rm') {
        edit('app', null, op.over, op.beside)
        for (const [name, [over = null, ...beside]] of Object.entries(op.under)) {
          edit(`app/${name}`, null, over, beside)
        }
      }
      if (op.type === 'microservice.set') edit(`app/${op.name}`, op.spec, op.over, op.beside)
      if (op.type === 'microservice.rm') edit(`app/${op.name}`, null, op.over, op.beside)
    }
  }
  const left = new Map<string, Edit[]>()
  for (const [i, e] of edits.entries()) {
    const isSeen = edits.some(
      (other, j) =>
        other.thing === e.thing && (other.knows.has(e.op) || (j > i && other.by === e.by))
    )
    if (!isSeen) left.set(e.thing, [...(left.get(e.thing) ?? []), e])
  }
  return left
}

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('set' as const),
      name: fc.constantFrom('web', 'db'),
      replicas: fc.integer({ min: 1, max: 3 })
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rm' as const), name: fc.constantFrom('web', 'db') })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rm-app' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('deploy' as const),
      replicas: fc.integer({ min: 1, max: 3 })
    })
  }
)
/** By the place of their author in WHO. */
const actsBy = (...who: Member[]): fc.Arbitrary<{ by: number; act: Act }[]> =>
  fc.array(fc.record({ by: fc.constantFrom(...who.map((m) => WHO.indexOf(m))), act }), {
    maxLength: 5
  })
const picks = fc.array(fc.nat(5), { minLength: 1, maxLength: 12 })

const listed = async ({ view }: Order): Promise<Conflict[]> => (await conflictsOf(view)).conflicts
const ids = async (it: Order): Promise<string[]> => (await listed(it)).map(({ id }) => id).sort()

test('conflicts - two sides, any order: what is listed is what nobody has seen, under the same ids', async (t) => {
  let most = 0
  await fc.assert(
    fc.asyncProperty(actsBy(A, B), actsBy(C, D), picks, picks, async (one, two, x, y) => {
      const sides = [await sideOf(one), await sideOf(two)]
      const expected: string[] = []
      for (const [, edits] of unseenEdits(sides)) {
        const [first, second, ...more] = edits
        if (more.length > 0) throw new Error('two sides leave two edits')
        if (first && second && first.hash !== second.hash) {
          expected.push(conflictId(first.op, second.op))
        }
      }
      most = Math.max(most, expected.length)
      for (const how of [x, y, [0], [1]]) {
        const found = await ids(await after(merged(sides, how)))
        if (found.join() !== expected.sort().join()) {
          throw new Error(`${how.join()}: found ${found.join()}, expected ${expected.join()}`)
        }
      }
    }),
    RUNS
  )
  t.ok(most >= 3, `up to ${most} at once`)
})

test('conflicts - many sides: every edit stands, is listed, or says the same as what stands', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      actsBy(A),
      actsBy(B),
      actsBy(C),
      actsBy(D),
      picks,
      async (one, two, three, four, how) => {
        const sides = await Promise.all([one, two, three, four].map(sideOf))
        const it = await after(merged(sides, how))
        const conflicts = await listed(it)
        const state = await it.view.state()
        for (const [thing, edits] of unseenEdits(sides)) {
          const record = state.microservices.get(thing) ?? state.applications.get(thing)
          const value = record === undefined ? null : 'spec' in record ? record.spec : {}
          for (const { op, hash } of edits) {
            const isListed = conflicts.some((c) => c.name === thing && c.rival.op === op)
            if (hash !== contentHash(value) && !isListed) throw new Error(`${thing}: ${op} is gone`)
          }
        }
      }
    ),
    RUNS
  )
  t.pass()
})

test('conflicts - deciding about each one ends them all, either way', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      actsBy(A, B),
      actsBy(C),
      actsBy(D),
      picks,
      fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
      async (one, two, three, how, choices) => {
        const it = await after(merged(await Promise.all([one, two, three].map(sideOf)), how))
        for (let round = 0; ; round++) {
          const [conflict] = await listed(it)
          if (conflict === undefined) break
          if (round > 20) throw new Error('they do not end')
          const which = choices[round % choices.length] ? 'rival' : 'standing'
          const ops = await putBack(it.view, conflict, which, at)
          if (typeof ops === 'string') throw new Error(ops)
          for (const op of ops) {
            const refusal = await it.apply(B.writer, op)
            if (refusal !== null) throw new Error(refusal)
          }
          const { microservices, applications } = await it.view.state()
          const { noun, name } = conflict
          const record = noun === 'application' ? applications.get(name) : microservices.get(name)
          const wanted = conflict[which].value
          const got = record === undefined ? null : 'spec' in record ? record.spec : {}
          if (contentHash(got) !== contentHash(wanted)) throw new Error(`${name} is not ${which}`)
        }
      }
    ),
    RUNS
  )
  t.pass()
})

const set = (name: string, replicas: number, over: string | null, more: object = {}): Op => ({
  type: 'microservice.set',
  application: 'app',
  name,
  spec: spec({ replicas }),
  over,
  at,
  ...more
})
const opOf = async ({ view }: Order, name = 'web'): Promise<string> =>
  (await view.state()).microservices.get(`app/${name}`)?.op ?? ''

test('conflicts - an edit that was seen, of the same author, or of the same content is none', async (t) => {
  const it = await after(base())
  const first = await opOf(it)
  t.is(await it.apply(B.writer, set('web', 2, first)), null)
  t.is(await it.apply(B.writer, set('web', 3, first)), null, 'its own ops are known to an author')
  t.alike(await listed(it), [])
  t.is(await it.apply(C.writer, set('web', 3, first)), null, 'the same, without having seen it')
  t.alike(await listed(it), [])
  t.is(await it.apply(D.writer, set('web', 4, await opOf(it))), null)
  const [only, ...more] = await listed(it)
  t.is(more.length, 0, 'who saw one of two that agree has not seen the other')
  t.is(only?.rival.by, B.id)
  t.is((only?.rival.value as MicroserviceSpec).replicas, 3)
  const { over, beside } = await seen(
    it.view,
    microserviceThing({ application: 'app', name: 'web' }),
    { op: await opOf(it) }
  )
  t.is(await it.apply(A.writer, set('web', 5, over, { beside })), null, 'in sight of both')
  t.alike(await listed(it), [])
})

test('conflicts - the same files are the same, wherever a side keeps them', async (t) => {
  const it = await after(base())
  const over = await opOf(it)
  const at = (core: string): Partial<MicroserviceSpec> => ({
    files: {
      digest: 'd'.repeat(64),
      bytes: 1,
      core: core.repeat(64),
      blockOffset: 0,
      blockLength: 1,
      byteOffset: 0
    }
  })
  t.is(await it.apply(B.writer, { ...set('web', 1, over), spec: spec(at('a')) } as Op), null)
  t.is(await it.apply(C.writer, { ...set('web', 1, over), spec: spec(at('b')) } as Op), null)
  t.alike(await listed(it), [])
})

test('conflicts - an edit of what a removal of the application took is kept, and can be put back', async (t) => {
  const it = await after(base())
  const over = await opOf(it)
  const state = await it.view.state()
  const all = await seenOfAll(it.view, 'app', state.applications.get('app'))
  t.is(await it.apply(B.writer, { type: 'application.rm', name: 'app', ...all, at }), null)
  t.is(await it.apply(C.writer, set('web', 7, over)), null)
  t.is((await it.view.state()).microservices.size, 0, 'the removal stands')
  const [conflict] = await listed(it)
  t.alike(
    [conflict?.name, conflict?.standing.by, conflict?.standing.value, conflict?.rival.by],
    ['app/web', B.id, null, C.id]
  )
  t.ok(/no such application/.test(String(await it.apply(B.writer, set('web', 8, over)))))
  const ops = await putBack(it.view, conflict as Conflict, 'rival', at)
  for (const op of ops as Op[]) t.is(await it.apply(A.writer, op), null, op.type)
  t.is((await it.view.state()).microservices.get('app/web')?.spec.replicas, 7)
  t.alike(await listed(it), [])
  const revisions = await historyOf(it.view, microserviceThing({ application: 'app', name: 'web' }))
  t.alike(
    revisions.map(({ n, by, keeps }) => [n, by, keeps !== null]),
    [
      [1, A.id, false],
      [2, B.id, false],
      [3, A.id, true]
    ]
  )
})

test('conflicts - a deploy for one state of an application is void in another, whole, and listed', async (t) => {
  const it = await after(base())
  const rev = async (): Promise<string> => {
    const { applications, microservices } = await it.view.state()
    const app = applications.get('app') as { op: string }
    return applicationRev(app, [...microservices.values()])
  }
  const deploy = async (ifRev: string, replicas: number, name: string): Promise<unknown[]> => {
    const ops: Op[] = [
      { type: 'application.set', name: 'app', over: null, ifRev, at },
      set('db', replicas, await opOf(it, 'db'), { after: 1 }),
      set(name, replicas, null, { after: 2 })
    ]
    const verdicts = []
    for (const op of ops) verdicts.push(await it.apply(B.writer, op))
    return verdicts
  }
  const before = await rev()
  t.alike(await deploy(before, 2, 'new'), [null, null, null])
  t.not(await rev(), before, 'every change makes it another')
  t.is(await it.apply(C.writer, set('web', 3, await opOf(it))), null)
  const kept = await rev()
  t.alike(await deploy(before, 4, 'newer'), [
    null,
    null,
    'the application is not the one it was meant for'
  ])
  t.is(await rev(), kept, 'nothing of it stands')
  t.alike(
    (await listed(it)).map(({ name, rival }) => [name, rival.by]),
    [
      ['app', B.id],
      ['app/db', B.id]
    ]
  )
})

test('conflicts - records are bounded: of a thing, of the mesh, and removals that are known', async (t) => {
  const it = await after(base())
  const first = await opOf(it)
  const crowd = members('secret', 'pi1', 'pi2', 'pi3', 'pi4', ...names('more', 12))
  for (const { paper } of crowd.slice(4)) {
    await it.apply(A.writer, { type: 'node.admit', admission: paper, at })
  }
  for (const [i, { writer }] of crowd.slice(4).entries()) {
    await it.apply(writer, set('web', i + 2, first))
  }
  t.is((await listed(it)).length, MAX_RIVALS_OF_THING)
  t.is((await conflictsOf(it.view)).dropped, 12 - 1 - MAX_RIVALS_OF_THING)

  const many = names('m', MAX_RIVALS + 20)
  for (const name of many) {
    await it.apply(A.writer, set(name, 1, null))
    await it.apply(B.writer, set(name, 2, null))
  }
  const { conflicts, dropped } = await conflictsOf(it.view)
  t.is(conflicts.length, MAX_RIVALS)
  t.is(dropped, 12 - 1 + 20, 'the oldest went')
  t.absent(conflicts.some(({ name }) => name === 'app/web'))

  for (const name of many) {
    const op: Op = { type: 'microservice.rm', application: 'app', name, over: null, at }
    await it.apply(B.writer, op)
  }
  const asides = await it.view.list('~aside/')
  t.is(asides.length, MAX_REMOVALS)
  t.is((await it.view.list('~revision/microservice/app/m1/')).length, 0, 'and their history')
  t.is((await listed(it)).length, MAX_REMOVALS, 'a removal unseen by the other is a conflict')
  const size = it.view.entries.size
  for (let i = 0; i < 50; i++) {
    await it.apply(A.writer, set(`m${MAX_RIVALS}`, 1, null))
    await it.apply(B.writer, set(`m${MAX_RIVALS}`, 2, null))
  }
  t.ok(it.view.entries.size < size + 60, 'revisions of one more')
})

test('conflicts - a value too large is named by its hash, and that it is gone is said', async (t) => {
  const it = await after(base())
  const first = await opOf(it)
  const large = spec({ env: Object.fromEntries(names('E', 3).map((n) => [n, 'x'.repeat(30_000)])) })
  t.is(await it.apply(B.writer, { ...set('web', 2, first), spec: large } as Op), null)
  t.is(await it.apply(C.writer, set('web', 3, first)), null)
  const [conflict] = (await listed(it)) as [Conflict]
  t.is(conflict.rival.value, undefined)
  t.is(conflict.rival.hash, contentHash(large))
  t.ok(conflict.rival.bytes > MAX_VALUE_BYTES)
  t.is(await putBack(it.view, conflict, 'rival', at), 'value-lost')
  for (const op of (await putBack(it.view, conflict, 'standing', at)) as Op[]) {
    t.is(await it.apply(B.writer, op), null)
  }
  t.alike(await listed(it), [])
})

const names = (stem: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${stem}${i + 1}`)
