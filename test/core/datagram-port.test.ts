import dgram from 'node:dgram'
import { once } from 'node:events'
import test, { type Assert } from 'brittle'
import { openDatagramPort, type DatagramPortOptions } from '../../core/datagram-port.ts'
import { MAX_DATAGRAM_BYTES, type Datagrams } from '../../core/datagrams.ts'
import { waitUntil } from '../helpers/wait.ts'

const HERE = '127.0.0.1'

test('datagram port - each who sends has a conversation, and is answered from the port it sent to', async (t) => {
  const { port, clients } = await open(t)
  const asker = await createAsker(t, port)
  const sizes = [1, 0, 1_400, MAX_DATAGRAM_BYTES]
  for (const size of sizes) {
    asker.send(Buffer.alloc(size, size))
    await waitUntil(() => asker.heard.length === sizes.indexOf(size) + 1)
  }
  t.alike(
    asker.heard.map(({ length }) => length),
    sizes
  )
  t.ok(asker.heard.every((each) => each.every((byte) => byte === each.length % 256)))
  t.is(clients.length, 1)
  t.is((await answerTo(t, port, 'who')).toString(), 'who')
  t.is(clients.length, 2)
})

test('datagram port - when a conversation is over the next datagram begins another', async (t) => {
  const { port, clients } = await open(t, { idleMs: 50 })
  const asker = await createAsker(t, port)
  asker.send(Buffer.from('one'))
  await waitUntil(() => asker.heard.length === 1)
  await waitUntil(() => clients[0]?.destroyed === true)
  asker.send(Buffer.from('two'))
  await waitUntil(() => asker.heard.length === 2)
  t.is(clients.length, 2)
  clients[1]?.destroy(new Error('nobody takes it'))
  await waitUntil(() => clients[1]?.closed === true)
  asker.send(Buffer.from('three'))
  await waitUntil(() => asker.heard.length === 3)
  t.alike(asker.heard.map(String), ['one', 'two', 'three'])
})

test('datagram port - for one too many the one that was quiet longest ends', async (t) => {
  const { port, clients } = await open(t, { maxClients: 2 })
  const askers = [
    await createAsker(t, port),
    await createAsker(t, port),
    await createAsker(t, port)
  ]
  const ask = async (i: number): Promise<void> => {
    const asker = askers[i]
    const before = asker?.heard.length ?? 0
    asker?.send(Buffer.from('x'))
    await waitUntil(() => asker?.heard.length === before + 1)
  }
  for (const i of [0, 1, 0, 2]) await ask(i)
  await waitUntil(() => clients[1]?.destroyed === true)
  t.is(clients.length, 3)
  t.absent(clients[0]?.destroyed)
  await ask(0)
  t.is(clients.length, 3, 'who was heard of last still has its own')
})

test('datagram port - one that is taken is an error; closed, all of it ends', async (t) => {
  const { port, clients, close } = await open(t)
  const second = await open(t, { port }).catch((error: unknown) => error)
  t.is((second as NodeJS.ErrnoException).code, 'EADDRINUSE')
  await answerTo(t, port, 'who')
  close()
  t.ok(clients[0]?.destroyed)
  const again = await open(t, { port })
  t.is(again.port, port)
  t.is((await answerTo(t, port, 'again')).toString(), 'again')
})

interface Opened {
  port: number
  /** In the order in which they came. */
  clients: Datagrams[]
  close: () => void
}

/** Says back what it hears. */
async function open(t: Assert, over: Partial<DatagramPortOptions> = {}): Promise<Opened> {
  const clients: Datagrams[] = []
  const opened = await openDatagramPort({
    address: HERE,
    port: 0,
    onClient(client) {
      clients.push(client)
      client.pipe(client)
    },
    ...over
  })
  let isOpen = true
  const close = (): void => {
    if (isOpen) opened.close()
    isOpen = false
  }
  t.teardown(close)
  return { port: opened.port, clients, close }
}

interface Asker {
  heard: Buffer[]
  send(datagram: Buffer): void
}

/** Hears nobody but that port. */
async function createAsker(t: Assert, port: number): Promise<Asker> {
  const socket = dgram.createSocket('udp4')
  t.teardown(() => socket.close())
  socket.connect(port, HERE)
  await once(socket, 'connect')
  const heard: Buffer[] = []
  socket.on('message', (datagram) => heard.push(datagram))
  return { heard, send: (datagram) => socket.send(datagram) }
}

async function answerTo(t: Assert, port: number, text: string): Promise<Buffer> {
  const asker = await createAsker(t, port)
  asker.send(Buffer.from(text))
  await waitUntil(() => asker.heard.length > 0)
  return asker.heard[0] as Buffer
}
