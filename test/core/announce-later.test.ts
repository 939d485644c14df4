import test from 'brittle'
import type Hypercore from 'hypercore'
import type { Peer, RangeMessage, Replicator, SyncMessage } from 'hypercore/lib/replicator.js'
import { announceLater } from '../../core/announce-later.ts'
import { waitUntil } from '../helpers/wait.ts'

const range = (start: number, length: number, drop = false): RangeMessage => ({
  drop,
  start,
  length
})

test('announce later - a peer that is about as far is told of all in one', async (t) => {
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

test('announce later - who lacks much is told at once, and of what is gone everybody', (t) => {
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

function createPeer({ length, remoteLength }: { length: number; remoteLength: number }): {
  peer: Peer
  state: { fork: number; length: number }
  sent: (SyncMessage | RangeMessage)[]
} {
  const sent: (SyncMessage | RangeMessage)[] = []
  const wire = { send: (message: SyncMessage | RangeMessage) => sent.push(message) > 0 }
  const state = { fork: 0, length }
  const peer = {
    core: { state },
    remoteFork: 0,
    remoteLength,
    protomux: { cork() {}, uncork() {} },
    wireSync: wire,
    wireRange: wire
  } as unknown as Peer
  const replicator = { peers: [], _addPeer: () => {} } as unknown as Replicator
  announceLater({ core: { replicator } } as unknown as Hypercore)
  replicator._addPeer(peer)
  return { peer, state, sent }
}
