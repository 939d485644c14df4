import test from 'brittle'
import { silent } from '../../core/logger.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { Bundle } from '../../core/state/microservices.ts'
import { keepTidy } from '../../roles/tidy.ts'
import { MemoryView } from '../helpers/memory-view.ts'
import { waitUntil } from '../helpers/wait.ts'

const bundle: Bundle = {
  digest: 'a',
  core: 'c',
  blockOffset: 0,
  blockLength: 1,
  byteOffset: 0,
  bytes: 1
}

test('tidy - looks again and again, heeds what containers have mounted, and ends', async (t) => {
  const view = new MemoryView()
  let looks = 0
  const gone: string[][] = []
  const held = { unpacked: ['a'], blocks: [bundle] }
  const mesh = {
    oplog: { look: (ask: (of: MemoryView) => unknown) => (looks++, ask(view)) },
    bundles: {
      onDisk: async () => ({ unpacked: [...held.unpacked], blocks: [...held.blocks] }),
      async discard(plan: typeof held) {
        gone.push([...plan.unpacked, ...plan.blocks.map(() => 'blocks')])
        held.unpacked = held.unpacked.filter((digest) => !plan.unpacked.includes(digest))
        held.blocks = []
      }
    }
  } as unknown as Pick<Mesh, 'oplog' | 'bundles'>
  let containers: { filesDir: string | null }[] | null = null
  const end = keepTidy(
    { mesh, containers: () => containers, log: silent },
    { everyMs: 1, graceMs: 0 }
  )
  t.teardown(end)
  await waitUntil(() => looks > 2)
  t.alike(gone, [['blocks']], 'no directory while the engine does not say')
  containers = [{ filesDir: null }, { filesDir: '/data/bundles/a' }]
  const before = looks
  await waitUntil(() => looks > before + 2)
  t.alike(gone, [['blocks']], 'nor one that a container has')
  containers = []
  await waitUntil(() => gone.length === 2)
  t.alike(gone[1], ['a'])
  end()
})
