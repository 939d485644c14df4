import test from 'brittle'
import fc from 'fast-check'
import type { Op } from '../../../core/state/index.ts'
import { decodeOp, MAX_OP_BYTES } from '../../../core/state/index.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { Role } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const RUNS = { numRuns: 300 }
const REVISION = 'a'.repeat(16)
const at = 1

const spec = (fields: Partial<MicroserviceSpec> = {}): MicroserviceSpec =>
  specWith({ image: 'local/x:1', command: ['run'], replicas: 2, ...fields })

const place = (slot: number, node: string, term: number): Op => ({
  type: 'placement.set',
  application: 'app',
  microservice: 'web',
  slot,
  node,
  revision: REVISION,
  term,
  at
})
const setWeb = (fields: Partial<MicroserviceSpec> = {}): Op => ({
  type: 'microservice.set',
  application: 'app',
  name: 'web',
  spec: spec(fields),
  over: null,
  at
})
const setApp: Op = { type: 'application.set', name: 'app', over: null, at }
const claim = (term: number): Op => ({ type: 'lease.claim', term, at })
const setNode = (node: string, fields: object): Op => ({
  type: 'node.set',
  node,
  over: null,
  at,
  ...fields
})

/** A mesh of an admin and others with the default role, with app/web placed by the admin. */
async function mesh(defaultRole: Role): Promise<{ it: Order; who: [Member, Member, Member] }> {
  const who = members('secret', 'pi1', 'pi2', 'pi3') as [Member, Member, Member]
  const [first, ...others] = who
  const it = order(first.writer)
  const must = async (op: Op): Promise<void> => {
    const refusal = await it.apply(first.writer, op)
    if (refusal !== null) throw new Error(refusal)
  }
  await must({ type: 'mesh.init', defaultRole, admission: first.paper, at })
  for (const { paper } of others) await must({ type: 'node.admit', admission: paper, at })
  for (const op of [setApp, setWeb(), claim(1), place(0, first.id, 1), place(1, first.id, 1)]) {
    await must(op)
  }
  return { it, who }
}

/** Ops that the admin of `mesh` may write, one of each type at least. */
const allowed = ([first, second]: Member[]): Op[] =>
  [
    { type: 'node.admit', admission: second?.paper, at },
    setNode(second?.id ?? '', { labels: { zone: 'a' }, role: 'viewer', controller: false }),
    setApp,
    { type: 'application.rm', name: 'app', over: null, under: {}, at },
    setWeb({ replicas: 1, env: { A: 'b' }, healthcheck: null }),
    { type: 'microservice.rm', application: 'app', name: 'web', over: null, at },
    claim(2),
    place(0, first?.id ?? '', 1),
    { type: 'placement.rm', application: 'app', microservice: 'web', slot: 0, term: 1, at }
  ] as Op[]

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({ withBigInt: false }),
  fc.constantFrom(null, -1, 1e21, NaN, '', '__proto__', [], {}, true, 'x'.repeat(70_000)),
  fc.constant(Array(20_000).fill(0)),
  fc.constant(JSON.parse('{"__proto__":{"check":1},"constructor":{"prototype":{}}}'))
)

test('ops - no block makes decoding throw: bytes, JSON that is no op, depth', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      decodeOp(Buffer.from(bytes))
    }),
    RUNS
  )
  fc.assert(
    fc.property(fc.json(), (text) => {
      decodeOp(Buffer.from(text))
    }),
    RUNS
  )
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  t.is(typeof decodeOp(Buffer.from(deep)), 'string')
  t.is(typeof decodeOp(Buffer.from(`{"type":"application.set","name":${deep}}`)), 'string')
  for (const type of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    t.is(decodeOp(Buffer.from(JSON.stringify({ type }))), 'its type is unknown')
  }
  const large = decodeOp(Buffer.alloc(MAX_OP_BYTES + 1, 0x20))
  t.ok(typeof large === 'string' && large.includes('too large'))
})

test('ops - a wrong value in any field is refused or harmless, and what is refused changes nothing', async (t) => {
  const { who } = await mesh('node')
  const ops = allowed(who)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...ops),
      fc.constantFrom(...who),
      fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
      odd,
      async (op, writer, path, value) => {
        const { it } = await mesh('node')
        const before = it.view.dump()
        const refusal = await it.apply(writer.writer, Buffer.from(mutate(op, path, value)))
        if (refusal !== null && it.view.dump() !== before) throw new Error(`changed: ${refusal}`)
        await it.view.state()
      }
    ),
    RUNS
  )
  t.pass()
})

