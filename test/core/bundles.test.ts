import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import test from 'brittle'
import { pack } from 'tar-stream'
import { MAX_BUNDLE_BYTES } from '../../core/bundles.ts'
import { randomBytes } from '../../core/crypto.ts'
import type { Bundle } from '../../core/state/microservices.ts'
import { openStore } from '../../core/store.ts'
import { createMesh, untilMesh, type MeshNode } from '../helpers/mesh.ts'
import { Switchboard } from '../helpers/switchboard.ts'

const NEVER = new AbortController().signal

test('bundles - one fetched while its author lived is there for others when the author is gone', async (t) => {
  const { nodes } = await createMesh(3, t)
  const [a, b, c] = nodes as [MeshNode, MeshNode, MeshNode]
  for (const node of nodes) await untilMesh(node, (mesh) => mesh.links.ids.length === 2)
  const content = randomBytes(200_000)
  const bundle = await a.mesh.bundles.put(await tarOf('hello.bin', content))
  await b.mesh.bundles.fetch(bundle)
  await a.stop()
  const dir = await c.mesh.bundles.unpacked(bundle, NEVER)
  t.ok((await readFile(join(dir, 'hello.bin'))).equals(content))
  t.ok(c.mesh.bundles.held.has(bundle.digest))
})

test('bundles - the same files have one digest; what was unpacked is unpacked once', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [a] = nodes as [MeshNode]
  const first = await a.mesh.bundles.put(await tarOf('x', Buffer.from('same')))
  const again = await a.mesh.bundles.put(await tarOf('x', Buffer.from('same')))
  const other = await a.mesh.bundles.put(await tarOf('x', Buffer.from('other')))
  t.is(again.digest, first.digest)
  t.not(other.digest, first.digest)
  const dirs = await Promise.all([first, again].map((b) => a.mesh.bundles.unpacked(b, NEVER)))
  t.is(dirs[0], dirs[1])
})

test('bundles - bytes that are not what was deployed are refused, and nothing is unpacked', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [a, b] = nodes as [MeshNode, MeshNode]
  await untilMesh(b, (mesh) => mesh.links.ids.length === 1)
  const bundle = await a.mesh.bundles.put(await tarOf('x', Buffer.from('content')))
  const lie = { ...bundle, digest: '0'.repeat(64) }
  await t.exception(() => b.mesh.bundles.unpacked(lie, NEVER), /not what was deployed/)
  t.absent(b.mesh.bundles.held.has(lie.digest))
  await b.mesh.bundles.fetch(bundle)
  t.ok(b.mesh.bundles.held.has(bundle.digest), 'the true one is fetched all the same')
})

test('bundles - one byte too many is refused in a sentence, and is held by nobody', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [a] = nodes as [MeshNode]
  const block = Buffer.alloc(1024 * 1024)
  const many = function* (): Generator<Buffer> {
    for (let i = 0; i < MAX_BUNDLE_BYTES / block.length; i++) yield block
    yield Buffer.alloc(1)
  }
  await t.exception(() => a.mesh.bundles.put(Readable.from(many())), /larger than 32 MiB/)
  t.is(a.mesh.bundles.held.size, 0)
  const fine = await a.mesh.bundles.put(await tarOf('x', Buffer.from('after')))
  t.ok(a.mesh.bundles.held.has(fine.digest), 'the next one is taken')
})

test('bundles - a wait for files nobody has ends when it is called off', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [a] = nodes as [MeshNode]
  const nowhere = {
    digest: '1'.repeat(64),
    bytes: 10,
    core: '2'.repeat(64),
    blockOffset: 0,
    blockLength: 1,
    byteOffset: 0
  }
  const calledOff = new AbortController()
  const waiting = a.mesh.bundles.unpacked(nowhere, calledOff.signal)
  calledOff.abort()
  await t.exception(() => waiting, /no longer wanted/)
})

