import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { Duplex, PassThrough } from 'node:stream'
import test, { type Assert } from 'brittle'
import { BrumeError } from '../../core/errors.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { Tunnels } from '../../core/tunnels.ts'
import { createMesh, untilMesh } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

test('tunnels - a flow carries both ways, and an end of one way leaves the other open', async (t) => {
  const { a, b, from } = await pair(t)
  b.answer(async (node, head) => {
    t.is(node, from.self)
    t.alike(head, { to: 'shop/web/0', port: 80 })
    return shouting()
  })
  const flow = await a.open(idOf(t, b), { to: 'shop/web/0', port: 80 })
  flow.end('quiet')
  t.is(await read(flow), 'QUIET!', 'what was said after this end had ended')
  const [row] = a.report()
  t.is(row?.path.kind, 'lan')
  await waitUntil(() => a.report()[0]?.flows === 0)
})

test('tunnels - many flows share one connection, and a slow reader holds up no other', async (t) => {
  const { a, b } = await pair(t)
  const bytes = randomBytes(8 * 1024 * 1024)
  b.answer(async (_node, head) => {
    if (head === 'echo') return new PassThrough()
    const endless = new Duplex({
      read: () => void endless.push(bytes),
      write: (_c, _e, done) => done()
    })
    return endless
  })
  const stuck = await a.open(idOf(t, b), 'endless')
  await once(stuck, 'readable')
  const flows = await Promise.all(Array.from({ length: 50 }, () => a.open(idOf(t, b), 'echo')))
  const echoes = await Promise.all(
    flows.map(async (flow, i) => {
      flow.end(`${i}`)
      return read(flow)
    })
  )
  t.alike(echoes, Object.keys([...flows]))
  const large = await a.open(idOf(t, b), 'echo')
  large.end(bytes)
  t.ok(Buffer.compare(Buffer.from(await read(large, 'latin1'), 'latin1'), bytes) === 0)
  t.is(a.report().length, 1)
  stuck.destroy()
})

test('tunnels - a thousand flows that are echoed all at once', async (t) => {
  const { a, b } = await pair(t)
  b.answer(async () => new PassThrough())
  const message = Buffer.alloc(1024, 'm')
  const flows = await Promise.all(Array.from({ length: 1_000 }, () => a.open(idOf(t, b), 'echo')))
  const echoes = flows.map((flow) => {
    flow.write(message)
    return once(flow, 'data')
  })
  t.is((await Promise.all(echoes)).length, 1_000)
  for (const flow of flows) flow.destroy()
})

test('tunnels - what refuses a flow is told in its own words', async (t) => {
  const { a, b } = await pair(t)
  await refused(t, a.open(idOf(t, b), {}), 'NO_FLOWS')
  b.answer(() => Promise.reject(new BrumeError('NOT_HERE', 'no such replica', { next: 'look' })))
  await refused(t, a.open(idOf(t, b), {}), 'NOT_HERE')
  await refused(t, a.open('nobody', {}), 'NODE_UNREACHABLE')
  await refused(t, a.open(idOf(t, b), 'x'.repeat(9_000)), 'TOO_LARGE')
})

test('tunnels - of flows that nobody answers there are not more than 4,096 at once', async (t) => {
  const { a, b } = await pair(t)
  const asked = new AbortController()
  let answering = 0
  b.answer(async (_node, _head, signal) => {
    answering++
    await Promise.race([once(signal, 'abort'), once(asked.signal, 'abort')])
    throw new BrumeError('LATE', 'it took too long')
  })
  const codes = Array.from({ length: 4_100 }, async () => {
    try {
      return await a.open(idOf(t, b), {})
    } catch (error) {
      return (error as BrumeError).code
    }
  })
  t.is(await Promise.race(codes), 'TOO_MANY_FLOWS')
  await waitUntil(() => answering === 4_096)
  asked.abort()
  const all = await Promise.all(codes)
  t.is(all.filter((code) => code === 'LATE').length, 4_096)
  t.is(all.filter((code) => code === 'TOO_MANY_FLOWS').length, 4)
})

