/**
 * Three meshes in this process, linked as anywhere: UDX and Noise over loopback, a store each on
 * disk. One op is under way at a time. In one process the three share a core, which three daemons
 * need not, and a clock, which makes a difference of two of its times exact.
 */
import type { Assert } from 'brittle'
import type { Mesh } from '../core/mesh.ts'
import { createMesh, untilMesh, untilState } from '../test/helpers/mesh.ts'
import { declare } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'

const RUNS = 200
const WARM_UP = 20

export const append = declare<{ nodes3: Durations }>({
  question: 'append: from a call of append on one of 3 nodes until the last node’s view shows it',

  async run({ runs }, during) {
    const { nodes } = await createMesh(3, during as unknown as Assert)
    for (const node of nodes) {
      await untilState(node, (state) => state.nodes.size === 3)
      await untilMesh(node, (mesh) => mesh.links.ids.length === 2)
    }
    const meshes = nodes.map(({ mesh }) => mesh)
    const samples: number[] = []
    for (let i = 0; i < (runs ?? RUNS) + WARM_UP; i++) {
      const author = meshes[i % meshes.length]
      if (author === undefined) throw new Error('there is no such mesh')
      const ms = await appendOnce(author, meshes, i)
      if (i >= WARM_UP) samples.push(ms)
    }
    return { nodes3: durations(samples) }
  },

  rows: ({ nodes3 }) => [
    {
      what: 'append → visible on all, 3 nodes',
      measured: spread(nodes3),
      must: { be: 'p50 ≤ 50 ms', holds: nodes3.p50Ms <= 50 }
    }
  ]
})

async function appendOnce(author: Mesh, meshes: Mesh[], i: number): Promise<number> {
  const node = author.self
  const over = author.me?.op ?? null
  const labels = { run: String(i) }
  const started = performance.now()
  const seen = meshes.map((mesh) =>
    untilState({ mesh }, ({ nodes }) => nodes.get(node)?.labels['run'] === labels.run)
  )
  await author.append([{ type: 'node.set', node, labels, over, at: Date.now() }])
  await Promise.all(seen)
  return performance.now() - started
}
