/** Who comes in, who goes, and what is left of it, over real meshes in this process. */
import test from 'brittle'
import { BrumeError } from '../../core/errors.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { Role } from '../../core/state/state.ts'
import { keys } from '../../core/state/keys.ts'
import { openStore } from '../../core/store.ts'
import { createMesh, untilMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const LONG = { timeout: 90_000 }
const HOUR_MS = 3_600_000

interface Terms {
  role?: Role
  labels?: Record<string, string>
  uses?: number
  expiresInMs?: number
}

/** An invite by this node, as `brume invite new` makes it. */
async function invite(mesh: Mesh, terms: Terms = {}): Promise<{ text: string; publicKey: string }> {
  const { role = 'node', labels = {}, uses = 1, expiresInMs = HOUR_MS } = terms
  const at = Date.now()
  const controller = role === 'admin' || role === 'operator'
  const { op, text } = mesh.invite({
    role,
    controller,
    labels,
    uses,
    expiresAt: at + expiresInMs,
    at
  })
  await mesh.append([op])
  return { text, publicKey: op.publicKey }
}

/** As a power cut leaves a store that came before blocks of the view were on the disk. */
async function loseView(dir: string, system: Buffer | undefined): Promise<void> {
  const store = await openStore(dir)
  let lost = 0
  for await (const discoveryKey of store.list()) {
    const core = store.get({ discoveryKey })
    await core.ready()
    // One that follows another core; the system core stays whole, as Autobase does not open without.
    const follows = (core.manifest?.prologue ?? null) !== null
    if (follows && system?.equals(core.key) === false) {
      lost += core.length
      await core.clear(0, core.length)
    }
    await core.close()
  }
  await store.close()
  if (lost === 0) throw new Error('there is no view to lose')
}

async function codeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act
    return 'no error'
  } catch (error) {
    return error instanceof BrumeError ? error.code : String(error)
  }
}

const nodeOf = ({ state }: Mesh, id: string) => state.nodes.get(id)

test(
  'invite - who came by one and lost blocks of its view has them from members it had heard of',
  LONG,
  async (t) => {
    const mesh = await createMesh(1, t)
    const [a] = mesh.nodes as [MeshNode]
    const { text } = await invite(a.mesh)
    const pi = await mesh.join('pi', { key: text })
    await untilState(pi, (state) => state.nodes.size === 2)
    const system = pi.mesh.oplog.system?.key
    await pi.stop()
    await loseView(pi.dir, system)

    await pi.restart()
    t.is(pi.mesh.state.nodes.size, 2)
    await a.mesh.append([{ type: 'application.set', name: 'app', over: null, at: 0 }])
    await untilState(pi, (state) => state.applications.has('app'))
  }
)

test(
  'invite - gives its role and labels, counts its uses, and each end has its own word',
  LONG,
  async (t) => {
    const mesh = await createMesh(2, t)
    const [a, b] = mesh.nodes as [MeshNode, MeshNode]
    const field = await invite(a.mesh, { role: 'node', labels: { zone: 'yard' } })
    const pi = await mesh.join('pi', { key: field.text })
    const record = nodeOf(a.mesh, pi.mesh.self)
    t.is(record?.role, 'node')
    t.is(record?.controller, false)
    t.alike(record?.labels, { zone: 'yard' })
    await t.exception(() => pi.mesh.keyRing.show(), /at least admin may show the mesh key/)

    // Who has not heard that an invite is used or revoked lets in whoever brings it.
    await untilState(b, (state) => state.invites.get(field.publicKey)?.used.length === 1)
    t.is(await codeOf(mesh.join('late', { key: field.text })), 'INVITE_USED')
    const short = await invite(a.mesh, { expiresInMs: 1 })
    t.is(await codeOf(mesh.join('late', { key: short.text })), 'INVITE_EXPIRED')
    const revoked = await invite(a.mesh)
    await a.mesh.append([{ type: 'invite.rm', publicKey: revoked.publicKey, at: Date.now() }])
    await untilState(b, (state) => state.invites.get(revoked.publicKey)?.revoked === true)
    t.is(await codeOf(mesh.join('late', { key: revoked.text })), 'INVITE_REVOKED')
    const free = await invite(a.mesh)
    t.is(await codeOf(mesh.join('pi', { key: free.text })), 'NAME_TAKEN')
    await mesh.join('late', { key: free.text })
    t.is(a.mesh.state.invites.get(free.publicKey)?.used.length, 1)
  }
)

test('lock - the mesh key lets nobody in, an invite does, unlock opens again', LONG, async (t) => {
  const mesh = await createMesh(1, t)
  const [a] = mesh.nodes as [MeshNode]
  const saw = [a.mesh.self]
  await a.mesh.append([{ type: 'mesh.lock', saw, at: 0 }])
  t.is(await codeOf(mesh.join('b')), 'MESH_LOCKED')
  const { text } = await invite(a.mesh, { role: 'admin' })
  const c = await mesh.join('c', { key: text })
  t.is(
    await c.mesh.keyRing.show(),
    await a.mesh.keyRing.show(),
    'an invited admin asks for the key'
  )
  await a.mesh.append([{ type: 'mesh.unlock', at: 0 }])
  await mesh.join('b')
  t.is(a.mesh.state.nodes.size, 3)
})

