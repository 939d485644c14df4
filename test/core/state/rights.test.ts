/** Who may write what: every op of the system against every kind of author. */
import test from 'brittle'
import { createKeyPair, toId } from '../../../core/crypto.ts'
import { writeProof, type Proof } from '../../../core/proof.ts'
import type { Op } from '../../../core/state/index.ts'
import { keys } from '../../../core/state/keys.ts'
import type { NodeRecord } from '../../../core/state/state.ts'
import { members, type Member } from '../../helpers/members.ts'
import { order, type Order } from '../../helpers/memory-view.ts'
import { specWith } from '../../helpers/spec.ts'

const AUTHORS = [
  'admin',
  'operator',
  'leading node',
  'node',
  'viewer',
  'pending',
  'removed',
  'stranger'
] as const
type Author = (typeof AUTHORS)[number]

const at = 1
const REVISION = 'a'.repeat(16)

interface World {
  it: Order
  who: Record<Author, Member>
  /** A member that ops are about. */
  other: Member
  /** One that nobody has let in yet. */
  newcomer: Member
  waiting: Member
  /** The op whose value is being rolled out. */
  rollingOut: string
  mesh: string
}

/** By whom each op may be written; `self` where it is about its author. */
const RIGHTS: Record<Op['type'], { by: Author[]; op: (world: World, author: Member) => object }> = {
  'mesh.init': { by: [], op: (_, author) => ({ defaultRole: 'admin', admission: author.paper }) },
  'mesh.lock': { by: ['admin'], op: () => ({ saw: [] }) },
  'mesh.unlock': { by: ['admin'], op: () => ({}) },
  'key.rotate': { by: ['admin'], op: (w, author) => ({ rotation: rotation(w, author) }) },
  'key.seal': {
    by: ['admin'],
    op: ({ other }) => ({
      joinPublicKey: other.paper.joinPublicKey,
      boxes: { [other.id]: 'ab'.repeat(80) }
    })
  },
  'invite.set': { by: ['admin'], op: (w, author) => invite(w, author, OTHER_INVITE) },
  'invite.rm': { by: ['admin'], op: () => ({ publicKey: INVITE }) },
  // Any member vouches for who holds the key.
  'node.admit': {
    by: ['admin', 'operator', 'leading node', 'node', 'viewer'],
    op: ({ newcomer }) => ({ admission: newcomer.paper })
  },
  'node.set': {
    by: ['admin', 'operator'],
    op: ({ other }) => ({
      node: other.id,
      labels: { zone: 'a' },
      controller: true,
      lost: true,
      over: null
    })
  },
  'node.approve': { by: ['admin'], op: ({ waiting }) => ({ node: waiting.id, over: null }) },
  'node.rm': {
    by: ['admin'],
    op: (w, author) => ({
      node: w.other.id,
      proof: prove(w, author, 'removal', w.other.id),
      over: null
    })
  },
  'node.leave': { by: ['admin', 'operator', 'leading node', 'node', 'viewer'], op: () => ({}) },
  'application.set': { by: ['admin', 'operator'], op: () => ({ name: 'other', over: null }) },
  'application.rm': {
    by: ['admin', 'operator'],
    op: () => ({ name: 'app', over: null, under: {} })
  },
  'microservice.set': {
    by: ['admin', 'operator'],
    op: () => ({ application: 'app', name: 'web', spec: SPEC, over: null })
  },
  'microservice.rm': {
    by: ['admin', 'operator'],
    op: () => ({ application: 'app', name: 'web', over: null })
  },
  'service.set': {
    by: ['admin', 'operator'],
    op: () => ({ application: 'app', name: 'plc', spec: OUTSIDE, over: null })
  },
  'service.rm': {
    by: ['admin', 'operator'],
    op: () => ({ application: 'app', name: 'nas', over: null })
  },
  'format.activate': { by: ['admin', 'operator'], op: () => ({ format: 2 }) },
  'mesh.recover': { by: ['admin'], op: () => ({ epoch: 1, reached: [], minority: false }) },
  'indexer.set': {
    by: ['admin', 'operator', 'leading node'],
    op: ({ other }) => ({ node: other.id, indexer: true, term: 1 })
  },
  'lease.claim': { by: ['admin', 'operator', 'leading node'], op: () => ({ term: 2 }) },
  'placement.set': {
    by: ['admin', 'operator', 'leading node'],
    op: ({ other }) => ({
      application: 'app',
      microservice: 'web',
      slot: 0,
      node: other.id,
      revision: REVISION,
      term: 1
    })
  },
  'placement.rm': {
    by: ['admin', 'operator', 'leading node'],
    op: () => ({ application: 'app', microservice: 'web', slot: 0, term: 1 })
  },
  'slot.move': {
    by: ['admin', 'operator'],
    op: ({ other }) => ({ application: 'app', microservice: 'web', slot: 0, node: other.id })
  },
  'rollout.set': {
    by: ['admin', 'operator'],
    op: ({ rollingOut }) => ({
      application: 'app',
      microservice: 'web',
      of: rollingOut,
      paused: true
    })
  },
  'rollout.end': {
    by: ['admin', 'operator', 'leading node'],
    op: ({ rollingOut }) => ({
      application: 'app',
      microservice: 'web',
      of: rollingOut,
      outcome: 'rolledBack',
      reason: 'app/web/0 does not run',
      log: [],
      term: 1
    })
  }
}

