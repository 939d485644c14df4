import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type Assert } from 'brittle'
import type { BrumeError } from '../../../core/errors.ts'
import { NearEnds, type LocalEnd } from '../../../roles/connector/near-end.ts'

const TO = { application: 'app', microservice: 'web', slot: 0 }
const ASKED = { to: TO, port: 80 }

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
  const near = new NearEnds(() => running, { leavingMs: 10, drainMs: 60_000 })
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
  const near = new NearEnds(() => [end('a', port), end('b', null)], { leavingMs: 50, drainMs: 150 })
  const socket = await near.dial(ASKED)
  const startMs = performance.now()
  await near.drained(['a'])
  t.ok(performance.now() - startMs >= 190)
  socket.destroy()
  const slow = new NearEnds(() => [end('b', null)], { leavingMs: 600_000, drainMs: 600_000 })
  await slow.drained(['b', 'unknown'])
})

/** What is said by whoever takes a flow. */
async function heard(near: NearEnds): Promise<string> {
  const socket = await near.dial(ASKED)
  const [data] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return data.toString()
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
