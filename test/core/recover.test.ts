import test from 'brittle'
import type { Mesh } from '../../core/mesh.ts'
import { createMesh, untilMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { Switchboard } from '../helpers/switchboard.ts'
import { waitUntil } from '../helpers/wait.ts'

test(
  'recover - a survivor without quorum goes on, confirms again, and nothing of its view is lost',
  { timeout: 120_000 },
  async (t) => {
    const board = new Switchboard()
    const { nodes } = await createMesh(4, t, { openSwarm: board.open })
    const [a, b, c, d] = nodes as [MeshNode, MeshNode, MeshNode, MeshNode]
    for (const node of nodes) await untilState(node, (state) => state.nodes.size === 4)
    await promote(a, b)
    await promote(a, c)
    await application(d, 'before')
    for (const node of nodes) await untilState(node, (state) => state.applications.has('before'))

    await b.stop()
    await c.stop()
    await application(a, 'alone')
    await application(d, 'alone-too')
    await untilState(a, (state) => state.applications.size === 3)
    const stuck = a.mesh.oplog.lengths()
    const startedAt = performance.now()
    await a.mesh.recover()
    await waitUntil(() => a.mesh.oplog.lengths().confirmed > stuck.tentative)
    t.comment(`confirmed again after ${Math.round(performance.now() - startedAt)} ms`)
    await waitUntil(() => d.mesh.oplog.fork.epoch === 1)
    await application(d, 'after')
    const written = d.mesh.oplog.lengths().tentative
    await waitUntil(() => d.mesh.oplog.lengths().confirmed >= written)
    t.comment(`at the other survivor after ${Math.round(performance.now() - startedAt)} ms`)
    t.alike(a.mesh.state.indexers, [a.mesh.self])

    for (const node of [b, c]) await node.restart()
    await application(c, 'back')
    await untilAlike(nodes, 5)
    t.pass('who comes back merges')
    for (const node of nodes) await node.restart()
    await application(b, 'again')
    await untilAlike(nodes, 6)
    t.alike(
      nodes.map(({ mesh }) => mesh.oplog.fork),
      nodes.map(() => a.mesh.oplog.fork)
    )
  }
)

test('recover - right after a change of indexers, nothing being confirmed since', async (t) => {
  const board = new Switchboard()
  const { nodes } = await createMesh(3, t, { openSwarm: board.open })
  const [a, b, c] = nodes as [MeshNode, MeshNode, MeshNode]
  for (const node of nodes) await untilState(node, (state) => state.nodes.size === 3)
  for (const { mesh } of [b, c]) {
    await a.mesh.append([
      { type: 'indexer.set', node: mesh.self, indexer: true, term: null, at: 0 }
    ])
  }
  await untilMesh(a, ({ state }) => state.indexers.length === 3)
  await b.stop()
  await c.stop()
  await application(a, 'alone')
  await a.mesh.recover()
  await application(a, 'after')
  const { tentative } = a.mesh.oplog.lengths()
  await waitUntil(() => a.mesh.oplog.lengths().confirmed >= tentative)
  await a.restart()
  await c.restart()
  await application(c, 'back')
  await untilAlike([a, c], 3)
})

test(
  'recover - on both sides of a split, then healed: one order, one set of indexers, no op missing',
  { timeout: 180_000 },
  async (t) => {
    const board = new Switchboard()
    const { nodes } = await createMesh(5, t, { openSwarm: board.open })
    const [a, b, c, d, e] = nodes as [MeshNode, MeshNode, MeshNode, MeshNode, MeshNode]
    for (const node of nodes) await untilState(node, (state) => state.nodes.size === 5)
    await promote(a, b)
    await promote(a, c)
    await c.stop()
    const left = new Set([a.mesh.self, d.mesh.self])
    board.split((id) => left.has(id))
    for (const [i, node] of [a, d, b, e].entries()) {
      for (let n = 0; n < 5; n++) await application(node, `s${i}-${n}`)
    }
    for (const node of [a, d, b, e]) {
      await untilState(node, (state) => state.applications.size === 10)
    }
    await a.mesh.recover()
    await b.mesh.recover()
    for (const node of [a, d, b, e]) await waitUntil(() => node.mesh.oplog.fork.epoch === 1)
    for (const node of [a, d, b, e]) await application(node, `forked-${node.name}`)
    for (const node of [a, d, b, e]) {
      await untilState(node, (state) => state.applications.size === 12)
    }
    t.unlike(a.mesh.oplog.fork, b.mesh.oplog.fork)
    await waitUntil(() => e.mesh.oplog.lengths().confirmed > 20)

    board.heal()
    const healedAt = performance.now()
    await untilAlike([a, b, d, e], 24)
    t.comment(`one order ${Math.round(performance.now() - healedAt)} ms after the heal`)
    await c.restart()
    await application(c, 'back')
    await untilAlike(nodes, 25)
    for (const node of [e, a, c, b, d]) await node.restart()
    for (const node of nodes) await application(node, `again-${node.name}`)
    await untilAlike(nodes, 30)
    const before = a.mesh.oplog.lengths().tentative
    for (const node of nodes) {
      await waitUntil(() => node.mesh.oplog.lengths().confirmed >= before, 20_000)
    }
    const recoveries = a.mesh.state.recoveries.map(({ epoch, by }) => [epoch, by])
    t.is(recoveries.length, 2, 'both are on record')
    t.is(a.mesh.state.indexers.length, 1)
  }
)

test(
  'recover - who forked is gone: a newcomer and one of the old order find their way',
  { timeout: 180_000 },
  async (t) => {
    const board = new Switchboard()
    const mesh = await createMesh(6, t, { openSwarm: board.open })
    const [a, b, c, d, e, z] = mesh.nodes as [
      MeshNode,
      MeshNode,
      MeshNode,
      MeshNode,
      MeshNode,
      MeshNode
    ]
    for (const node of mesh.nodes) await untilState(node, (state) => state.nodes.size === 6)
    const key = await a.mesh.keyRing.show()
    await promote(a, b)
    await promote(a, c)
    await application(z, 'before')
    for (const node of mesh.nodes) await untilState(node, (s) => s.applications.has('before'))
    for (const node of [z, a, b]) await node.stop()
    await c.mesh.recover()
    for (const node of [d, e]) await waitUntil(() => node.mesh.oplog.fork.epoch === 1)
    await promote(c, d)
    await promote(c, e)
    await c.stop()
    await application(d, 'three')

    const late = await mesh.join('late', { key })
    await untilState(late, (state) => state.applications.size === 2)
    await d.stop()
    await z.restart()
    await waitUntil(() => z.mesh.oplog.fork.epoch === 1, 30_000)
    await application(z, 'four')
    await untilAlike([e, z, late], 3)
    for (const node of [d, a]) await node.restart()
    await application(a, 'five')
    await untilAlike([a, d, e, z, late], 4)
    const before = a.mesh.oplog.lengths().tentative
    await waitUntil(() => z.mesh.oplog.lengths().confirmed >= before, 30_000)
    t.pass()
  }
)

const application = async ({ mesh }: { mesh: Mesh }, name: string): Promise<void> => {
  await mesh.append([{ type: 'application.set', name, over: null, at: 0 }])
}

async function promote(by: MeshNode, node: MeshNode): Promise<void> {
  const before = by.mesh.state.indexers.length
  await by.mesh.append([
    { type: 'indexer.set', node: node.mesh.self, indexer: true, term: null, at: 0 }
  ])
  await application(node, `promoted-${node.name}`)
  await untilMesh(by, ({ state }) => state.indexers.length === before + 1)
  const over = node.mesh.state.applications.get(`promoted-${node.name}`)?.op ?? null
  await node.mesh.append([
    { type: 'application.rm', name: `promoted-${node.name}`, over, under: {}, at: 0 }
  ])
  const { tentative } = by.mesh.oplog.lengths()
  await waitUntil(() => by.mesh.oplog.lengths().confirmed >= tentative, 30_000)
}

/** All stand on one order, with so many applications. */
async function untilAlike(nodes: MeshNode[], applications: number): Promise<void> {
  const alike = (): boolean => {
    const views = nodes.map(({ mesh }) => JSON.stringify([...mesh.state.applications]))
    return (
      new Set(views).size === 1 &&
      nodes.every(({ mesh }) => mesh.state.applications.size === applications)
    )
  }
  await waitUntil(alike, 40_000).catch((error: Error) => {
    throw new Error(`not ${applications} on all: ${nodes.map(describe).join('; ')}`, {
      cause: error
    })
  })
}

function describe({ name, mesh }: MeshNode): string {
  const { confirmed, tentative } = mesh.oplog.lengths()
  const { fork, system } = mesh.oplog
  const on = `${fork.epoch} ${fork.id.slice(0, 4)} ${system?.key.toString('hex').slice(0, 4)}`
  const ahead = mesh.follower.ahead()?.system.slice(0, 4) ?? 'nothing'
  const links = mesh.links.ids.length
  return `${name} ${mesh.state.applications.size} (${confirmed}/${tentative}) on ${on}, ${links} links, ${ahead} ahead`
}
