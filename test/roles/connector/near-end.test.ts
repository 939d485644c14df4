import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import { framed } from '../../../core/datagrams.ts'
import type { BrumeError } from '../../../core/errors.ts'
import { dialOutside, NearEnds, type LocalEnd } from '../../../roles/connector/near-end.ts'
import { waitUntil } from '../../helpers/wait.ts'

const TO = { application: 'app', microservice: 'web', slot: 0 }
const ASKED = { to: TO, port: 80, protocol: 'tcp' as const }
const ASKED_UDP = { ...ASKED, protocol: 'udp' as const }

const end = (id: string, port: number | null, startedAt = 0): LocalEnd => ({
  ...TO,
  id,
  address: null,
  ports: port === null ? [] : [{ container: 80, host: port, protocol: 'tcp' }],
  exposes: [],
  startedAt
})

test('near end - the address first, then a published port; a copy that does not listen is passed over', async (t) => {
  const port = await listening(t, 'here')
  const ends = [end('a', null), { ...end('b', port), address: '127.0.0.1' }]
  t.is(await heard(new NearEnds(() => ends)), 'here')
  await refused(t, new NearEnds(() => []).dial(ASKED), 'REPLICA_NOT_HERE')
  await refused(t, new NearEnds(() => [end('a', null)]).dial(ASKED), 'PORT_CLOSED')
})

test('near end - the copy that ran first is used, until it is to end', async (t) => {
  const running = [
    end('new', await listening(t, 'new'), 2),
    end('old', await listening(t, 'old'), 1)
  ]
  const near = new NearEnds(() => running, { leavingMs: 10, drainMs: 60_000, quietMs: 1_000 })
  t.is(await heard(near), 'old')
  const held = await near.dial(ASKED)
  t.is((await once(held, 'data')).toString(), 'old')

  let isDrained = false
  const draining = near.drained(['old']).then(() => (isDrained = true))
  t.is(await heard(near), 'new')
  await sleep(100)
  t.absent(isDrained, 'a flow is on it')
  held.destroy()
  await draining

  running.shift()
  t.is(await heard(near), 'old', 'better than nobody')
})

test('near end - a flow that does not end has its time; what serves nobody is not waited for', async (t) => {
  const port = await listening(t, 'here')
  const near = new NearEnds(() => [end('a', port), end('b', null)], {
    leavingMs: 50,
    drainMs: 150,
    quietMs: 1_000
  })
  const socket = await near.dial(ASKED)
  const startMs = performance.now()
  await near.drained(['a'])
  t.ok(performance.now() - startMs >= 190)
  socket.destroy()
  const slow = new NearEnds(() => [end('b', null)], {
    leavingMs: 600_000,
    drainMs: 600_000,
    quietMs: 1_000
  })
  await slow.drained(['b', 'unknown'])
})

test('near end - datagrams go to the UDP port, and end when nobody is there', async (t) => {
  const tcp = await listening(t, 'not it')
  const { port, close } = await echo(t)
  const both = { container: 80, host: port, protocol: 'udp' as const }
  const near = new NearEnds(() => [{ ...end('a', tcp), ports: [...end('a', tcp).ports, both] }])
  const flow = await near.dial(ASKED_UDP)
  flow.write(framed(Buffer.from('hello')))
  t.alike((await once(flow, 'data'))[0], framed(Buffer.from('hello')))
  // A frame can say more than a datagram can hold.
  flow.write(framed(Buffer.alloc(65_535)))
  flow.write(framed(Buffer.from('still')))
  t.alike((await once(flow, 'data'))[0], framed(Buffer.from('still')))
  await close()
  flow.write(framed(Buffer.from('again')))
  await waitUntil(() => flow.closed)
  t.is((flow.errored as NodeJS.ErrnoException).code, 'ECONNREFUSED')
  await refused(t, new NearEnds(() => [end('a', tcp)]).dial(ASKED_UDP), 'PORT_CLOSED')
})

test('near end - a service outside is reached by UDP as well, by the name of its machine too', async (t) => {
  const { port } = await echo(t)
  for (const host of ['127.0.0.1', 'localhost']) {
    const flow = await dialOutside({ ...ASKED_UDP, port }, host)
    flow.write(framed(Buffer.from('hello')))
    t.alike((await once(flow, 'data'))[0], framed(Buffer.from('hello')))
    flow.destroy()
  }
  const nowhere = dialOutside({ ...ASKED_UDP, port }, 'nowhere.invalid')
  await refused(t, nowhere, 'PORT_CLOSED')
})

test('near end - datagrams to what is gone end, and to what is to end once they are quiet', async (t) => {
  const { port } = await echo(t)
  const udp = (id: string): LocalEnd => ({
    ...end(id, null),
    ports: [{ container: 80, host: port, protocol: 'udp' }]
  })
  let running = [udp('a')]
  const near = new NearEnds(() => running, { leavingMs: 10, drainMs: 60_000, quietMs: 200 })
  const flow = await near.dial(ASKED_UDP)
  near.review()
  t.absent(flow.destroyed)
  running = [udp('b')]
  near.review()
  t.ok(flow.destroyed)

  const asking = await near.dial(ASKED_UDP)
  let heard = 0
  asking.on('data', () => heard++)
  let isDrained = false
  const draining = near.drained(['b']).then(() => (isDrained = true))
  const startMs = performance.now()
  const asks = setInterval(() => asking.write(framed(Buffer.from('?'))), 20)
  await waitUntil(() => performance.now() - startMs > 600)
  t.absent(isDrained, 'somebody asks')
  t.ok(heard > 0)
  clearInterval(asks)
  asking.once('end', () => asking.end())
  await draining
  t.absent(asking.errored)
})

/** What is said by whoever takes a flow. */
async function heard(near: NearEnds): Promise<string> {
  const socket = await near.dial(ASKED)
  const [data] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return data.toString()
}

/** Says back what it hears. */
async function echo(t: Assert): Promise<{ port: number; close: () => Promise<void> }> {
  const socket = dgram.createSocket('udp4')
  socket.on('message', (datagram, { port, address }) => socket.send(datagram, port, address))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  const closed = once(socket, 'close')
  let isOpen = true
  const close = async (): Promise<void> => {
    if (isOpen) socket.close()
    isOpen = false
    await closed
  }
  t.teardown(close)
  return { port, close }
}

async function listening(t: Assert, says: string): Promise<number> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.write(says)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as net.AddressInfo).port
}

async function refused(t: Assert, dial: Promise<unknown>, code: string): Promise<void> {
  const error = await dial.then(
    () => null,
    (reason: unknown) => reason as BrumeError
  )
  t.is(error?.code, code, error?.message)
}
