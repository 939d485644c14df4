import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type Assert } from 'brittle'
import c from 'compact-encoding'
import fc from 'fast-check'
import { createKeyPair, hash, sign } from '../../core/crypto.ts'
import { Gossip, REFRESH_MS } from '../../core/gossip.ts'
import { bodyHash, digests, MAX_SEQ, wants, wires, type Wire } from '../../core/gossip-wire.ts'
import { silent } from '../../core/logger.ts'
import {
  createGossipNet,
  linkAll,
  MESH_KEY,
  type GossipNet,
  type GossipNode
} from '../helpers/gossip-net.ts'

const DIGEST = 'd'.repeat(64)
const YEAR_MS = 365 * 86_400_000

test('gossip - a change is everywhere at once, a large one as soon as it is pulled', async (t) => {
  const net = ring(12)
  await net.run(3000)
  at(net, 0).gossip.publish('holds', { digests: [DIGEST] })
  await net.run(12 * 5)
  t.ok(
    all(net, (node) => node.gossip.get(at(net, 0).id, 'holds') !== null),
    'flooded: 6 hops'
  )
  const many = { digests: Array.from({ length: 1000 }, (_, i) => String(i).padStart(64, '0')) }
  at(net, 0).gossip.publish('holds', many)
  await net.run(40)
  t.absent(
    all(net, (node) => heldBy(node, at(net, 0)) === 1000),
    'asked for hop by hop'
  )
  await net.run(60)
  t.ok(all(net, (node) => heldBy(node, at(net, 0)) === 1000))
})

test('gossip - a refresh reaches all, is no change, and nothing is sent that is known', async (t) => {
  const net = ring(8)
  publishLinks(net)
  await net.run(3000)
  let changes = 0
  for (const { gossip } of net.nodes) gossip.on('change', () => changes++)
  const bytes = sum(net)
  for (let minute = 0; minute < 15; minute++) {
    await net.run(60_000)
    for (const node of net.nodes) {
      for (const { receivedAt } of node.gossip.all('links').values()) {
        if (net.now() - receivedAt > 1.5 * REFRESH_MS) t.fail('a record of a live node grew old')
      }
    }
  }
  t.is(changes, 0)
  const perLink = (sum(net) - bytes) / 900 / net.links.length
  t.ok(perLink < 100, `${perLink.toFixed(0)} bytes a second and link`)
})

test('gossip - fifty nodes with nothing to say cost a link less than 400 bytes a second', async (t) => {
  const net = createGossipNet(50, { delayMs: 20 })
  linkAll(net, 10)
  publishLinks(net)
  for (const { gossip } of net.nodes) gossip.publish('status', { containers: [], failing: [] })
  await net.run(30_000)
  const before = sum(net)
  await net.run(180_000)
  const perLink = (sum(net) - before) / 180 / net.links.length
  t.ok(perLink < 400, `${perLink.toFixed(0)} bytes a second and link`)
})

test('gossip - what changed is soon on fifty nodes of ten links each, and comes to few twice over', async (t) => {
  const net = createGossipNet(50, { delayMs: 20 })
  linkAll(net, 10)
  await net.run(3000)
  const before = sum(net)
  const said = { digests: Array.from({ length: 12 }, (_, i) => String(i).padStart(64, '0')) }
  at(net, 0).gossip.publish('holds', said)
  await net.run(1000)
  t.ok(all(net, (node) => heldBy(node, at(net, 0)) === 12))
  const copies = (sum(net) - before) / JSON.stringify(said).length / 50
  // Each of ten neighbours would send one else.
  t.ok(copies < 8, `${copies.toFixed(1)} times its size came to each`)
})

test('gossip - who meets after an absence gets the newest of all, both ways', async (t) => {
  const net = createGossipNet(4)
  net.link(0, 1)
  net.link(2, 3)
  for (const [i, { gossip }] of net.nodes.entries()) {
    for (let n = 0; n <= i; n++)
      gossip.publish('holds', { digests: Array<string>(n + 1).fill(DIGEST) })
  }
  await net.run(1000)
  t.is(at(net, 0).gossip.all('holds').size, 2)
  net.link(1, 2)
  await net.run(1000)
  for (const node of net.nodes) {
    t.alike(
      net.nodes.map((author) => heldBy(node, author)),
      [1, 2, 3, 4]
    )
  }
})

