import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import test from 'brittle'
import type { HoldsBody } from '../../core/gossip-records.ts'
import { createMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { specWith } from '../helpers/spec.ts'

const MARKER = 'a-secret-nobody-reads-from-the-disk'

test('at rest - env, gossip and bundles are on no disk in the clear', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [a, b] = nodes as [MeshNode, MeshNode]
  const spec = specWith({
    image: null,
    files: await a.mesh.bundles.put(Readable.from([Buffer.from(`bundle ${MARKER}`)])),
    command: [],
    env: { KEY: MARKER }
  })
  const app = { application: 'app', over: null, at: 0 }
  await a.mesh.append([
    { type: 'application.set', name: 'app', over: null, at: 0 },
    { type: 'microservice.set', name: 'web', spec, ...app }
  ])
  const holds: HoldsBody = { digests: [MARKER] }
  a.mesh.gossip.publish('holds', holds)
  const { microservices } = await untilState(b, (state) => state.microservices.has('app/web'))
  t.is(microservices.get('app/web')?.spec.env['KEY'], MARKER)
  if (spec.files !== null) await b.mesh.bundles.fetch(spec.files)
  for (const node of nodes) await node.stop()
  for (const { dir, name } of nodes) {
    const found: string[] = []
    let files = 0
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      files++
      const bytes = await readFile(join(entry.parentPath, entry.name))
      if (bytes.includes(MARKER)) found.push(entry.name)
    }
    t.alike(found, [], name)
    t.ok(files > 3, 'there was something to look at')
  }
})
