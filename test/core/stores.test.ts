/** Stores of released versions: each opens, shows the view it always had, and goes on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type Assert } from 'brittle'
import { openMesh } from '../../core/enter.ts'
import { loadIdentity } from '../../core/identity.ts'
import { silent } from '../../core/logger.ts'
import type { Mesh } from '../../core/mesh.ts'
import { conflictsOf } from '../../core/state/conflicts.ts'
import { keys } from '../../core/state/keys.ts'
import { FORMAT } from '../../core/state/mesh.ts'
import { openStore } from '../../core/store.ts'
import { loadFixture, unpackStore } from '../fixtures/fixture.ts'
import { order } from '../helpers/memory-view.ts'
import { Switchboard } from '../helpers/switchboard.ts'

const FORMATS = Array.from({ length: FORMAT }, (_, i) => i + 1)

for (const format of FORMATS) {
  test(`stores - format ${format}: today’s code makes the same view of the same ops`, async (t) => {
    const { ops, records } = await loadFixture(format)
    const [first] = ops
    const it = order(Buffer.from(first?.writer ?? '', 'hex'))
    for (const { id, writer, op } of ops) await it.apply(Buffer.from(writer, 'hex'), op, id)
    const made = [...it.view.entries].sort(([a], [b]) => (a < b ? -1 : 1))
    t.alike(
      made.map(([key, value]) => ({ key, value: JSON.parse(value) as unknown })),
      records
    )
    const types = new Set(ops.map(({ op }) => op.type))
    t.ok(types.size >= (format === 1 ? 21 : 24), `${types.size} kinds of ops are in it`)
  })

  test(`stores - format ${format}: a copy opens, shows its view, and takes more`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
    t.teardown(() => rm(dir, { recursive: true, force: true }), { order: 1 })
    await unpackStore(format, dir)
    const { records } = await loadFixture(format)
    const first = await open(t, dir)
    t.alike(await first.mesh.oplog.records(), records)
    const { conflicts } = await first.mesh.oplog.look(conflictsOf)
    t.alike(conflicts.map(({ noun }) => noun).sort(), ['microservice', 'node'])
    await first.mesh.append([{ type: 'application.set', name: 'later', over: null, at: 1 }])
    await first.close()
    const second = await open(t, dir)
    t.ok(second.mesh.state.applications.has('later'), 'also after another start')
    const kept = (await second.mesh.oplog.records()).filter(({ key }) => key.startsWith(keys.nodes))
    t.alike(
      kept,
      records.filter(({ key }) => key.startsWith(keys.nodes))
    )
  })
}

async function open(t: Assert, dir: string): Promise<{ mesh: Mesh; close: () => Promise<void> }> {
  const store = await openStore(dir)
  const identity = await loadIdentity(dir)
  const openSwarm = new Switchboard().open
  const mesh = await openMesh({ dir, store, identity, openSwarm, log: silent })
  if (mesh === null) throw new Error('it is in no mesh')
  let closed = false
  const close = async (): Promise<void> => {
    if (closed) return
    closed = true
    await mesh.close()
    await store.close()
  }
  t.teardown(close)
  return { mesh, close }
}
