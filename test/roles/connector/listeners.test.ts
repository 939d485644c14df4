import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { duplexPair } from 'node:stream'
import test, { type Assert } from 'brittle'
import { BrumeError } from '../../../core/errors.ts'
import { framed } from '../../../core/datagrams.ts'
import { join } from '../../../core/flow-stream.ts'
import {
  listen,
  Listeners,
  type ListenersComponents,
  type Wanted
} from '../../../roles/connector/listeners.ts'
import type { Target } from '../../../roles/connector/names.ts'
import { waitUntil } from '../../helpers/wait.ts'

const HERE = '127.0.0.1'
const ASKER = { application: 'app', microservice: 'shop' }
const target = (microservice: string, slot: number | null = null): Target => ({
  ...{ application: 'app', microservice, slot }
})
const WEB: Wanted = { target: target('web'), port: 80 }
const SLOT: Wanted = { target: target('web', 1), port: 80 }
const ADMIN: Wanted = { target: target('web'), port: 8080 }

test('listeners - each leads to what it stands for, in the name of who connects', async (t) => {
  const asked: unknown[] = []
  const listeners = await create(t, {
    askerAt: async (address) => (address === HERE ? ASKER : null),
    open: async (...args) => {
      asked.push(args)
      return answering(`${args[0].slot}:${args[1]}`)
    }
  })
  const ports = await listeners.set([WEB, SLOT, ADMIN])
  const said = await Promise.all(ports.map((port) => textOf(connect(port))))
  t.alike(said, ['null:80', '1:80', 'null:8080'])
  t.alike(asked[0], [WEB.target, 80, ASKER, 'tcp'])
})

test('listeners - a port of UDP is another than that of TCP, and each who sends has a flow', async (t) => {
  const asked: unknown[] = []
  const flows: Duplex[] = []
  const clients: Duplex[] = []
  let isKnown = true
  const listeners = await create(t, {
    askerAt: async () => (isKnown ? ASKER : null),
    open: async (...args) => {
      asked.push(args)
      return (client) => {
        clients.push(client)
        toFlow(flows)(client)
      }
    }
  })
  const udp: Wanted = { ...WEB, protocol: 'udp' }
  const [tcpPort = 0, udpPort = 0] = await listeners.set([WEB, udp])
  const client = await connectUdp(t, udpPort)
  client.send('hello')
  const flow = await nth(flows, 0)
  t.alike(asked, [[WEB.target, 80, ASKER, 'udp']])
  t.alike((await once(flow, 'data'))[0], framed(Buffer.from('hello')))
  flow.write(framed(Buffer.from('and you')))
  t.is(String((await once(client, 'message'))[0]), 'and you')

  clients[0]?.destroy()
  await waitUntil(() => {
    client.send('again')
    return flows.length === 2
  })
  t.is(asked.length, 2, 'a flow that failed makes room for another')
  isKnown = false
  const stranger = await connectUdp(t, udpPort)
  stranger.send('hello')
  client.send('last')
  const last = framed(Buffer.from('last'))
  const second = await nth(flows, 1)
  const heard: Buffer[] = []
  second.on('data', (data: Buffer) => heard.push(data))
  await waitUntil(() => Buffer.concat(heard).includes(last))
  t.is(asked.length, 2, 'nobody is asked for a stranger')

  await listeners.set([WEB])
  const refusal = once(client, 'error')
  client.send('nobody listens')
  t.is(((await refusal)[0] as NodeJS.ErrnoException).code, 'ECONNREFUSED')
  isKnown = true
  const tcp = connect(tcpPort)
  tcp.on('error', () => {})
  await nth(flows, 2)
  tcp.destroy()
})

test('listeners - who is unknown is reset, and where nobody takes a flow, who asked for it', async (t) => {
  let opened = 0
  const listeners = await create(t, {
    open: async () => {
      opened++
      throw new BrumeError('NO_REPLICA', 'nobody serves')
    }
  })
  const [port = 0] = await listeners.set([WEB])
  t.is(await errorOf(connect(port)), 'ECONNRESET')
  t.is(opened, 1)
  const strangers = await create(t, {
    askerAt: async () => null,
    open: async () => {
      opened++
      return answering('hello')
    }
  })
  const [other = 0] = await strangers.set([WEB])
  t.is(await errorOf(connect(other)), 'ECONNRESET')
  t.is(opened, 1, 'nobody is asked')
  const broken = await create(t, { askerAt: () => Promise.reject(new Error('no engine')) })
  const [third = 0] = await broken.set([WEB])
  t.is(await errorOf(connect(third)), 'ECONNRESET')
})