test('ops - a field node writes nothing that is not its own to write', async (t) => {
  for (const role of ['viewer', 'node'] as const) {
    const { it, who } = await mesh(role)
    const [first, second, third] = who
    await it.apply(first.writer, setNode(second.id, { controller: false }))
    const before = it.view.dump()
    const refused = async (op: Op, why: RegExp): Promise<void> => {
      const refusal = await it.apply(second.writer, op)
      t.ok(why.test(String(refusal)), `${role} ${op.type}: ${refusal}`)
      t.is(it.view.dump(), before)
    }
    await refused(setApp, /may not deploy/)
    await refused(setWeb({ env: { EVIL: '1' } }), /may not deploy/)
    await refused(
      { type: 'application.rm', name: 'app', over: null, under: {}, at },
      /may not remove/
    )
    await refused(
      { type: 'microservice.rm', application: 'app', name: 'web', over: null, at },
      /may not remove/
    )
    await refused(setNode(second.id, { labels: { zone: 'vault' } }), /may not set/)
    await refused(setNode(second.id, { role: 'admin' }), /may not set/)
    await refused(setNode(second.id, { controller: true }), /may not set/)
    await refused(claim(2), /may not lead/)
    await refused(place(0, second.id, 1), /may not place/)
    await refused({ type: 'mesh.init', defaultRole: 'admin', admission: second.paper, at }, /first/)
    t.ok(/no claim/.test(String(await it.apply(third.writer, place(0, third.id, 1)))), 'no claim')
    const again: Op = { type: 'mesh.init', defaultRole: 'admin', admission: first.paper, at }
    t.is(await it.apply(first.writer, again), 'the mesh is made already')
    t.is(it.view.dump(), before)
  }
})

test('ops - an admission is of this mesh, of its key, of its node, and of one who may vouch', async (t) => {
  const { it, who } = await mesh('admin')
  const [first] = who
  const [, , , fourth] = members('secret', 'pi1', 'pi2', 'pi3', 'pi4') as [
    Member,
    Member,
    Member,
    Member
  ]
  const [, stranger] = members('another secret', 'pi1', 'mallory') as [Member, Member]
  const [, foreign] = members('secret', 'elsewhere', 'pi4') as [Member, Member]
  const before = it.view.dump()
  const admit = (admission: Member['paper'], by = first): Promise<string | null> =>
    it.apply(by.writer, { type: 'node.admit', admission, at })
  t.ok(/neither the mesh key nor/.test(String(await admit(stranger.paper))))
  t.ok(/another mesh/.test(String(await admit(foreign.paper))))
  t.ok(/not verify/.test(String(await admit({ ...fourth.paper, name: 'admin' }))))
  t.ok(/not verify/.test(String(await admit({ ...fourth.paper, node: stranger.id }))))
  t.ok(/not a member/.test(String(await admit(fourth.paper, stranger))))
  t.is(it.view.dump(), before)
  t.is(await admit(fourth.paper), null)
  const once = it.view.dump()
  t.is(await admit(fourth.paper, who[1]), null, 'again, by another: the same member')
  t.is(it.view.dump(), once)
  const { nodes } = await it.view.state()
  t.alike([...nodes.values()].map(({ displayName }) => displayName).sort(), [
    'pi',
    'pi~2',
    'pi~3',
    'pi~4'
  ])
})

test('ops - the last admin stays one', async (t) => {
  const { it, who } = await mesh('operator')
  const [first, second] = who
  t.ok(
    /last admin/.test(String(await it.apply(first.writer, setNode(first.id, { role: 'viewer' }))))
  )
  t.ok(
    /only an admin/.test(String(await it.apply(second.writer, setNode(first.id, { role: 'node' }))))
  )
  t.is(await it.apply(first.writer, setNode(second.id, { role: 'admin' })), null)
  t.is(await it.apply(first.writer, setNode(first.id, { role: 'viewer' })), null)
  t.ok(
    /last admin/.test(String(await it.apply(second.writer, setNode(second.id, { role: 'node' }))))
  )
})

