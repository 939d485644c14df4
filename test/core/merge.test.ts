import test from 'brittle'
import type Autobase from 'autobase'
import { fromId } from '../../core/crypto.ts'
import { acksAfterMerges } from '../../core/merge.ts'
import { openStore } from '../../core/store.ts'
import { writerKeyOf } from '../../core/writer-key.ts'
import { createMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

test('merge - nothing is acknowledged while much is to be applied, but for what does not come', (t) => {
  let now = 0
  const mayAck = acksAfterMerges(() => now)
  const base = (...lacking: number[]): Autobase<never> =>
    ({
      activeWriters: lacking.map((n) => ({ core: { length: 100 + n }, length: 100 }))
    }) as unknown as Autobase<never>
  t.ok(mayAck(base(0, 0)))
  t.ok(mayAck(base(63, -5)), 'a few are applied in no time')
  t.absent(mayAck(base(40, 40)))
  now += 14_999
  t.absent(mayAck(base(64)))
  t.ok(mayAck(base()), 'all is here')
  now += 5_000
  t.absent(mayAck(base(64)), 'the time begins anew')
  now += 15_000
  t.ok(mayAck(base(64)), 'nobody has it')
})

test('merge - what the only indexer took with it when it went is not waited for', async (t) => {
  const { nodes } = await createMesh(3, t)
  const [n0, ...others] = nodes as [MeshNode, MeshNode, MeshNode]
  const set = (name: string) => ({ type: 'application.set' as const, name, over: null, at: 1 })
  await Promise.all(others.map((node) => node.stop()))
  await n0.mesh.append([set('lost')])
  await n0.stop()
  for (const node of others) await learnLength(node, n0)
  await Promise.all(others.map((node) => node.restart()))
  const began = performance.now()
  for (const name of ['a', 'b', 'c', 'd']) {
    const [one, other] = others
    await one.mesh.append([set(name)])
    await untilState(other, ({ applications }) => applications.has(name))
    others.reverse()
  }
  // It was 12 s for each.
  t.ok(performance.now() - began < 12_000)
  t.absent(others.some(({ mesh }) => mesh.state.applications.has('lost')))
})

test('merge - a node that cannot have much confirmed says so until it is', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [indexer, other] = nodes as [MeshNode, MeshNode]
  const set = (n: number) => ({
    type: 'application.set' as const,
    name: `a${n}`,
    over: null,
    at: 1
  })
  await indexer.stop()
  await other.mesh.append([set(0)])
  t.absent(other.mesh.oplog.merging)
  await other.mesh.append(Array.from({ length: 60 }, (_, n) => set(n + 1)))
  t.ok(other.mesh.oplog.merging)
  await indexer.restart()
  await waitUntil(() => !other.mesh.oplog.merging && !indexer.mesh.oplog.merging)
  t.ok(indexer.mesh.state.applications.has('a60'))
})

/** A node hears how much another has written, and gets nothing of it. Neither runs. */
async function learnLength(node: MeshNode, from: MeshNode): Promise<void> {
  const key = writerKeyOf(fromId(from.mesh.self) as Buffer)
  const [near, far] = await Promise.all([openStore(node.dir), openStore(from.dir)])
  const ends = [near.replicate(true), far.replicate(false)] as const
  for (const end of ends) end.on('error', () => {})
  ends[0].pipe(ends[1]).pipe(ends[0])
  const cores = [near, far].map((store) => store.get({ key }))
  await Promise.all(cores.map((core) => core.ready()))
  await cores[0]?.update({ wait: true })
  for (const end of ends) end.destroy()
  await Promise.all([near.close(), far.close()])
}