test('listeners - either side can end first, and hear the other to its end', async (t) => {
  const flows: Duplex[] = []
  const listeners = await create(t, { open: async () => toFlow(flows) })
  const [port = 0] = await listeners.set([WEB])
  const asks = connect(port)
  asks.end('question')
  const flow = await nth(flows, 0)
  t.is(await textOf(flow), 'question')
  flow.write('an ')
  flow.end('answer')
  t.is(await textOf(asks), 'an answer')

  const told = connect(port)
  const speaks = await nth(flows, 1)
  speaks.end('news')
  t.is(await textOf(told), 'news')
  told.end('thanks')
  t.is(await textOf(speaks), 'thanks')
})

test('listeners - what is said before somebody takes the flow is not lost', async (t) => {
  const flows: Duplex[] = []
  let take = (): void => undefined
  const taken = new Promise<void>((resolve) => (take = resolve))
  const listeners = await create(t, { open: () => taken.then(() => toFlow(flows)) })
  const [port = 0] = await listeners.set([WEB])
  const client = connect(port)
  const bytes = 'x'.repeat(300_000)
  client.end(bytes)
  await once(client, 'connect')
  take()
  t.is(await textOf(await nth(flows, 0)), bytes)
})

test('listeners - what is wanted no more is closed, its flows go on; what stays keeps its port', async (t) => {
  const flows: Duplex[] = []
  const listeners = await create(t, { open: async () => toFlow(flows) })
  const [web = 0, slot = 0] = await listeners.set([WEB, SLOT])
  const client = connect(web)
  const flow = await nth(flows, 0)
  t.alike(await listeners.set([SLOT]), [slot])
  t.is(await errorOf(connect(web)), 'ECONNREFUSED')
  flow.write('still')
  t.is(String((await once(client, 'data'))[0]), 'still')
  client.write('here')
  t.is(String((await once(flow, 'data'))[0]), 'here')
  const [again = 0] = await listeners.set([WEB, SLOT])
  connect(again)
  await nth(flows, 1)
  const ended = errorOf(client)
  listeners.close()
  await ended
  for (const port of [again, slot]) t.is(await errorOf(connect(port)), 'ECONNREFUSED')
})

test('listeners - what is wanted twice is listened for once', async (t) => {
  const listeners = await create(t, { open: async () => answering('hello') })
  const [one = 0, two = 0] = await listeners.set([WEB, { ...WEB }])
  t.is(one, two)
  await listeners.set([])
  for (const port of [one, two]) t.is(await errorOf(connect(port)), 'ECONNREFUSED')
})

test('listeners - closed while somebody is waited for, who asked is gone when they come', async (t) => {
  let take = (): void => undefined
  const taken = new Promise<void>((resolve) => (take = resolve))
  const joined: boolean[] = []
  let asked = 0
  const listeners = await create(t, {
    async open() {
      asked++
      await taken
      return (client) => void joined.push(client.destroyed)
    }
  })
  const [port = 0] = await listeners.set([WEB])
  const ended = errorOf(connect(port))
  await waitUntil(() => asked === 1)
  listeners.close()
  await ended
  take()
  await waitUntil(() => joined.length === 1)
  t.alike(joined, [true])
})

test('listeners - a port that is taken is an error', async (t) => {
  const server = net.createServer()
  const port = await listen(server, HERE)
  t.teardown(() => server.close())
  const other = net.createServer()
  const error = await listen(other, HERE, port).catch((reason: unknown) => reason)
  t.is((error as NodeJS.ErrnoException).code, 'EADDRINUSE')
})

async function create(t: Assert, over: Partial<ListenersComponents>): Promise<Listeners> {
  const listeners = new Listeners({
    address: HERE,
    askerAt: async () => ASKER,
    open: async () => answering(''),
    log: { info() {}, warn() {}, error() {}, debug() {} },
    ...over
  })
  t.teardown(() => listeners.close())
  return listeners
}

/** A flow of this end, whose far end goes to `flows`. */
function toFlow(flows: Duplex[]): (client: Duplex) => void {
  const [near, far] = duplexPair()
  far.on('error', () => {})
  return (client) => {
    if (client.destroyed) near.end()
    else join(client, near)
    flows.push(far)
  }
}

const answering =
  (what: string) =>
  (client: Duplex): void =>
    void client.end(what)

async function connectUdp(t: Assert, port: number): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4')
  t.teardown(() => socket.close())
  socket.connect(port, HERE)
  await once(socket, 'connect')
  return socket
}

const connect = (port: number): net.Socket => net.connect({ port, host: HERE, allowHalfOpen: true })

/** All it says. It can be spoken to further. */
async function textOf(stream: Duplex): Promise<string> {
  let text = ''
  stream.on('data', (data) => (text += String(data)))
  await once(stream, 'end')
  return text
}

/** What it ends with; null where it ends well. */
function errorOf(socket: net.Socket): Promise<string | null> {
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.once('close', () => resolve(null))
    socket.once('end', () => socket.end())
    socket.resume()
  })
}

async function nth(flows: Duplex[], i: number): Promise<Duplex> {
  await waitUntil(() => flows.length > i)
  return flows[i] as Duplex
}