test('gossip - the newest wins everywhere, whatever links come and go', async (t) => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('say' as const),
      node: fc.nat(5),
      n: fc.integer({ min: 1, max: 30 })
    }),
    fc.record({ do: fc.constant('link' as const), a: fc.nat(5), b: fc.nat(5) }),
    fc.record({ do: fc.constant('cut' as const), i: fc.nat(9) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(3000) })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const net = createGossipNet(6, { delayMs: 30 })
      const said = new Map<GossipNode, number>()
      for (const s of steps) {
        if (s.do === 'say') {
          said.set(at(net, s.node), s.n)
          at(net, s.node).gossip.publish('holds', { digests: Array<string>(s.n).fill(DIGEST) })
        }
        if (s.do === 'link' && s.a !== s.b) net.link(s.a, s.b)
        if (s.do === 'cut') net.links[s.i]?.cut()
        if (s.do === 'wait') await net.run(s.ms)
      }
      for (let i = 1; i < 6; i++) net.link(i - 1, i)
      await net.run(5000)
      for (const node of net.nodes) {
        for (const [author, n] of said) if (heldBy(node, author) !== n) return false
      }
      return true
    }),
    { numRuns: 60 }
  )
  t.pass()
})

test('gossip - wall clocks a year ahead or behind do not matter, nor one that jumps', async (t) => {
  const net = ring(4)
  const [a, b] = [at(net, 0), at(net, 1)]
  a.wallSkewMs = YEAR_MS
  b.wallSkewMs = -60 * YEAR_MS
  for (const [n, skew] of [YEAR_MS, -YEAR_MS, 0, 9e15, -9e15].entries()) {
    a.wallSkewMs = skew
    a.gossip.publish('holds', { digests: Array<string>(n + 1).fill(DIGEST) })
    b.gossip.publish('holds', { digests: Array<string>(n + 1).fill(DIGEST) })
    await net.run(1000)
    for (const node of net.nodes) t.alike([heldBy(node, a), heldBy(node, b)], [n + 1, n + 1])
  }
  t.ok((a.gossip.get(a.id, 'holds')?.seq ?? 0) <= 2 ** 47 + 5, 'numbers are left for ever')
})

test('gossip - after a lost disk a node goes on past what it said before', async (t) => {
  const net = ring(3)
  const a = at(net, 0)
  a.wallSkewMs = YEAR_MS
  a.gossip.publish('holds', { digests: [DIGEST, DIGEST] })
  await net.run(1000)
  // The same node with an empty disk and a clock that was put right.
  const again = createGossipNet(3)
  const heard = again.stranger(at(net, 1).id, 0)
  const before = recordOf(a, 'holds')
  at(again, 0).gossip.publish('holds', { digests: [DIGEST] })
  await again.run(1000)
  heard.send[0]?.(encode(wires, [before]))
  await again.run(2500)
  const { seq = 0 } = at(again, 0).gossip.get(a.id, 'holds') ?? {}
  t.ok(seq > before.seq, 'past its own words')
  t.is(at(again, 0).gossip.get(a.id, 'holds')?.body.digests.length, 1)
})

test('gossip - of two bodies under one number the author says which it means, whoever holds the other', async (t) => {
  const bodies = [{ digests: [] }, { digests: [DIGEST] }]
  for (const [now, before] of [bodies, [...bodies].reverse()]) {
    const net = createGossipNet(3)
    const a = at(net, 0)
    const heard = net.stranger('stranger', 2)
    await net.run(1000)
    a.gossip.publish('holds', now as { digests: string[] })
    // From before its disk lost that, heard by one who does not meet it.
    const { seq = 0 } = a.gossip.get(a.id, 'holds') ?? {}
    heard.send[0]?.(encode(wires, [record(a.keyPair, 'holds', seq, before)]))
    await net.run(1000)
    net.link(0, 1)
    net.link(1, 2)
    await net.run(3000)
    for (const node of net.nodes) t.alike(node.gossip.get(a.id, 'holds')?.body, now)
  }
})

