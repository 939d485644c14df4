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
    await untilMesh(a, ({ oplog }) => oplog.lengths().confirmed > stuck.tentative)
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
  await node.mesh.append([{ type: 'application.rm', name: `promoted-${node.name}`, at: 0 }])
  const { tentative } = by.mesh.oplog.lengths()
  await waitUntil(() => by.mesh.oplog.lengths().confirmed >= tentative, 30_000)
}

/** All stand on one order, with so many applications. */
async function untilAlike(nodes: MeshNode[], applications: number): Promise<void> {
  await waitUntil(() => {
    const views = nodes.map(({ mesh }) => JSON.stringify([...mesh.state.applications]))
    return (
      new Set(views).size === 1 &&
      nodes.every(({ mesh }) => mesh.state.applications.size === applications)
    )
  }, 30_000)
}