test('tunnels - a reset on one side is a reset on the other, never a good end', async (t) => {
  const { a, b } = await pair(t)
  const server = net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as net.AddressInfo
  b.answer(async () => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return socket
  })
  const flow = await a.open(idOf(t, b), {})
  flow.write('hello')
  flow.resume()
  const seen: string[] = []
  for (const event of ['end', 'error', 'close']) flow.on(event, () => seen.push(event))
  await waitUntil(() => seen.includes('close'))
  t.alike(seen, ['error', 'close'])
  const other = new PassThrough()
  b.answer(async () => other)
  const mine = await a.open(idOf(t, b), {})
  mine.destroy()
  await waitUntil(() => other.destroyed)
  t.absent(other.readableEnded)
})

test('tunnels - who is no member any more is hung up on, and gets no other', async (t) => {
  const { a, b, from, to } = await pair(t)
  const end = new PassThrough()
  b.answer(async () => end)
  const flow = await a.open(to.self, {})
  const seen: string[] = []
  for (const event of ['end', 'error', 'close']) flow.on(event, () => seen.push(event))
  flow.resume()
  await to.append(to.removal(from.self, true))
  await waitUntil(() => flow.destroyed && end.destroyed)
  t.alike(seen, ['error', 'close'], 'and sees no good end')
  t.absent(end.readableEnded)
  await refused(t, a.open(to.self, {}), 'NODE_UNREACHABLE')
})

test('tunnels - where an end closes, its flows see no good end', async (t) => {
  for (const closes of ['a', 'b'] as const) {
    const ends = await pair(t)
    const end = new PassThrough()
    ends.b.answer(async () => end)
    const flow = await ends.a.open(idOf(t, ends.b), {})
    const seen: string[] = []
    for (const event of ['end', 'error', 'close']) flow.on(event, () => seen.push(event))
    flow.resume()
    await ends[closes].close()
    await waitUntil(() => flow.destroyed && end.destroyed)
    t.absent(seen.includes('end'), `the near end of a flow, as ${closes} closes`)
    t.absent(end.readableEnded, `the far end, as ${closes} closes`)
  }
})

const nodes = new Map<Tunnels, Mesh>()

async function pair(t: Assert): Promise<{ a: Tunnels; b: Tunnels; from: Mesh; to: Mesh }> {
  const [one, two] = (await createMesh(2, t)).nodes
  const [from, to] = [one?.mesh, two?.mesh]
  const [a, b] = [from?.tunnels, to?.tunnels]
  if (!from || !to || !a || !b) throw new Error('two nodes have tunnels')
  nodes.set(b, to)
  for (const [mine, other] of [
    [one, to],
    [two, from]
  ] as const) {
    await untilMesh(mine!, (mesh) =>
      ['tunnel', 'net'].every((kind) => mesh.gossip.get(other.self, kind as 'net') !== null)
    )
  }
  return { a, b, from, to }
}

function idOf(t: Assert, tunnels: Tunnels): string {
  const mesh = nodes.get(tunnels)
  if (mesh === undefined) return (t.fail('an unknown end'), '')
  return mesh.self
}

/** Says what it got, louder, once the other side has ended. */
function shouting(): Duplex {
  let heard = ''
  const duplex: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      heard += chunk.toString()
      done()
    },
    final(done) {
      duplex.push(`${heard.toUpperCase()}!`)
      duplex.push(null)
      done()
    }
  })
  return duplex
}

async function read(stream: Duplex, encoding: BufferEncoding = 'utf8'): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString(encoding)
}

async function refused(t: Assert, flow: Promise<Duplex>, code: string): Promise<void> {
  try {
    await flow
    t.fail(`expected ${code}`)
  } catch (error) {
    t.is((error as BrumeError).code, code)
  }
}
