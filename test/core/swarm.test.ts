import { readdir, readFile, readlink } from 'node:fs/promises'
import test from 'brittle'
import { createKeyPair, hash, toId } from '../../core/crypto.ts'
import { silent } from '../../core/logger.ts'
import { startBootstrapNode, Swarm, type Connection } from '../../core/swarm.ts'
import { createMesh, untilMesh } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const topic = hash('test', Buffer.from('swarm'))

async function swarmOf(
  name: string,
  options: { bootstrap?: string[]; peers?: string[] }
): Promise<{ swarm: Swarm; met: string[]; id: string }> {
  const keyPair = createKeyPair(hash('test', Buffer.from(name)))
  const swarm = new Swarm({
    keyPair,
    topic,
    bootstrap: options.bootstrap ?? [],
    peers: options.peers ?? [],
    knownNodes: [],
    log: silent
  })
  const met: string[] = []
  swarm.on('connection', (connection: Connection, id: string) => {
    met.push(id)
    connection.on('error', () => {})
  })
  swarm.start()
  return { swarm, met, id: toId(keyPair.publicKey) }
}

test('swarm - a mesh on loopback has no socket but there', async (t) => {
  const { nodes } = await createMesh(2, t)
  for (const node of nodes) await untilMesh(node, (mesh) => mesh.alive().size === 2)
  const sockets = await ownUdpSockets()
  t.ok(sockets.length > 0)
  t.alike(
    sockets.filter(({ address, port }) => address !== '127.0.0.1' || port === 5353),
    []
  )
})

test('swarm - an address alone is enough: the node there says which one it is', async (t) => {
  const dht = await startBootstrapNode('127.0.0.1')
  const first = await swarmOf('first', { bootstrap: [dht.address] })
  t.teardown(async () => {
    await Promise.all([first.swarm.close(), second.swarm.close()])
    await dht.close()
  })
  await waitUntil(() => first.swarm.reachability() !== null)
  const [address = ''] = first.swarm.reachability()?.addresses ?? []
  const second = await swarmOf('second', { peers: [address] })
  await waitUntil(() => second.met.includes(first.id))
  t.ok(first.met.includes(second.id) || second.met.includes(first.id))
})

test('swarm - a node that was gone for long is dialled when it is back, the dead ones do not hide it', async (t) => {
  const { nodes } = await createMesh(3, t)
  const [a, b, c] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]]
  for (const node of nodes) await untilMesh(node, (mesh) => mesh.links.ids.length === 2)
  await b.stop()
  await c.stop()
  const down = a.mesh.network().find(({ id }) => id === b.mesh.self)
  t.is(down?.path, 'down')
  // Hyperswarm's own ladder would be at its end: 1, 1, 5 and 15 s.
  await waitUntil(() => /last error/.test(whyOf(a.mesh, b.mesh.self)), 30_000)
  await b.restart()
  await untilMesh(a, (mesh) => mesh.links.get(b.mesh.self) !== null)
  await untilMesh(a, (mesh) => mesh.network().some(({ path }) => path === 'lan'))
  t.ok(/reached|dialling/.test(whyOf(a.mesh, c.mesh.self)), whyOf(a.mesh, c.mesh.self))
})

const whyOf = (mesh: { network(): { id: string; why: string }[] }, id: string): string =>
  mesh.network().find((row) => row.id === id)?.why ?? ''

/** UDP sockets of this process, IPv4. */
async function ownUdpSockets(): Promise<{ address: string; port: number }[]> {
  const inodes = new Set<string>()
  for (const fd of await readdir('/proc/self/fd')) {
    const link = await readlink(`/proc/self/fd/${fd}`).catch(() => '')
    const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1]
    if (inode !== undefined) inodes.add(inode)
  }
  const lines = (await readFile('/proc/self/net/udp', 'utf8')).trim().split('\n').slice(1)
  return lines.flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    const [hex = '', port = ''] = (fields[1] ?? '').split(':')
    if (!inodes.has(fields[9] ?? '')) return []
    const address = Buffer.from(hex, 'hex').reverse().join('.')
    return [{ address, port: Number.parseInt(port, 16) }]
  })
}
