/** A node whose store is of earlier than what peers have of it: after a power cut, or a snapshot. */
import test from 'brittle'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fromId } from '../../core/crypto.ts'
import { BrumeError } from '../../core/errors.ts'
import { untilOwnEnd, type OwnEnd } from '../../core/own-end.ts'
import { beginRun, endRun } from '../../core/run.ts'
import { silent } from '../../core/logger.ts'
import { openStore } from '../../core/store.ts'
import { writerKeyOf } from '../../core/writer-key.ts'
import { createMesh, untilState, type MeshNode } from '../helpers/mesh.ts'

const name = (i: number) => `app${i}`
const makes = (i: number) => ({
  type: 'application.set' as const,
  name: name(i),
  over: null,
  at: i
})

test('own end - a node that lost the end of what it wrote takes it back before it appends', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [n0, n1] = nodes as [MeshNode, MeshNode]
  await n1.mesh.append([makes(1)])
  await n1.stop()
  const rewind = await remember(t, n1)
  await n1.restart()
  await n1.mesh.append([makes(2)])
  await n1.mesh.append([makes(3)])
  await untilState(n0, ({ applications }) => applications.has(name(3)))
  const written = n1.mesh.oplog.ownLengths().here
  await n1.stop()
  await rewind()
  await n1.restart()
  t.ok(n1.mesh.oplog.ownLengths().here < written, 'it lost some')
  t.ok(n1.mesh.oplog.held)
  await n1.mesh.append([makes(4)])
  t.is(n1.mesh.oplog.ownLengths().here, written + 1)
  await untilState(n0, ({ applications }) => applications.has(name(4)))
  await untilState(n1, ({ applications }) => [1, 2, 3, 4].every((i) => applications.has(name(i))))
  t.alike([...n0.mesh.state.applications.keys()], [...n1.mesh.state.applications.keys()])
})

test('own end - the only indexer too: nothing is confirmed before it asked', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [n0, n1] = nodes as [MeshNode, MeshNode]
  await n0.stop()
  const rewind = await remember(t, n0)
  await n0.restart()
  await n0.mesh.append([makes(1)])
  await n1.mesh.append([makes(2)])
  await untilState(n0, ({ applications }) => applications.has(name(2)))
  await untilState(n1, ({ applications }) => applications.has(name(1)))
  // Its last block is an ack: a peer may hear of it and not get it any more.
  while (!n0.mesh.oplog.spread) await delay(20)
  await n0.stop()
  await rewind()
  await n0.restart()
  await n0.mesh.append([makes(3)])
  for (const node of nodes) {
    await untilState(node, ({ applications }) => [1, 2, 3].every((i) => applications.has(name(i))))
  }
  t.pass()
})

test('own end - what no peer has any more is not written over: who appends is told what is missing', async (t) => {
  const { nodes } = await createMesh(2, t)
  const [n0, n1] = nodes as [MeshNode, MeshNode]
  await n1.stop()
  const rewind = await remember(t, n1)
  await n1.restart()
  await n1.mesh.append([makes(1)])
  while (!n1.mesh.oplog.spread) await delay(20)
  const { known } = n1.mesh.oplog.ownLengths()
  await Promise.all(nodes.map((node) => node.stop()))
  await rewind()
  await forget(n0, n1.mesh.self, known - 1)
  await Promise.all(nodes.map((node) => node.restart()))
  const error: unknown = await n1.mesh.append([makes(2)]).catch((error: unknown) => error)
  t.ok(error instanceof BrumeError)
  t.is((error as BrumeError).code, 'OWN_OPS_MISSING')
  t.is(n1.mesh.oplog.held, true)
})

test('own end - a node whose last run ended in order, or was only killed, does not ask', async (t) => {
  const { nodes } = await createMesh(2, t)
  const n1 = nodes[1] as MeshNode
  await n1.restart()
  t.absent(n1.mesh.oplog.held)
})

test('own end - who finds nobody goes on alone, and one that answers late is waited for', async (t) => {
  const links = new Set<() => void>()
  const world = { peers: [] as string[], length: 3, theirs: 5 }
  const end: OwnEnd = {
    lengths: () => ({ here: world.length, known: world.length }),
    regain: async (length) => void (world.length = length),
    refuse: () => t.fail('all was there'),
    peers: () => world.peers,
    ask: async () => world.theirs,
    onLink: (look) => {
      links.add(look)
      return () => links.delete(look)
    },
    log: silent
  }
  const asking = untilOwnEnd(end, new AbortController().signal)
  await delay(10)
  t.is(world.length, 3)
  world.peers = ['n0']
  for (const look of [...links]) look()
  t.is(await asking, 'asked')
  t.is(world.length, 5)
  t.is(links.size, 0)
  const off = new AbortController()
  off.abort()
  t.is(await untilOwnEnd({ ...end, peers: () => [] }, off.signal), 'alone')
})

test('run - the marker tells an end, a kill and a cut apart; each cut begins another era', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true }))
  const first = await beginRun(dir, 'a')
  t.alike(first, { last: 'ended', era: '' })
  t.is((await beginRun(dir, 'a')).last, 'killed')
  const cut = await beginRun(dir, 'b')
  t.is(cut.last, 'cut')
  t.ok(/^[0-9a-f]{8}$/.test(cut.era))
  await endRun(dir, cut)
  t.alike(await beginRun(dir, 'c'), { last: 'ended', era: cut.era })
  await writeFile(join(dir, 'run.json'), '{"boo')
  t.is((await beginRun(dir, 'c')).last, 'cut', 'one that was cut itself')
})

/** As if a node had heard of another's block and never got it. */
async function forget({ dir }: MeshNode, author: string, block: number): Promise<void> {
  const store = await openStore(dir)
  const core = store.get({ key: writerKeyOf(fromId(author) as Buffer) })
  await core.ready()
  await core.clear(block)
  await store.close()
}

/** Keeps the store as it is now; the function given sets it back to that, as if power was cut then. */
async function remember(
  t: { teardown(fn: () => unknown): void },
  { dir }: MeshNode
): Promise<() => Promise<void>> {
  const kept = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(kept, { recursive: true, force: true }))
  const db = join(dir, 'store', 'db')
  await cp(db, kept, { recursive: true })
  const run = JSON.parse(await readFile(join(dir, 'run.json'), 'utf8')) as object
  return async () => {
    await rm(db, { recursive: true })
    await cp(kept, db, { recursive: true })
    await writeFile(join(dir, 'run.json'), JSON.stringify({ ...run, boot: 'x', running: true }))
  }
}