test('gossip - two daemons with one key do not talk each other up', async (t) => {
  const net = createGossipNet(2)
  const [one] = createGossipNet(1).nodes as [GossipNode]
  const twin = at(net, 0)
  const relay = net.stranger(at(net, 1).id, 0)
  let said = 0
  twin.gossip.on('change', () => said++)
  one.gossip.publish('holds', { digests: [] })
  twin.gossip.publish('holds', { digests: [DIGEST] })
  for (let tenth = 0; tenth < 200; tenth++) {
    const seq = (twin.gossip.get(twin.id, 'holds')?.seq ?? 0) + 1
    relay.send[0]?.(encode(wires, [record(one.keyPair, 'holds', seq, { digests: [] })]))
    await net.run(100)
  }
  const seq = twin.gossip.get(twin.id, 'holds')?.seq ?? 0
  t.ok(relay.got[2]?.length, 'it goes past its other half')
  t.ok((relay.got[2]?.length ?? 0) <= 25 && said <= 25, `${relay.got[2]?.length} times in 20 s`)
  t.ok(seq > 0)
})

test('gossip - what is forged, of another mesh, not a member, too large or unreadable is not taken', async (t) => {
  const net = createGossipNet(3)
  const [victim, author] = [at(net, 0), at(net, 1)]
  const outsider = createKeyPair(hash('test', Buffer.from('outsider')))
  const stranger = net.stranger(author.id, 0)
  const good = record(author.keyPair, 'holds', 5, { digests: [] })
  const bad: Wire[] = [
    { ...good, seq: 6 },
    { ...good, kind: 'status' },
    { ...good, body: Buffer.from('{"digests":[1]}') },
    { ...good, node: at(net, 2).keyPair.publicKey },
    { ...good, signature: Buffer.alloc(64) },
    record(outsider, 'holds', 5, { digests: [] }),
    record(author.keyPair, 'holds', 7, { digests: 'none' }),
    record(author.keyPair, 'HOLDS', 7, { digests: [] }),
    record(author.keyPair, '', 7, {}),
    record(author.keyPair, 'other', 7, 'x'.repeat(256 * 1024)),
    { ...record(author.keyPair, 'other', 7, {}), body: Buffer.from('{') }
  ]
  for (const wire of bad) {
    stranger.send[0]?.(encode(wires, [wire]))
    await net.run(200)
  }
  t.is(victim.gossip.all('holds').size, 0)
  t.is(victim.gossip.all('status').size, 0)
  stranger.send[0]?.(encode(wires, [good]))
  await net.run(200)
  t.is(victim.gossip.get(author.id, 'holds')?.seq, 5)
  stranger.send[0]?.(encode(wires, [record(author.keyPair, 'holds', 4, { digests: [DIGEST] })]))
  await net.run(200)
  t.is(victim.gossip.get(author.id, 'holds')?.seq, 5, 'nor what is older')
  t.ok(stranger.connected())
})

test('gossip - garbage ends no connection and costs nobody else anything', async (t) => {
  const net = createGossipNet(2)
  net.link(0, 1)
  const stranger = net.stranger(at(net, 1).id, 0)
  await net.run(100)
  await fc.assert(
    fc.asyncProperty(fc.nat(3), fc.uint8Array({ maxLength: 300 }), async (message, bytes) => {
      stranger.send[message]?.(Buffer.from(bytes))
      await net.run(10)
      return stranger.connected()
    }),
    { numRuns: 400 }
  )
  at(net, 1).gossip.publish('holds', { digests: [DIGEST] })
  await net.run(100)
  t.is(heldBy(at(net, 0), at(net, 1)), 1)
})

test('gossip - an author who floods is slowed down at the first honest node, its last word is kept', async (t) => {
  const net = createGossipNet(4)
  net.link(0, 1)
  net.link(0, 2)
  const flood = net.stranger(at(net, 3).id, 0)
  let taken = 0
  at(net, 1).gossip.on('change', (node) => void (node === at(net, 3).id && taken++))
  const send = (n: number): void =>
    flood.send[0]?.(encode(wires, [record(at(net, 3).keyPair, 'other', n, { n })]))
  for (let n = 1; n <= 3000; n++) {
    send(n)
    if (n % 100 === 0) await net.run(1000)
  }
  t.ok(taken < 30 * 20 + 100, `${taken} of 3000 in 30 s`)
  await net.run(5000)
  t.ok((flood.got[2]?.length ?? 0) > 1, 'it is asked again for what was not taken')
  at(net, 2).gossip.publish('holds', { digests: [DIGEST] })
  await net.run(1000)
  t.is(heldBy(at(net, 1), at(net, 2)), 1, 'others are not slowed')
})