test('bundles - what is discarded leaves the disk, and is fetched again where it is asked for', async (t) => {
  const { nodes } = await createMesh(2, t, { openSwarm: new Switchboard().open })
  const [a, b] = nodes as [MeshNode, MeshNode]
  await untilMesh(b, (mesh) => mesh.links.ids.length === 1)
  const content = randomBytes(2_000_000)
  const bundle = await a.mesh.bundles.put(await tarOf('sub/hello.bin', content))
  const again = await a.mesh.bundles.put(await tarOf('sub/hello.bin', content))
  const other = await a.mesh.bundles.put(await tarOf('x', Buffer.from('other')))
  t.not(again.blockOffset, bundle.blockOffset)
  const dir = await b.mesh.bundles.unpacked(bundle, NEVER)
  await b.mesh.bundles.fetch(other)
  t.alike(await b.mesh.bundles.onDisk(), {
    unpacked: [bundle.digest],
    blocks: sorted([bundle, other])
  })
  t.alike((await a.mesh.bundles.onDisk()).blocks, sorted([bundle, again, other]))
  await a.mesh.bundles.discard({ unpacked: [], blocks: [again] })
  t.ok(a.mesh.bundles.held.has(bundle.digest), 'it is in another place still')

  await b.mesh.bundles.discard({ unpacked: [bundle.digest], blocks: [bundle] })
  t.alike(await b.mesh.bundles.onDisk(), { unpacked: [], blocks: [other] })
  t.alike(await readdir(join(b.dir, 'bundles')), [`${other.digest}.json`])
  t.absent(b.mesh.bundles.held.has(bundle.digest))
  await untilMesh(a, ({ gossip }) => {
    const holds = gossip.get(b.mesh.self, 'holds')?.body.digests
    return holds?.includes(bundle.digest) === false
  })
  await b.stop()
  t.alike([await hasBlocks(b, bundle), await hasBlocks(b, other)], [false, true])
  await b.restart()
  const core = b.mesh.bundles.read(bundle)
  let bytes = 0
  for await (const chunk of core) bytes += chunk.length
  t.is(bytes, bundle.bytes, 'from its author')
  t.is(await b.mesh.bundles.unpacked(bundle, NEVER), dir)
  t.ok((await readFile(join(dir, 'sub/hello.bin'))).equals(content))

  await b.restart()
  t.alike((await b.mesh.bundles.onDisk()).blocks.length, 2, 'a restart forgets none')
})

test('bundles - after a restart a node says at once what it has, and of what was lost nothing', async (t) => {
  const { nodes } = await createMesh(1, t)
  const [a] = nodes as [MeshNode]
  const [kept, lost] = [
    await a.mesh.bundles.put(await tarOf('x', randomBytes(100_000))),
    await a.mesh.bundles.put(await tarOf('y', randomBytes(100_000)))
  ]
  const told = () => a.mesh.gossip.get(a.mesh.self, 'holds')?.body.digests
  t.alike(told(), [kept.digest, lost.digest].sort())
  await a.stop()
  await clearBlocks(a, lost)
  await a.restart()
  t.alike([...a.mesh.bundles.held], [kept.digest])
  t.alike(told(), [kept.digest])
})

/** Of a node that is stopped: what a power cut does that takes the end of a store. */
async function clearBlocks(node: MeshNode, { core: key, ...bundle }: Bundle): Promise<void> {
  const store = await openStore(node.dir)
  const core = store.get({ key: Buffer.from(key, 'hex') })
  await core.ready()
  const end = bundle.blockOffset + bundle.blockLength
  await core.clear(end - 1, end)
  await store.close()
}

/** Of a node that is stopped: whether its store has them. */
async function hasBlocks(node: MeshNode, bundle: Bundle): Promise<boolean> {
  const store = await openStore(node.dir)
  const core = store.get({ key: Buffer.from(bundle.core, 'hex') })
  await core.ready()
  const has = await core.has(bundle.blockOffset, bundle.blockOffset + bundle.blockLength)
  await store.close()
  return has
}

const sorted = (bundles: Bundle[]): Bundle[] =>
  bundles.toSorted((a, b) => (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0))

async function tarOf(name: string, content: Buffer): Promise<Readable> {
  const tar = pack()
  tar.entry({ name, mtime: new Date(0) }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Readable.from(chunks)
}