const INVITE = toId(createKeyPair(Buffer.alloc(32, 7)).publicKey)

const OUTSIDE = {
  host: '192.168.0.7',
  ports: [{ port: 502, protocol: 'tcp' }],
  node: 'plant-3',
  constraints: [],
  allow: []
}

const SPEC = specWith({ image: 'local/x:1', command: [] })

for (const [type, { by, op }] of Object.entries(RIGHTS)) {
  test(`rights - ${type} is for ${by.join(', ') || 'nobody'}`, async (t) => {
    for (const kind of AUTHORS) {
      const world = await createWorld()
      const author = world.who[kind]
      const before = world.it.view.dump()
      const refusal = await world.it.apply(author.writer, { type, at, ...op(world, author) } as Op)
      if (by.includes(kind)) t.is(refusal, null, kind)
      else {
        t.ok(refusal, `${kind}: ${refusal}`)
        const after = await droppedAside(world)
        t.is(after, before, `${kind} changes nothing`)
      }
    }
  })
}

test('rights - nobody gives itself labels, a role or the lead', async (t) => {
  for (const kind of AUTHORS) {
    const { it, who } = await createWorld()
    const { id, writer } = who[kind]
    const own = { type: 'node.set', node: id, over: null, at } as const
    if (kind !== 'admin') t.ok(await it.apply(writer, { ...own, role: 'admin' }), `${kind}: role`)
    if (kind === 'admin' || kind === 'operator') continue
    t.ok(await it.apply(writer, { ...own, labels: { zone: 'vault' } }), `${kind}: labels`)
    t.ok(await it.apply(writer, { ...own, controller: true }), `${kind}: controller`)
    t.ok(await it.apply(writer, { ...own, lost: false, name: 'me' }), `${kind}: name`)
  }
})

test('rights - a node that was given up says itself that it is back', async (t) => {
  const { it, who } = await createWorld()
  const { id, writer } = who.node
  const own = { type: 'node.set', node: id, over: null, at } as const
  t.is(await it.apply(who.operator.writer, { ...own, lost: true }), null)
  t.ok(await it.apply(who.viewer.writer, { ...own, lost: false }), 'not another')
  t.is(await it.apply(writer, { ...own, lost: false }), null)
  t.is((await it.view.state()).nodes.get(id)?.lost, false)
})

test('removal - of two admins who remove each other the older stays, whoever comes first', async (t) => {
  for (const elderFirst of [true, false]) {
    const { it, who, other, mesh } = await createWorld()
    const elder = who.admin
    const younger = other
    const rm = (by: Member, of: Member): Op => ({
      type: 'node.rm',
      node: of.id,
      proof: writeProof(by.identity, mesh, 'removal', of.id),
      over: null,
      at
    })
    const both: [Member, Op][] = [
      [elder, rm(elder, younger)],
      [younger, rm(younger, elder)]
    ]
    for (const [by, op] of elderFirst ? both : both.toReversed()) await it.apply(by.writer, op)
    const { nodes } = await it.view.state()
    t.is(nodes.get(elder.id)?.state, 'member')
    t.is(nodes.get(younger.id)?.state, 'removed')
  }
})

test('key rotate - whoever came by the mesh key and was not seen waits, invited ones do not', async (t) => {
  const { it, who, other, newcomer, mesh } = await createWorld()
  await it.apply(other.writer, { type: 'node.admit', admission: newcomer.paper, at })
  const saw = (await memberIds(it)).filter((id) => id !== newcomer.id)
  const fresh = rotation({ mesh }, who.admin)
  t.is(
    await it.apply(who.admin.writer, { type: 'key.rotate', rotation: { ...fresh, saw }, at }),
    null
  )
  const { nodes, mesh: record } = await it.view.state()
  t.is(nodes.get(newcomer.id)?.state, 'pending')
  t.is(nodes.get(other.id)?.state, 'member')
  t.is(record?.joinPublicKey, fresh.joinPublicKey)
  t.is(record?.keyEpoch, 1)
})