test('gossip - a member fills no memory: kinds, bytes an author, bytes in all', async (t) => {
  const net = createGossipNet(40)
  const victim = at(net, 0)
  for (let i = 1; i < 40; i++) {
    const author = at(net, i)
    const stranger = net.stranger(author.id, 0)
    for (let k = 0; k < 30; k++) {
      const kind = String.fromCharCode(97 + (k % 26), 97 + i / 26)
      stranger.send[0]?.(encode(wires, [record(author.keyPair, kind, 1, 'x'.repeat(100_000))]))
    }
  }
  await net.run(60_000)
  const everything = net.stranger(at(net, 1).id, 0)
  await net.run(1000)
  const [vector] = everything.got[2] ?? []
  const known = digests.decode({ start: 0, end: vector?.length ?? 0, buffer: vector as Buffer })
  t.ok((known?.list.length ?? 0) <= 16e6 / 100_000 + 10, `${known?.list.length} records`)
  victim.gossip.publish('holds', { digests: [DIGEST] })
  t.is(victim.gossip.all('holds').size, 1, 'there is always room for its own')
})

test('gossip - who asks for everything again and again gets it at a measured pace', async (t) => {
  const net = createGossipNet(2)
  net.nodes[0]?.gossip.publish('status', {
    containers: [],
    failing: Array.from({ length: 500 }, (_, i) => `app/web@${String(i).padStart(200, '0')}`)
  })
  const greedy = net.stranger(at(net, 1).id, 0)
  const want = { prefix: at(net, 0).keyPair.publicKey.subarray(0, 8), kind: '', whole: true }
  for (let i = 0; i < 2000; i++) {
    greedy.send[3]?.(encode(wants, [want]))
    if (i % 100 === 0) await net.run(100)
  }
  await net.run(100)
  const bytes = greedy.got[0]?.reduce((total, { length }) => total + length, 0) ?? 0
  t.ok(bytes < 30e6, `${bytes} bytes for 2,000 questions`)
})

test('gossip - a peer that promises and does not give keeps nothing from anybody', async (t) => {
  const net = createGossipNet(3)
  const [victim, author] = [at(net, 0), at(net, 1)]
  const liar = net.stranger(at(net, 2).id, 0)
  const honest = net.stranger(author.id, 0)
  const wire = record(author.keyPair, 'holds', 9, { digests: [DIGEST] })
  const entry = {
    prefix: wire.node.subarray(0, 8),
    kind: 'holds',
    mark: bodyHash(wire.body).subarray(0, 4)
  }
  liar.send[2]?.(encode(digests, { complete: false, list: [{ ...entry, seq: MAX_SEQ }] }))
  await net.run(100)
  honest.send[2]?.(encode(digests, { complete: false, list: [{ ...entry, seq: 9 }] }))
  await net.run(4000)
  t.ok(
    (liar.got[3]?.length ?? 0) > 0 && (honest.got[3]?.length ?? 0) > 0,
    'the other was asked too'
  )
  honest.send[0]?.(encode(wires, [wire]))
  await net.run(100)
  t.is(heldBy(victim, author), 1)
})

test('gossip - the words of one who is not a member yet wait for its admission', async (t) => {
  const net = createGossipNet(3)
  net.link(0, 1)
  net.link(1, 2)
  const newcomer = at(net, 2)
  at(net, 1).members.delete(newcomer.id)
  newcomer.gossip.publish('holds', { digests: [DIGEST] })
  await net.run(1000)
  t.is(heldBy(at(net, 1), newcomer), null)
  at(net, 1).members.add(newcomer.id)
  at(net, 1).gossip.review(at(net, 1).members, [])
  await net.run(1000)
  t.is(heldBy(at(net, 1), newcomer), 1)
  t.is(heldBy(at(net, 0), newcomer), 1, 'and is carried on')
  at(net, 1).members.delete(newcomer.id)
  at(net, 1).gossip.review(at(net, 1).members, [newcomer.id])
  t.is(heldBy(at(net, 1), newcomer), null, 'a removed node is forgotten')
})

