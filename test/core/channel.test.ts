import { once } from 'node:events'
import { Readable } from 'node:stream'
import test from 'brittle'
import type { BrumeError } from '../../core/errors.ts'
import { linesOf } from '../../core/lines.ts'
import { createMesh, untilMesh, type MeshNode } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const PIECE = Buffer.alloc(64 * 1024)
const PIECES = 800

/** 50 MB that says how much of it was asked for. */
function source(pieces = PIECES): { stream: Readable; given: () => number } {
  let given = 0
  const stream = new Readable({
    read() {
      this.push(given++ < pieces ? PIECE : null)
    }
  })
  return { stream, given: () => given * PIECE.length }
}

async function pair(t: Parameters<typeof createMesh>[1]): Promise<[MeshNode, MeshNode]> {
  const { nodes } = await createMesh(2, t)
  const [a, b] = nodes as [MeshNode, MeshNode]
  await untilMesh(a, ({ links }) => links.get(b.mesh.self) !== null)
  await untilMesh(b, ({ links }) => links.get(a.mesh.self) !== null)
  return [a, b]
}

test('channel - a reader that waits holds the source back; one that leaves ends it', async (t) => {
  const [a, b] = await pair(t)
  const { stream: big, given } = source()
  b.mesh.channel.answer('big', async () => big)
  const stream = await a.mesh.channel.open(b.mesh.self, 'big', null, new AbortController().signal)
  await once(stream, 'readable')
  // Asks over the same link go on meanwhile, and by then the source has long stopped.
  b.mesh.channel.answer('echo', async (_from, n) => n)
  const asks = [...Array(200).keys()].map((n) => a.mesh.channel.ask(b.mesh.self, 'echo', n))
  t.alike(await Promise.all(asks), [...Array(200).keys()])
  t.ok(given() < 8 * 1024 * 1024, `${given()} bytes were taken from the source`)
  stream.destroy()
  await waitUntil(() => big.destroyed)
})

test('channel - 5 MB arrive whole', async (t) => {
  const [a, b] = await pair(t)
  b.mesh.channel.answer('big', async () => source(80).stream)
  const stream = await a.mesh.channel.open(b.mesh.self, 'big', null, new AbortController().signal)
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length
  t.is(bytes, 80 * PIECE.length)
})

test('channel - a link that dies in the middle fails its streams and asks, the next one serves', async (t) => {
  const [a, b] = await pair(t)
  b.mesh.channel.answer('big', async () => source().stream)
  b.mesh.channel.answer('never', () => new Promise(() => {}))
  b.mesh.channel.answer('echo', async (_from, n) => n)
  const stream = await a.mesh.channel.open(b.mesh.self, 'big', null, new AbortController().signal)
  const asked = a.mesh.channel.ask(b.mesh.self, 'never', null)
  const reading = once(stream, 'end')
  stream.once('data', () => a.mesh.links.get(b.mesh.self)?.connection.destroy())
  await t.exception(() => reading)
  await t.exception(() => asked, /cannot be reached/)
  await untilMesh(a, ({ links }) => links.get(b.mesh.self) !== null)
  t.is(await a.mesh.channel.ask(b.mesh.self, 'echo', 1), 1)
})

test('channel - what is larger than a call may be is refused in words', async (t) => {
  const [a, b] = await pair(t)
  b.mesh.channel.answer('echo', async (_from, text) => text)
  b.mesh.channel.answer('large', async () => 'x'.repeat(300 * 1024))
  for (const ask of [
    () => a.mesh.channel.ask(b.mesh.self, 'large', null),
    () => a.mesh.channel.ask(b.mesh.self, 'echo', 'x'.repeat(300 * 1024))
  ]) {
    try {
      await ask()
      t.fail('it was let through')
    } catch (error) {
      t.is((error as BrumeError).code, 'TOO_LARGE')
    }
  }
})

test('channel - of an answer that was over before it was read nobody waits for more', async (t) => {
  const [a, b] = await pair(t)
  b.mesh.channel.answer('none', async () => Readable.from([]))
  const { signal } = new AbortController()
  const stream = await a.mesh.channel.open(b.mesh.self, 'none', null, signal)
  await waitUntil(() => stream.readableEnded)
  for await (const line of linesOf(stream)) t.fail(`there is a line: ${line}`)
})
