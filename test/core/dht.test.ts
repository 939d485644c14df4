import test from 'brittle'
import HyperDHT from 'hyperdht'
import { announceLost, type Announcing } from '../../core/announced.ts'
import { createKeyPair } from '../../core/crypto.ts'
import { MeshDht, parseAddress, startBootstrapNode } from '../../core/dht.ts'
import { waitUntil } from '../helpers/wait.ts'

const ANSWER_MS = 30_000

test(
  'dht - who was announced to nobody while the network was away is found soon after it is back',
  { timeout: 120_000 },
  async (t) => {
    const before = await startBootstrapNode('127.0.0.1', undefined, 1)
    const bootstrap = [parseAddress(before.address)]
    const dht = new MeshDht({
      bootstrap,
      knownNodes: [],
      keyPair: createKeyPair(),
      topic: Buffer.alloc(32, 1),
      nodeKey: Buffer.alloc(32, 2),
      routeTo: () => ({ addresses: [], relayThrough: null }),
      onDial: () => {}
    })
    const keyPair = createKeyPair()
    const server = dht.createServer({}, (connection) => connection.destroy())
    await server.listen(keyPair)
    const known = (): boolean =>
      server.relayAddresses.some(({ port }) => port === bootstrap[0]?.port)
    t.ok(known())

    await before.close()
    await waitUntil(() => !known(), ANSWER_MS)
    const after = await startBootstrapNode('127.0.0.1', bootstrap[0]?.port, 1)
    await waitUntil(known, ANSWER_MS)
    const asker = new HyperDHT({ bootstrap: [after.address], host: '127.0.0.1' })
    t.teardown(async () => {
      await asker.destroy({ force: true })
      await dht.destroy({ force: true })
      await after.close()
    })
    const connection = asker.connect(keyPair.publicKey)
    connection.on('error', () => {})
    await new Promise<void>((resolve, reject) => {
      connection.once('open', resolve)
      connection.once('close', () => reject(new Error('nobody was found')))
    })
    connection.destroy()
    t.pass()
  }
)

test('dht - only what nobody knows is announced anew, and only where there is somebody', (t) => {
  const own = { host: '1.2.3.4', port: 49737 }
  const other = { host: '5.6.7.8', port: 49737 }
  const asked: string[] = []
  const server = (name: string, relayAddresses: (typeof own)[]) => ({
    relayAddresses,
    refresh: () => void asked.push(name),
    listen: () => Promise.reject(new Error('it does')),
    close: async () => {}
  })
  const dht: Announcing = {
    listening: new Set([
      server('links', [own, other]),
      server('data', [own]),
      server('new', []),
      server('near', [other])
    ]),
    remoteAddress: () => own,
    toArray: () => [other]
  }
  announceLost({ ...dht, toArray: () => [] })
  t.alike(asked, [])
  announceLost(dht)
  t.alike(asked, ['data', 'new'])
  asked.length = 0
  announceLost({ ...dht, remoteAddress: () => null })
  t.alike(asked, ['new'], 'who is behind a NAT has no address of its own')
})
