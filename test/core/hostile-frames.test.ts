import test, { type Assert } from 'brittle'
import c from 'compact-encoding'
import HyperDHT from 'hyperdht'
import Protomux, { type Channel } from 'protomux'
import { createKeyPair, fromId, randomBytes } from '../../core/crypto.ts'
import type { Connection } from '../../core/swarm.ts'
import { createMesh, untilMesh, untilState, type MeshNode } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const OURS = ['brume/join/1', 'brume/presence/1', 'brume/gossip/2', 'brume/call/1']

test('frames - a member that says anything, of any size, on any channel harms the others not at all', async (t) => {
  const { nodes } = await createMesh(3, t)
  const [a, b, hostile] = nodes as [MeshNode, MeshNode, MeshNode]
  for (const node of nodes) await untilMesh(node, ({ links }) => links.ids.length === 2)
  const kept = a.mesh.links.get(b.mesh.self)?.connection

  const payloads = [
    Buffer.alloc(0),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ...[1, 9, 200].map((length) => randomBytes(length)),
    Buffer.alloc(2 * 1024 * 1024, 0x20),
    Buffer.alloc(2 * 1024 * 1024, 0xff)
  ]
  for (const protocol of OURS) {
    await linked(a, hostile)
    const link = hostile.mesh.links.get(a.mesh.self)
    const channels = [...(link?.mux ?? [])].filter((channel) => channel.protocol === protocol)
    if (protocol !== 'brume/call/1') t.ok(channels.length > 0, `${protocol} is there to be misused`)
    for (const channel of channels) {
      for (let type = 0; type < 7; type++) {
        for (const payload of payloads) link?.connection.write(frame(channel, type, payload))
      }
    }
  }
  // Where one mux ends and another begins: frames that belong to no channel, and half of one.
  const raw = [randomBytes(5_000), Buffer.from([0x00]), Buffer.from([0xfd]), Buffer.alloc(1 << 20)]
  for (const bytes of raw) {
    await linked(a, hostile)
    hostile.mesh.links.get(a.mesh.self)?.connection.write(bytes)
  }

  await b.mesh.append([{ type: 'application.set', name: 'fine', over: null, at: 0 }])
  for (const node of nodes) await untilState(node, (state) => state.applications.has('fine'))
  t.ok(a.mesh.links.get(b.mesh.self)?.connection === kept, 'the link of the others is the same')
  await linked(a, hostile)
})

test('frames - a flood of strangers fills nothing: few are heard, members come in meanwhile', async (t) => {
  const mesh = await createMesh(3, t)
  const [a, b, c] = mesh.nodes as [MeshNode, MeshNode, MeshNode]
  await c.stop()
  const crowd = flood(mesh.bootstrap, a, 60, t)
  await waitUntil(() => crowd.tried() >= 200 || crowd.open() > 32)
  await waitUntil(() => crowd.open() > 0)

  await c.restart()
  await linked(a, c)
  await b.mesh.append([{ type: 'application.set', name: 'fine', over: null, at: 0 }])
  for (const node of [a, c]) await untilState(node, (state) => state.applications.has('fine'))
  // 16, and those whose end is on its way while the next are let in.
  t.ok(crowd.most() <= 32, `${crowd.most()} of 60 were held at once`)
  t.is(a.mesh.state.nodes.size, 3)
})

/** A frame as protomux writes it: channel, type of message, and whatever. */
function frame(channel: Channel, type: number, payload: Buffer): Buffer {
  const { _localId } = channel as unknown as { _localId: number }
  return Buffer.concat([c.encode(c.uint, _localId), c.encode(c.uint, type), payload])
}

async function linked(one: MeshNode, other: MeshNode): Promise<void> {
  await untilMesh(one, ({ links }) => links.get(other.mesh.self) !== null)
  await untilMesh(other, ({ links }) => links.get(one.mesh.self) !== null)
}

/** Strangers that connect, open the join channel, say nothing, and come again under another key. */
function flood(
  bootstrap: string,
  { mesh }: MeshNode,
  size: number,
  t: Assert
): { open(): number; most(): number; tried(): number } {
  const dht = new HyperDHT({ bootstrap: [bootstrap], host: '127.0.0.1', firewalled: false })
  const open = new Set<Connection>()
  let ended = false
  let most = 0
  let tried = 0
  const key = fromId(mesh.self)
  const again = (): void => {
    if (ended || key === null) return
    tried++
    const connection = dht.connect(key, { keyPair: createKeyPair() })
    connection.on('error', () => {})
    connection.once('open', () => {
      // The other end opens it for those it takes, and for no others.
      const onopen = (): void => {
        open.add(connection)
        most = Math.max(most, open.size)
      }
      Protomux.from(connection).createChannel({ protocol: 'brume/join/1', onopen })?.open()
    })
    connection.once('close', () => {
      open.delete(connection)
      setTimeout(again, 250)
    })
  }
  for (let i = 0; i < size; i++) again()
  t.teardown(
    async () => {
      ended = true
      await dht.destroy({ force: true })
    },
    { order: -1 }
  )
  return { open: () => open.size, most: () => most, tried: () => tried }
}