test('placements - made under a stored claim, beaten or not; the later by slot stands', async (t) => {
  const { it, who } = await mesh('admin')
  const [first, second, third] = who
  t.is(await it.apply(second.writer, claim(1)), null, 'a beaten claim is stored')
  t.is((await it.view.state()).lease?.node, first.id, 'the first in the order leads')
  t.is(await it.apply(second.writer, place(0, second.id, 1)), null)
  t.is((await it.view.state()).placements.get('app/web/0')?.node, second.id, 'the later stands')
  t.ok(/not the next/.test(String(await it.apply(second.writer, claim(3)))), 'terms go by one')
  t.ok(/no claim/.test(String(await it.apply(second.writer, place(0, third.id, 3)))))
  t.is(await it.apply(third.writer, claim(2)), null)
  t.is(await it.apply(third.writer, place(0, third.id, 2)), null)
  t.ok(/later term/.test(String(await it.apply(first.writer, place(0, first.id, 1)))))
  t.ok(/no such slot/.test(String(await it.apply(third.writer, place(2, third.id, 2)))))
  const nobody = members('secret', 'pi1', 'ghost')[1]?.id ?? ''
  t.ok(/no such node/.test(String(await it.apply(third.writer, place(1, nobody, 2)))))
})

test('leases - of each that claims one claim is kept, and what it wrote under an older one counts no more', async (t) => {
  const { it, who } = await mesh('admin')
  const [first, second] = who
  for (let term = 2; term < 50; term++) {
    t.is(await it.apply((term % 2 === 0 ? second : first).writer, claim(term)), null)
  }
  t.is((await it.view.list('claim/')).length, 2)
  t.is(await it.apply(first.writer, claim(3)), null, 'late and beaten: no fault, and no step back')
  t.is(await it.apply(first.writer, place(0, second.id, 49)), null)
  t.ok(/no claim of term 3/.test(String(await it.apply(first.writer, place(1, first.id, 3)))))
  t.is(await it.apply(second.writer, place(1, second.id, 48)), null, 'a beaten claim is kept')
})

test('microservices - fewer replicas drop placements, rm drops all, revision is content', async (t) => {
  const { it, who } = await mesh('admin')
  const [first] = who
  const revision = async (fields: Partial<MicroserviceSpec>): Promise<string | undefined> => {
    t.is(await it.apply(first.writer, setWeb(fields)), null)
    return (await it.view.state()).microservices.get('app/web')?.revision
  }
  const one = await revision({})
  for (const same of [
    { replicas: 2 },
    { node: 'pi' },
    { constraints: ['a=b'] },
    { restart: 'no' as const }
  ]) {
    t.is(await revision(same), one, JSON.stringify(same))
  }
  for (const other of [
    { env: { A: '1' } },
    { image: 'b' },
    { command: ['x'] },
    { labels: { a: 'b' } }
  ]) {
    t.not(await revision(other), one, JSON.stringify(other))
  }
  t.is(await revision({ env: { B: '2', A: '1' } }), await revision({ env: { A: '1', B: '2' } }))
  await revision({ replicas: 1 })
  t.alike([...(await it.view.state()).placements.keys()], ['app/web/0'])
  t.is(
    await it.apply(first.writer, {
      type: 'application.rm',
      name: 'app',
      over: null,
      under: {},
      at
    }),
    null
  )
  const { applications, microservices, placements } = await it.view.state()
  t.is(applications.size + microservices.size + placements.size, 0)
  t.ok(/no such application/.test(String(await it.apply(first.writer, setWeb()))))
})

/** JSON of the op with `value` at a place that `path` chooses, walking its fields. */
function mutate(op: Op, path: number[], value: unknown): string {
  const copy = structuredClone(op) as unknown as Record<string, unknown>
  let at = copy
  for (const [i, step] of path.entries()) {
    const fields = Object.keys(at)
    const field = fields[step % fields.length]
    if (field === undefined) break
    const inner = at[field]
    if (i === path.length - 1 || typeof inner !== 'object' || inner === null) {
      at[field] = value
      break
    }
    at = inner as Record<string, unknown>
  }
  try {
    return JSON.stringify(copy) ?? 'null'
  } catch {
    return 'null'
  }
}