test('removal - an admin’s open invites die with it', async (t) => {
  const world = await createWorld()
  const { it, who, other, mesh } = world
  const made = invite(world, other, OTHER_INVITE)
  t.is(await it.apply(other.writer, { type: 'invite.set', at, ...made } as Op), null)
  const proof = writeProof(who.admin.identity, mesh, 'removal', other.id)
  const rm: Op = { type: 'node.rm', node: other.id, proof, over: null, at }
  t.is(await it.apply(who.admin.writer, rm), null)
  const { invites } = await it.view.state()
  t.is(invites.get(OTHER_INVITE)?.revoked, true)
  t.is(invites.get(INVITE)?.revoked, false, 'those of others live on')
})

const OTHER_INVITE = toId(createKeyPair(Buffer.alloc(32, 8)).publicKey)

const memberIds = async (it: Order): Promise<string[]> =>
  [...(await it.view.state()).nodes.values()]
    .filter((n) => n.state === 'member')
    .map(({ id }) => id)

/** A mesh that has one of each author. */
async function createWorld(): Promise<World> {
  const names = [
    'admin',
    'operator',
    'lead',
    'node',
    'viewer',
    'pending',
    'removed',
    'waiting',
    'other',
    'newcomer'
  ]
  const made = members('secret', ...names)
  const [admin, operator, lead, node, viewer, pending, gone, waiting, other, newcomer] = made as [
    Member,
    Member,
    Member,
    Member,
    Member,
    Member,
    Member,
    Member,
    Member,
    Member
  ]
  const [, stranger] = members('another', 'admin', 'stranger') as [Member, Member]
  const it = order(admin.writer)
  // That the last one to confirm stays is a rule of its own.
  it.confirming.push(other.writer.toString('hex'))
  const must = async (op: object): Promise<void> => {
    const refusal = await it.apply(admin.writer, { at, ...op } as Op)
    if (refusal !== null) throw new Error(refusal)
  }
  await must({ type: 'mesh.init', defaultRole: 'node', admission: admin.paper, format: 2 })
  for (const { paper } of [operator, lead, node, viewer, pending, gone, waiting, other]) {
    await must({ type: 'node.admit', admission: paper })
  }
  const set = (of: Member, fields: object): Promise<void> =>
    must({ type: 'node.set', node: of.id, over: null, ...fields })
  await set(operator, { role: 'operator' })
  await set(viewer, { role: 'viewer', controller: false })
  await set(node, { controller: false })
  await set(other, { role: 'admin' })
  await must({ type: 'application.set', name: 'app', over: null })
  await must({ type: 'microservice.set', application: 'app', name: 'web', spec: SPEC, over: null })
  await must({ type: 'service.set', application: 'app', name: 'nas', spec: OUTSIDE, over: null })
  const world: World = {
    it,
    who: { admin, operator, 'leading node': lead, node, viewer, pending, removed: gone, stranger },
    other,
    newcomer,
    waiting,
    rollingOut: '',
    mesh: admin.paper.mesh
  }
  const placed = { application: 'app', microservice: 'web', slot: 0, node: admin.id, term: 1 }
  await it.view.put(keys.placement('app', 'web', 0), placed)
  await must({ type: 'invite.set', ...invite(world, admin, INVITE) })
  const next = { ...SPEC, image: 'local/x:2' }
  await must({ type: 'microservice.set', application: 'app', name: 'web', spec: next, over: null })
  world.rollingOut = (await it.view.state()).microservices.get('app/web')?.op ?? ''
  const removal = prove(world, admin, 'removal', gone.id)
  await must({ type: 'node.rm', node: gone.id, proof: removal, over: null })
  for (const of of [pending, waiting]) {
    const record = await it.view.get<NodeRecord>(keys.node(of.id))
    await it.view.put(keys.node(of.id), { ...record, state: 'pending' })
  }
  // Everyone has a claim, so that only rights decide.
  await it.view.put(keys.lease, { term: 1, node: admin.id })
  for (const { id } of made) await it.view.put(keys.claim(id), 1)
  return world
}

/** The view without what is kept of ops that were dropped. */
async function droppedAside({ it }: World): Promise<string> {
  for (const key of [...it.view.entries.keys()]) {
    if (key.startsWith('dropped')) it.view.entries.delete(key)
  }
  return it.view.dump()
}

const prove = (
  { mesh }: Pick<World, 'mesh'>,
  by: Member,
  what: Proof['what'],
  subject: string
): Proof => writeProof(by.identity, mesh, what, subject)

function rotation(world: Pick<World, 'mesh'>, by: Member) {
  const joinPublicKey = toId(createKeyPair().publicKey)
  return {
    joinPublicKey,
    proof: prove(world, by, 'join key', joinPublicKey),
    epoch: 1,
    saw: [] as string[]
  }
}

const invite = (world: Pick<World, 'mesh'>, by: Member, publicKey: string): object => ({
  publicKey,
  role: 'node',
  controller: false,
  labels: {},
  uses: 1,
  expiresAt: 10,
  proof: prove(world, by, 'invite', publicKey)
})
