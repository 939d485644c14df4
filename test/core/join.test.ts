import type { Duplex } from 'node:stream'
import test, { type Assert } from 'brittle'
import c from 'compact-encoding'
import Protomux from 'protomux'
import { writeAdmission, type Admission } from '../../core/admission.ts'
import { createKeyPair, randomBytes, toId } from '../../core/crypto.ts'
import type { BrumeError } from '../../core/errors.ts'
import type { Identity } from '../../core/identity.ts'
import type { Logger } from '../../core/logger.ts'
import { decodeMeshKey, encodeMeshKey, joinKeyPair, meshTopic } from '../../core/mesh-key.ts'
import { silent } from '../../core/logger.ts'
import { Swarm, type Connection } from '../../core/swarm.ts'
import { createMesh, untilMesh, untilState, type TestMesh } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

interface Line {
  message: string
  reason?: string
}

/** A log that keeps warnings. */
function notes(): { log: Logger; lines: Line[] } {
  const lines: Line[] = []
  const warn = (fields: object, message: string): void => void lines.push({ ...fields, message })
  return { log: { ...silent, warn }, lines }
}

function stranger(): Identity {
  const keyPair = createKeyPair()
  return { id: toId(keyPair.publicKey), keyPair }
}

/** Meets the mesh's nodes with a swarm of its own, and does with each connection what it likes. */
function haunt(
  { bootstrap, nodes }: TestMesh,
  { keyPair }: Identity,
  t: Assert,
  act: (connection: Connection) => void
): { closed: () => number } {
  let closed = 0
  const swarm = new Swarm({
    keyPair,
    topic: meshTopic(Buffer.from(nodes[0]?.mesh.membership.mesh ?? '', 'hex')),
    bootstrap: [bootstrap],
    knownNodes: [],
    log: silent
  })
  swarm.on('connection', (connection) => {
    connection.on('close', () => closed++)
    act(connection)
  })
  swarm.start()
  t.teardown(() => swarm.close())
  return { closed: () => closed }
}

/** Says one thing on the join channel, and gives what is said back. */
function hello(connection: Duplex, bytes: Buffer): { answers: unknown[] } {
  const answers: unknown[] = []
  const channel = Protomux.from(connection).createChannel({ protocol: 'brume/join/1' })
  const said = channel?.addMessage<Buffer>({ encoding: c.buffer, onmessage: () => {} })
  for (let i = 0; i < 3; i++) {
    channel?.addMessage<Buffer>({
      encoding: c.raw,
      onmessage: (answer) => void answers.push(answer.toString())
    })
  }
  channel?.open()
  said?.send(bytes)
  return { answers }
}

const helloOf = (paper: unknown): Buffer => Buffer.from(JSON.stringify({ paper, wants: true }))

test("join - papers that are wrong, forged, another node's or replayed let nobody in", async (t) => {
  const { log, lines } = notes()
  const mesh = await createMesh(2, t, { log })
  const [a, b] = mesh.nodes as [TestMesh['nodes'][0], TestMesh['nodes'][0]]
  const key = decodeMeshKey(await a.mesh.keyRing.show())
  const right = joinKeyPair(key.joinSecret)
  const wrong = joinKeyPair(randomBytes(32))
  const fields = { mesh: a.mesh.membership.paper.mesh, name: 'mallory' }
  const cases: [string, (who: Identity) => unknown, RegExp][] = [
    [
      'another secret',
      (who) => writeAdmission(who, wrong, { ...fields, joinPublicKey: toId(wrong.publicKey) }),
      /no key and no invite/
    ],
    [
      'signed with another key than it names',
      (who) => writeAdmission(who, wrong, { ...fields, joinPublicKey: toId(right.publicKey) }),
      /does not verify/
    ],
    [
      'changed after signing',
      (who): Admission => ({
        ...writeAdmission(who, right, { ...fields, joinPublicKey: toId(right.publicKey) }),
        name: 'n0'
      }),
      /does not verify/
    ],
    ['of a member, replayed', () => b.mesh.membership.paper, /of another node/],
    ['no paper', () => ({ node: { toString: 1 } }), /cannot be read/]
  ]
  for (const [what, paper, why] of cases) {
    const who = stranger()
    const said: { answers: unknown[] }[] = []
    const { closed } = haunt(mesh, who, t, (connection) => {
      said.push(hello(connection, helloOf(paper(who))))
    })
    await waitUntil(() => said.some(({ answers }) => why.test(String(answers))), 10_000)
    await waitUntil(() => closed() > 0)
    t.pass(`${what}: told why, then hung up on`)
    t.absent(String(said.map(({ answers }) => answers)).includes('encryptionKey'), 'gets no key')
  }
  t.ok(lines.some(({ message }) => message === 'a stranger was refused'))
  t.is(a.mesh.state.nodes.size, 2)
  t.alike(a.mesh.links.ids, [b.mesh.self], 'the members go on')
})