test(
  "key rotate - the old key is dead, the new one is every admin's and opens",
  LONG,
  async (t) => {
    const mesh = await createMesh(2, t)
    const [a, b] = mesh.nodes as [MeshNode, MeshNode]
    const old = await a.mesh.keyRing.show()
    await b.stop()
    const { rotation, seals } = a.mesh.keyRing.rotation()
    await a.mesh.append([{ type: 'key.rotate', rotation, at: 0 }, ...seals])
    const key = await a.mesh.keyRing.show()
    t.not(key, old)
    t.is(await codeOf(mesh.join('late', { key: old })), 'KEY_OLD')
    const late = await mesh.join('late', { key })

    // Who was away knows neither the key nor the newcomer: both are proven to it at the door.
    await a.stop()
    await b.restart()
    await untilState(b, (state) => state.nodes.has(late.mesh.self), 40_000)
    t.is(await b.mesh.keyRing.show(), key, 'it had its box')
  }
)

test(
  'node rm - its links end, its later ops come to nothing and are listed, nor does the old key help it',
  LONG,
  async (t) => {
    const mesh = await createMesh(3, t)
    const [a, b, thief] = mesh.nodes as [MeshNode, MeshNode, MeshNode]
    for (const node of mesh.nodes) await untilMesh(node, (m) => m.alive().size === 3)
    const old = await thief.mesh.keyRing.show()
    const id = thief.mesh.self

    await thief.stop()
    await a.mesh.append(a.mesh.removal(id, false))
    await untilState(b, (state) => state.nodes.get(id)?.state === 'removed')
    await a.stop()
    await b.stop()

    // Cut off, it does not know; what it writes then must not come back.
    await thief.restart()
    await thief.mesh.append([{ type: 'application.set', name: 'loot', over: null, at: 5 }])
    await a.restart()
    await b.restart()
    await untilState(thief, (state) => state.nodes.get(id)?.state === 'removed', 40_000)
    t.is(thief.mesh.state.applications.size, 0, 'told by a signed word, it works for nobody')
    t.is(
      await codeOf(thief.mesh.append([{ type: 'application.set', name: 'x', over: null, at: 0 }])),
      'NODE_REMOVED'
    )
    await untilMesh(a, (m) => m.alive().size === 2)
    t.absent(a.mesh.links.get(id))
    t.absent(a.mesh.state.applications.has('loot'))
    t.is(await codeOf(mesh.join('fresh', { key: old })), 'KEY_OLD', 'a new pair and the old key')
    await thief.restart()
    t.is(thief.mesh.me?.state, 'removed', 'it knows after a restart')
  }
)

test('dropped - ops of a node that was removed are listed when they turn up', LONG, async (t) => {
  const mesh = await createMesh(3, t)
  const [a, b, c] = mesh.nodes as [MeshNode, MeshNode, MeshNode]
  for (const node of mesh.nodes) await untilMesh(node, (m) => m.alive().size === 3)
  const id = c.mesh.self
  // b hears of c's op, not of its removal; a the other way round.
  await a.stop()
  await b.stop()
  await a.restart()
  await untilMesh(a, (m) => m.links.get(id) !== null)
  await c.stop()
  await a.mesh.append(a.mesh.removal(id, true))
  await waitUntil(() => {
    const { tentative, confirmed } = a.mesh.oplog.lengths()
    return tentative === confirmed
  }, 30_000)
  await a.stop()
  await b.restart()
  await c.restart()
  await untilMesh(b, (m) => m.links.get(id) !== null)
  await c.mesh.append([{ type: 'application.set', name: 'loot', over: null, at: 5 }])
  await untilState(b, (state) => state.applications.has('loot'))
  await c.stop()
  await a.restart()
  for (const node of [a, b]) {
    await untilState(node, (state) => state.dropped.get(id) === 1, 40_000)
    t.absent(node.mesh.state.applications.has('loot'))
    const [dropped] = await node.mesh.oplog.list<{ type: string; node: string }>(keys.droppedOf(id))
    t.is(dropped?.type, 'application.set')
    t.is(dropped?.node, id)
  }
})

test(
  'pending - who came in by the old key on the other side of a split waits for a yes',
  LONG,
  async (t) => {
    const mesh = await createMesh(2, t)
    const [a, b] = mesh.nodes as [MeshNode, MeshNode]
    for (const node of mesh.nodes) await untilMesh(node, (m) => m.alive().size === 2)
    const old = await a.mesh.keyRing.show()
    await a.stop()
    const late = await mesh.join('late', { key: old })
    const id = late.mesh.self
    await late.stop()
    await b.stop()
    await a.restart()
    const { rotation, seals } = a.mesh.keyRing.rotation()
    await a.mesh.append([{ type: 'key.rotate', rotation, at: 0 }, ...seals])
    await b.restart()
    for (const node of [a, b]) {
      await untilState(node, (state) => state.nodes.get(id)?.state === 'pending', 40_000)
    }
    await late.restart()
    await waitUntil(() => late.mesh.refusal?.code === 'NODE_PENDING', 40_000)
    t.is(a.mesh.links.get(id), null)
    await a.mesh.append([{ type: 'node.approve', node: id, over: null, at: 0 }])
    await untilMesh(late, (m) => m.alive().size === 3, 40_000)
    await late.mesh.append([{ type: 'application.set', name: 'mine', over: null, at: 0 }])
    await untilState(a, (state) => state.applications.has('mine'))
  }
)
