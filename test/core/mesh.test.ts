import { Readable } from 'node:stream'
import test from 'brittle'
import { silent } from '../../core/logger.ts'
import { waitUntil } from '../helpers/wait.ts'
import { createMesh, untilMesh, untilState } from '../helpers/mesh.ts'

const DIGEST = 'd'.repeat(64)

test('mesh - three nodes join by the key and see each other alive', async (t) => {
  const { nodes } = await createMesh(3, t)
  for (const node of nodes) {
    await untilState(node, (state) => state.nodes.size === 3)
    await untilMesh(node, (mesh) => mesh.alive().size === 3)
    t.is(node.mesh.me?.role, 'admin')
    t.ok(node.mesh.oplog.writable)
  }
})

test('mesh - an op appended anywhere shows everywhere, in one order', async (t) => {
  const { nodes } = await createMesh(3, t)
  await Promise.all(
    nodes.map(({ mesh }, i) =>
      mesh.append([{ type: 'application.set', name: `app-${i}`, over: null, at: Date.now() }])
    )
  )
  for (const node of nodes) await untilState(node, (state) => state.applications.size === 3)
  const [first, ...others] = nodes.map(({ mesh }) => JSON.stringify([...mesh.state.applications]))
  for (const other of others) t.is(other, first)
})

test('mesh - gossip reaches all and survives a restart', async (t) => {
  const { nodes } = await createMesh(3, t)
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]]
  a.mesh.gossip.publish('holds', { digests: [DIGEST] })
  for (const node of nodes) {
    await untilMesh(node, (mesh) => mesh.gossip.get(a.mesh.self, 'holds') !== null)
  }
  await a.stop()
  await b.restart()
  const kept = b.mesh.gossip.get(a.mesh.self, 'holds')
  t.alike(kept?.body, { digests: [DIGEST] })
  t.is(kept?.receivedAt, -Infinity, 'a record from disk makes nobody alive')
  const age = b.mesh.lastHeardMs().get(a.mesh.self)
  t.ok(age !== undefined && age < 60_000, 'nor is it forgotten when it was last heard')

  await a.restart()
  t.is(a.mesh.gossip.get(a.mesh.self, 'holds'), null, 'nobody believes its own old words')
  t.absent(a.mesh.gossip.all('holds').has(a.mesh.self))
})

test('mesh - a question is answered by the node asked, a stream is streamed', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
  b.mesh.channel.answer('twice', async (from, n) => ({ from, n: (n as number) * 2 }))
  b.mesh.channel.answer('count', async () => Readable.from(['one ', 'two']))
  b.mesh.channel.answer('fails', async () => Promise.reject(new Error('not today')))
  await untilMesh(a, (mesh) => mesh.links.get(b.mesh.self) !== null)
  t.alike(await a.mesh.channel.ask(b.mesh.self, 'twice', 21), { from: a.mesh.self, n: 42 })
  const stream = await a.mesh.channel.open(b.mesh.self, 'count', {}, new AbortController().signal)
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  t.is(Buffer.concat(chunks).toString(), 'one two')
  await t.exception(() => a.mesh.channel.ask(b.mesh.self, 'fails', null), /not today/)
  await t.exception(
    () => a.mesh.channel.ask(b.mesh.self, 'nothing', null),
    /does not know the call/
  )
})

test('mesh - what was appended is in the state once append resolves, whatever comes in meanwhile', async (t) => {
  const { nodes } = await createMesh(3, t)
  const missing: string[] = []
  for (let i = 0; i < 20; i++) {
    await Promise.all(
      nodes.map(async ({ mesh, name: node }) => {
        const name = `${node}-${i}`
        await mesh.append([{ type: 'application.set', name, over: null, at: 0 }])
        if (!mesh.state.applications.has(name)) missing.push(name)
      })
    )
  }
  t.alike(missing, [])
})

test('mesh - a change of the view that could not be followed is followed later, though nothing else changes', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [{ mesh }] = nodes as [(typeof nodes)[0]]
  const onView = mesh.keyRing.onView.bind(mesh.keyRing)
  let full = true
  mesh.keyRing.onView = (state) =>
    full ? Promise.reject(new Error('the disk is full')) : onView(state)
  let views = 0
  mesh.on('view', () => views++)
  await mesh.append([{ type: 'application.set', name: 'shop', over: null, at: 0 }])
  t.is(views, 0)
  full = false
  await waitUntil(() => views === 1)
})

test('gossip - a body of another shape is refused and told once, others are unharmed', async (t) => {
  const told: object[] = []
  const log = { ...silent, warn: (fields: object) => void told.push(fields) }
  const { nodes } = await createMesh(2, t, { log })
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
  await untilMesh(b, (mesh) => mesh.alive().size === 2)
  const bad = { digests: 'all of them' } as unknown as { digests: string[] }
  a.mesh.gossip.publish('holds', bad)
  await waitUntil(() => told.length > 0)
  a.mesh.gossip.publish('holds', { digests: [DIGEST] })
  await untilMesh(b, (mesh) => mesh.gossip.get(a.mesh.self, 'holds') !== null)
  t.alike(b.mesh.gossip.get(a.mesh.self, 'holds')?.body, { digests: [DIGEST] })
  t.alike(told, [{ node: a.mesh.self, kind: 'holds', from: a.mesh.self }])
})

test('mesh - a node that was given up just as it left does not say that it is back', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]]
  await untilMesh(b, (mesh) => mesh.links.get(a.mesh.self) !== null)
  const at = Date.now()
  await b.mesh.append([
    { type: 'node.set', node: b.mesh.self, lost: true, over: null, at },
    { type: 'node.leave', at }
  ])
  const record = b.mesh.me
  t.is(record?.state, 'removed')
  t.is(record?.lost, true)
  await untilState(a, (state) => state.nodes.get(b.mesh.self)?.state === 'removed')
  t.is(b.mesh.oplog.refused.size, 0)
})
