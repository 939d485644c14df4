import { isDeepStrictEqual } from 'node:util'
import test from 'brittle'
import type Hypercore from 'hypercore'
import type { Peer, RangeMessage, Replicator, SyncMessage } from 'hypercore/lib/replicator.js'
import { Announcer } from '../../core/announce.ts'
import { fromId, toId } from '../../core/crypto.ts'
import { writerKeyOf } from '../../core/writer-key.ts'
import { createMesh } from '../helpers/mesh.ts'
import { waitUntil } from '../helpers/wait.ts'

const range = (start: number, length: number, drop = false): RangeMessage => ({
  drop,
  start,
  length
})

test('announce view - a peer that is about as far is told of all in one', async (t) => {
  const { peer, sent, state } = createPeer({ length: 10, remoteLength: 9 })
  for (state.length = 11; state.length < 14; state.length++) {
    peer.wireSync.send({ fork: 0, length: state.length })
    peer.wireRange.send(range(0, state.length))
  }
  peer.wireRange.send(range(20, 1))
  t.alike(sent, [])
  await waitUntil(() => sent.length > 0)
  t.alike(sent, [{ fork: 0, length: 13 }, range(0, 13), range(20, 1)])
})

test('announce view - who lacks much is told at once, and of what is gone everybody', (t) => {
  const far = createPeer({ length: 10_000, remoteLength: 9 })
  far.peer.wireSync.send({ fork: 0, length: 10_000 })
  far.peer.wireRange.send(range(0, 10_000))
  t.alike(far.sent, [{ fork: 0, length: 10_000 }, range(0, 10_000)])

  const newcomer = createPeer({ length: 10, remoteLength: 0 })
  newcomer.peer.wireSync.send({ fork: 0, length: 10 })
  t.alike(newcomer.sent, [{ fork: 0, length: 10 }])

  const near = createPeer({ length: 10, remoteLength: 10 })
  near.peer.wireRange.send(range(3, 1))
  near.peer.wireRange.send(range(4, 2, true))
  t.alike(near.sent, [range(3, 1), range(4, 2, true)])
})

test('announce others - who lacks it is told before who has it, each of all in one', async (t) => {
  const core = createCore('others', 4)
  const [lacks, has, gave] = [core.peer(4), core.peer(6), core.peer(6)]
  await gave.peer.ondata(null)
  for (core.state.length = 5; core.state.length < 7; core.state.length++) {
    for (const { peer } of core.peers) {
      peer.wireSync.send({ fork: 0, length: core.state.length })
      peer.wireRange.send(range(0, core.state.length))
    }
  }
  core.state.length = 6
  const all = [{ fork: 0, length: 6 }, range(0, 6)]
  t.alike([lacks.sent, has.sent, gave.sent], [[], [], []])
  await waitUntil(() => lacks.sent.length > 0)
  t.alike([lacks.sent, has.sent, gave.sent], [all, [], all])
  await waitUntil(() => has.sent.length > 0)
  t.alike([lacks.sent, has.sent, gave.sent], [all, all, all])
})

test('announce others - who has heard of it meanwhile is told with those that have it', async (t) => {
  const core = createCore('others', 5)
  const [heard, lacks] = [core.peer(4), core.peer(4)]
  for (const { peer } of core.peers) peer.wireSync.send({ fork: 0, length: 5 })
  heard.peer.remoteLength = 5
  await waitUntil(() => lacks.sent.length > 0)
  t.alike(heard.sent, [])
  await waitUntil(() => heard.sent.length > 0)
  t.is(heard.sent.length, 1)
})

test('announce others - who has more hears at once how much is here, who has less does not', async (t) => {
  const core = createCore('others', 5)
  const { peer, sent } = core.peer(5)
  peer.wireSync.send({ fork: 0, length: 5 })
  await peer.onsync({ fork: 0, length: 5 })
  t.alike(sent, [])
  await peer.onsync({ fork: 0, length: 6 })
  t.alike(sent, [{ fork: 0, length: 5 }])
})

test('announce others - a peer that has not said how much it has is told at once', (t) => {
  const { peer, sent } = createCore('others', 5).peer(0)
  peer.remoteSynced = false
  peer.wireSync.send({ fork: 0, length: 5 })
  t.alike(sent, [{ fork: 0, length: 5 }])
})

test('announce others - a mesh does so of each writer but itself', async (t) => {
  const others = Reflect.get(Announcer.prototype, 'others')
  const told = new Map<Announcer, Set<string>>()
  Announcer.prototype.others = function (core) {
    told.set(this, (told.get(this) ?? new Set()).add(toId(core.key)))
    others.call(this, core)
  }
  t.teardown(() => (Announcer.prototype.others = others))
  const { nodes } = await createMesh(3, t)
  const writers = nodes.map(({ mesh }) => toId(writerKeyOf(fromId(mesh.self)!)))
  const wanted = writers.map((own) =>
    writers
      .filter((key) => key !== own)
      .sort()
      .join()
  )
  const seen = (): string[] => [...told.values()].map((keys) => [...keys].sort().join())
  await waitUntil(() => isDeepStrictEqual(seen().sort(), [...wanted].sort()))
  t.pass()
})

interface TestPeer {
  peer: { -readonly [K in keyof Peer]: Peer[K] }
  sent: (SyncMessage | RangeMessage)[]
}

function createPeer({ length, remoteLength }: { length: number; remoteLength: number }) {
  const core = createCore('view', length)
  return { ...core.peer(remoteLength), state: core.state }
}

function createCore(of: 'view' | 'others', length: number) {
  const state = { fork: 0, length }
  const replicator = { peers: [], _addPeer: () => {} } as unknown as Replicator
  const core = { opened: true, core: { replicator } } as unknown as Hypercore
  const announcer = new Announcer()
  if (of === 'others') announcer.others(core)
  else announcer.viewsOf({ core, view: { core }, encryption: null })
  const peers: TestPeer[] = []
  const peer = (remoteLength: number): TestPeer => {
    const sent: TestPeer['sent'] = []
    const wire = { send: (message: SyncMessage | RangeMessage) => sent.push(message) > 0 }
    const each = {
      core: { state },
      remoteFork: 0,
      remoteLength,
      remoteSynced: true,
      protomux: { cork() {}, uncork() {} },
      wireSync: wire,
      wireRange: wire,
      onsync: async () => {},
      ondata: async () => {}
    }
    replicator._addPeer(each as unknown as Peer)
    peers.push({ peer: each as unknown as TestPeer['peer'], sent })
    return peers.at(-1)!
  }
  return { state, peers, peer }
}