test('gossip - records and who was heard when survive a restart, removed nodes do not', async (t) => {
  const dir = await temporary(t)
  const net = createGossipNet(3)
  const open = (wallNow: () => number, heardMs = new Map<string, number>()): Gossip =>
    new Gossip({
      path: join(dir, 'gossip'),
      meshKey: MESH_KEY,
      keyPair: at(net, 0).keyPair,
      encryptionKey: MESH_KEY,
      isMember: () => true,
      heardMs: () => heardMs,
      now: () => 1000,
      wallNow,
      log: silent
    })
  const [a, b, removed] = net.nodes as [GossipNode, GossipNode, GossipNode]
  const first = open(() => 5_000_000, new Map([[b.id, 4000]]))
  await first.load()
  first.publish('holds', { digests: [DIGEST] })
  const relay = attachStranger(first, b.id)
  await relay([
    record(b.keyPair, 'holds', 3, { digests: [] }),
    record(removed.keyPair, 'holds', 3, { digests: [] })
  ])
  t.is(first.all('holds').size, 3)
  first.review(new Set([a.id, b.id]), [removed.id])
  await first.close()
  const second = open(() => 5_000_000 + 3 * 86_400_000)
  await second.load()
  t.alike([...second.all('holds').keys()], [b.id], 'nobody believes its own old words')
  t.is(second.get(b.id, 'holds')?.receivedAt, -Infinity)
  t.alike([...second.heardBefore], [[b.id, 4_996_000]])
  second.publish('holds', { digests: [DIGEST] })
  await second.close()
  const third = open(() => 0)
  await third.load()
  t.alike([...third.heardBefore], [[b.id, 4_996_000]], 'also past one that heard nobody')
  await third.close()
})

test('gossip - a damaged file is said and begun anew', async (t) => {
  const dir = await temporary(t)
  const warned: string[] = []
  const log = { ...silent, warn: (_: object, sentence: string) => void warned.push(sentence) }
  const net = createGossipNet(1, { dir, log })
  await writeFile(
    join(dir, 'gossip-0'),
    'not gossip at all, but long enough to be sealed something'
  )
  await at(net, 0).gossip.load()
  t.alike(warned, ['the gossip on disk cannot be read'])
  at(net, 0).gossip.publish('holds', { digests: [] })
  await at(net, 0).gossip.close()
  t.alike(await readdir(dir), ['gossip-0'])
  const again = createGossipNet(1, { dir, log })
  await at(again, 0).gossip.load()
  t.is(warned.length, 1)
})

const at = (net: GossipNet, i: number): GossipNode => net.nodes[i] as GossipNode
const all = (net: GossipNet, holds: (node: GossipNode) => boolean): boolean =>
  net.nodes.every(holds)
const sum = (net: GossipNet): number => net.links.reduce((total, { bytes }) => total + bytes, 0)
const heldBy = (node: GossipNode, author: GossipNode): number | null =>
  node.gossip.get(author.id, 'holds')?.body.digests.length ?? null
const encode = (codec: unknown, message: unknown): Buffer =>
  Buffer.from(c.encode(codec as never, message))

function ring(n: number): GossipNet {
  const net = createGossipNet(n)
  for (let i = 0; i < n; i++) net.link(i, (i + 1) % n)
  return net
}

function publishLinks(net: GossipNet): void {
  for (const [i, { gossip }] of net.nodes.entries()) {
    const peers = net.nodes.slice(0, 10).map(({ id }) => id)
    gossip.publish('links', { peers, ended: [], answers: [], uptimeRank: 0, session: `s${i}` })
  }
}

function record(keyPair: GossipNode['keyPair'], kind: string, seq: number, body: unknown): Wire {
  const bytes = Buffer.from(JSON.stringify(body))
  const head = Buffer.from(`${kind}/${seq}/`)
  const signed = hash('gossip', MESH_KEY, keyPair.publicKey, head, bodyHash(bytes))
  const signature = sign(signed, keyPair.secretKey)
  return { node: keyPair.publicKey, kind, seq, body: bytes, signature }
}

function recordOf(node: GossipNode, kind: 'holds'): Wire {
  const known = node.gossip.get(node.id, kind)
  return record(node.keyPair, kind, known?.seq ?? 0, known?.body)
}

/** Gives a gossip records as a peer would; resolves when they were read. */
function attachStranger(gossip: Gossip, id: string): (list: Wire[]) => Promise<void> {
  const net = createGossipNet(1)
  const stranger = net.stranger(id, 0, gossip)
  return async (list) => {
    stranger.send[0]?.(encode(wires, list))
    await net.run(1000)
  }
}

async function temporary(t: Assert): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}
