import { join } from 'node:path'
import Autobase from 'autobase'
import test from 'brittle'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import { randomBytes } from '../../core/crypto.ts'
import { loadIdentity } from '../../core/identity.ts'
import { silent } from '../../core/logger.ts'
import { loadMembership } from '../../core/membership.ts'
import { MAX_OP_BYTES } from '../../core/state/index.ts'
import { createMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const at = Date.now()

test('hostile ops - what a writer may not write, or nobody could, is refused, told once, and harms nobody', async (t) => {
  const told: { op: string; reason: string }[] = []
  const log = {
    ...silent,
    warn(fields: object, message: string) {
      if (message === 'an op was refused') told.push(fields as (typeof told)[number])
    }
  }
  const { nodes } = await createMesh(3, t, { defaultRole: 'node', log })
  const [a, hostile, c] = nodes as [MeshNode, MeshNode, MeshNode]
  for (const node of nodes) await untilState(node, (state) => state.nodes.size === 3)

  await hostile.stop()
  const text = (op: object): Buffer => Buffer.from(JSON.stringify(op))
  const blocks = [
    text({ type: 'application.set', name: 'mine', over: null, at }),
    text({ type: 'node.set', node: hostile.mesh.self, role: 'admin', over: null, at }),
    text({ type: 'node.set', node: hostile.mesh.self, labels: { zone: 'vault' }, over: null, at }),
    text({ type: 'lease.claim', term: 99, at }),
    text({ type: 'nobody.knows', at }),
    text({ type: 'application.set', name: 'x'.repeat(MAX_OP_BYTES), over: null, at }),
    Buffer.from('{"type":"application.set","__proto__":{"role":"admin"}'),
    Buffer.from('['.repeat(100_000)),
    // About as large as a block of Hypercore may be; it appends no larger one, and its wire carries none.
    Buffer.alloc(14 * 1024 * 1024, '{'),
    randomBytes(1_000)
  ]
  await appendRaw(hostile, blocks)
  await hostile.restart()

  // The hostile daemon applied nothing of it: what it says of its own ops is its affair.
  for (const node of [a, c]) {
    const { mesh } = node
    await waitUntil(() => mesh.oplog.refused.size === blocks.length, 40_000)
    t.is(mesh.state.applications.size, 0)
    t.is(mesh.state.nodes.get(hostile.mesh.self)?.role, 'node')
    t.alike(mesh.state.nodes.get(hostile.mesh.self)?.labels, {})
    t.is(mesh.state.lease, null)
  }
  const perOp = new Map<string, number>()
  for (const { op } of told) perOp.set(op, (perOp.get(op) ?? 0) + 1)
  const most = told.length <= blocks.length * nodes.length
  t.is(perOp.size, blocks.length)
  t.ok(most && [...perOp.values()].every((times) => times >= 2), 'each node tells of each op once')

  await a.mesh.append([{ type: 'application.set', name: 'fine', over: null, at }])
  for (const node of [a, hostile, c]) {
    await untilState(node, (state) => state.applications.has('fine'))
  }
  t.pass('the mesh goes on, its member too')
})

/** Writes blocks into a stopped node's own core, as a daemon that checks nothing would. */
async function appendRaw(node: MeshNode, blocks: Buffer[]): Promise<void> {
  const { keyPair } = await loadIdentity(node.dir)
  const membership = await loadMembership(node.dir)
  if (membership === null) throw new Error(`${node.name} is in no mesh`)
  const store = new Corestore(join(node.dir, 'store'))
  const base = new Autobase<Hyperbee<unknown>>(store, Buffer.from(membership.mesh, 'hex'), {
    valueEncoding: 'binary',
    ackInterval: 1000,
    bigBatches: true,
    encryptionKey: Buffer.from(membership.encryptionKey, 'hex'),
    keyPair,
    open: (views) =>
      new Hyperbee(views.get('view'), {
        extension: false,
        keyEncoding: 'utf-8',
        valueEncoding: 'json'
      }),
    apply: async () => {},
    close: (view) => view.close()
  })
  await base.ready()
  await base.append(blocks)
  await base.close()
  await store.close()
}
