import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import { duplexPair, type Duplex } from 'node:stream'
import test from 'brittle'
import type { ForwardJson } from '../../../../apps/api.ts'
import { join } from '../../../../core/flow-stream.ts'
import { BrumeError } from '../../../../core/errors.ts'
import { waitUntil } from '../../../helpers/wait.ts'
import { cli, fakeDaemon } from '../fake-daemon.ts'

const target: ForwardJson = {
  application: 'shop',
  microservice: 'web',
  slot: null,
  ports: [],
  replicas: [{ slot: 0, node: 'n1' }]
}

test('forward - bytes both ways until Ctrl-C, an end of one way leaves the other; a refusal is said', async (t) => {
  let refuse = false
  const asked: (string | null)[] = []
  const dir = await fakeDaemon(t, {
    'GET /flows/target': () => target,
    'GET /flows': ({ query }) => {
      asked.push(query.get('ref'), query.get('port'))
      if (refuse) throw new BrumeError('NO_REPLICA', 'nobody serves')
      return { attach: (client: Duplex) => join(client, echo()) }
    }
  })
  const ending = new AbortController()
  const port = await freePort()
  const argv = ['forward', 'web', `${port}:80`, '--data', dir]
  const running = cli(argv, { interrupt: () => ending.signal })
  await waitUntil(async () => (await talk(port, 'hello')) === 'hello')
  t.alike(asked.slice(-2), ['web', '80'])
  refuse = true
  t.is(await talk(port, 'hello'), null, 'reset, no good end')
  ending.abort()
  const { code, out, err } = await running
  t.is(code, 0)
  t.is(out, `127.0.0.1:${port} → shop/web port 80\n`)
  t.is(err, 'nobody serves\n')
  t.is(await talk(port, 'again'), null, 'nobody listens any more')
})

test('forward - datagrams of UDP both ways, and nobody listens after Ctrl-C', async (t) => {
  const asked: (string | null)[] = []
  const dir = await fakeDaemon(t, {
    'GET /flows/target': () => target,
    'GET /flows': ({ query }) => {
      asked.push(query.get('port'), query.get('protocol'))
      return { attach: (client: Duplex) => join(client, echo()) }
    }
  })
  const ending = new AbortController()
  const port = await freePort()
  const argv = ['forward', 'dns', `${port}:53/udp`, '--data', dir]
  const running = cli(argv, { interrupt: () => ending.signal })
  const heard: string[] = []
  const errors: string[] = []
  const socket = dgram.createSocket('udp4')
  t.teardown(() => socket.close())
  socket.on('message', (datagram) => heard.push(String(datagram)))
  socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''))
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  await waitUntil(() => {
    socket.send('hello')
    return heard.length > 0
  })
  t.is(heard[0], 'hello')
  t.alike(asked, ['53', 'udp'], 'one flow for all of them')
  ending.abort()
  const { code, out } = await running
  t.is(code, 0)
  t.is(out, `127.0.0.1:${port} → shop/web port 53/udp\n`)
  errors.length = 0
  socket.send('again')
  await waitUntil(() => errors.length > 0)
  t.alike(errors, ['ECONNREFUSED'])
})

test('forward - what cannot be is said before anything listens', async (t) => {
  const dir = await fakeDaemon(t, { 'GET /flows/target': () => target })
  const taken = net.createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as net.AddressInfo
  const rows: [string[], RegExp][] = [
    [[`${port}:80`], /another program listens on 127\.0\.0\.1/],
    [['99999'], /expected \[LOCAL:\]PORT\[\/udp\]/],
    [['a:b'], /expected \[LOCAL:\]PORT\[\/udp\]/],
    [['80', '--address', 'here'], /expected an IP address/]
  ]
  for (const [args, sentence] of rows) {
    const { code, err } = await cli(['forward', 'web', ...args, '--data', dir])
    t.is(code, 1)
    t.ok(sentence.test(err), err)
  }
})

function echo(): Duplex {
  const [near, far] = duplexPair()
  far.pipe(far)
  return near
}

/** What comes back for `text` after this end has ended; null where the connection fails. */
async function talk(port: number, text: string): Promise<string | null> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  try {
    await once(socket, 'connect')
    socket.end(text)
    let heard = ''
    for await (const chunk of socket as AsyncIterable<Buffer>) heard += chunk.toString()
    return heard
  } catch {
    return null
  } finally {
    socket.destroy()
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