test('join - who says nothing, garbage or 10 MB is hung up on', { timeout: 60_000 }, async (t) => {
  const mesh = await createMesh(2, t)
  const [a, b] = mesh.nodes as [TestMesh['nodes'][0], TestMesh['nodes'][0]]
  const acts: Record<string, (connection: Connection) => void> = {
    nothing() {},
    garbage: (connection) => void connection.write(randomBytes(5_000)),
    'no JSON': (connection) => void hello(connection, Buffer.from('{{{{')),
    '10 MB': (connection) => void hello(connection, Buffer.alloc(10 * 1024 * 1024, 0x20))
  }
  await Promise.all(
    Object.entries(acts).map(async ([what, act]) => {
      const { closed } = haunt(mesh, stranger(), t, act)
      await waitUntil(() => closed() > 0, 30_000)
      t.pass(what)
    })
  )
  await a.mesh.append([{ type: 'application.set', name: 'app', over: null, at: 0 }])
  await untilState(b, (state) => state.applications.has('app'))
})

test('join - a key with another secret is refused with a sentence', async (t) => {
  const mesh = await createMesh(1, t)
  const key = decodeMeshKey((await mesh.nodes[0]?.mesh.keyRing.show()) ?? '')
  const other = encodeMeshKey({ ...key, joinSecret: randomBytes(32) })
  await t.exception(() => mesh.join('n1', { key: other }), /no key and no invite of this mesh/)
  t.is(mesh.nodes[0]?.mesh.state.nodes.size, 1)
})

test(
  'join - a member admitted while another was away is known when they meet',
  { timeout: 90_000 },
  async (t) => {
    const mesh = await createMesh(2, t)
    const [a, b] = mesh.nodes as [TestMesh['nodes'][0], TestMesh['nodes'][0]]
    const key = await a.mesh.keyRing.show()
    await b.stop()
    const d = await mesh.join('d', { key })
    await a.stop()
    await b.restart()
    await untilState(b, (state) => state.nodes.has(d.mesh.self), 40_000)
    await untilMesh(b, ({ links }) => links.get(d.mesh.self) !== null)
    await untilMesh(d, ({ links }) => links.get(b.mesh.self) !== null)
    await b.mesh.append([{ type: 'application.set', name: 'app', over: null, at: 0 }])
    await untilState(d, (state) => state.applications.has('app'))
  }
)

test(
  'join - a plain writer lets in, the first node being off; of two of one name the second is told',
  { timeout: 90_000 },
  async (t) => {
    const mesh = await createMesh(2, t)
    const [a, b] = mesh.nodes as [TestMesh['nodes'][0], TestMesh['nodes'][0]]
    const key = await b.mesh.keyRing.show()
    await a.stop()
    const both = await Promise.allSettled([mesh.join('pi', { key }), mesh.join('pi', { key })])
    const refused = both.find((one) => one.status === 'rejected')?.reason as BrumeError
    t.is(refused.code, 'NAME_TAKEN')
    t.is(refused.next, 'join again with --name pi-2')
    await untilState(b, (state) => state.nodes.size === 3)
    await mesh.join('pi-2', { key })
    await a.restart()
    const { nodes } = await untilState(a, (state) => state.nodes.size === 4, 40_000)
    t.alike([...nodes.values()].map(({ name }) => name).sort(), ['n0', 'n1', 'pi', 'pi-2'])
  }
)
