/**
 * Gossip without a network: nodes on links of memory, in a time of their own that `run` moves. What
 * a link carries is counted as it would be at an interface.
 */
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import c from 'compact-encoding'
import Protomux from 'protomux'
import { hash } from '../../core/crypto.ts'
import { Gossip, type GossipOptions } from '../../core/gossip.ts'
import { GOSSIP_PROTOCOL } from '../../core/gossip-peer.ts'
import { silent, type Logger } from '../../core/logger.ts'
import { members } from './members.ts'

export interface GossipNode {
  id: string
  keyPair: GossipOptions['keyPair']
  gossip: Gossip
  /** Ids that it takes for members; all nodes at first. */
  members: Set<string>
  /** Its wall clock's distance from the net's time. */
  wallSkewMs: number
  /** Stands still: no ticks; what arrives waits. */
  stopped: boolean
}

export interface GossipLink {
  bytes: number
  cut(): void
}

export interface Stranger {
  /** Raw messages of the channel, by their number. */
  send: ((bytes: Buffer) => void)[]
  /** What it was sent, by the message's number. */
  got: Buffer[][]
  connected(): boolean
}

export interface GossipNet {
  nodes: GossipNode[]
  links: GossipLink[]
  now(): number
  link(a: number, b: number): GossipLink
  /** A peer of node `at` that says what it likes. */
  stranger(id: string, at: number, gossip?: Gossip): Stranger
  /** Goes on by `ms`, every second a tick a node. */
  run(ms: number): Promise<void>
}

/** Ethernet, IP, UDP, UDX, Noise; and the packet that acknowledges it. */
const PACKET_BYTES = 14 + 20 + 8 + 20 + 20
const ACK_BYTES = 14 + 20 + 8 + 20
const START = 1_000_000
const WALL = 1_700_000_000_000

export const MESH_KEY = hash('test', Buffer.from('gossip mesh'))

export function createGossipNet(
  n: number,
  {
    delayMs = 5,
    dir = '/nowhere',
    log = silent
  }: { delayMs?: number; dir?: string; log?: Logger } = {}
): GossipNet {
  let now = START
  const due: { at: number; run(): void }[] = []
  const later = (at: number, run: () => void): void => {
    let i = due.length
    while (i > 0 && (due[i - 1]?.at ?? 0) > at) i--
    due.splice(i, 0, { at, run })
  }
  const ids = members('gossip', ...Array.from({ length: n }, (_, i) => `n${i}`))
  const nodes = ids.map(({ identity }, i): GossipNode => {
    const node: GossipNode = {
      id: identity.id,
      keyPair: identity.keyPair,
      members: new Set(ids.map(({ id }) => id)),
      wallSkewMs: 0,
      stopped: false,
      gossip: new Gossip({
        path: `${dir}/gossip-${i}`,
        meshKey: MESH_KEY,
        keyPair: identity.keyPair,
        encryptionKey: MESH_KEY,
        isMember: (id) => node.members.has(id),
        now: () => now,
        wallNow: () => WALL + now + node.wallSkewMs,
        timers: {
          now: () => now,
          setTimeout: (fn, ms) => later(now + ms, fn),
          clearTimeout() {}
        },
        log
      })
    }
    const tick = (): void => {
      if (!node.stopped) node.gossip.tick()
      later(now + 1000, tick)
    }
    later(now + ((i * 997) % 1000), tick)
    return node
  })
  const links: GossipLink[] = []
  const net: GossipNet = {
    nodes,
    links,
    now: () => now,
    link(a, b) {
      const pair = [nodes[a], nodes[b]] as [GossipNode, GossipNode]
      const link = { bytes: 0, cut: () => ends.forEach((end) => end.destroy()) }
      const onwrite = (bytes: number): void => {
        link.bytes += bytes + PACKET_BYTES + ACK_BYTES
      }
      const ends = connect(later, () => now + delayMs, pair, onwrite)
      pair[0].gossip.attach(pair[1].id, muxOf(ends[0]))
      pair[1].gossip.attach(pair[0].id, muxOf(ends[1]))
      links.push(link)
      return link
    },
    stranger(id, at, gossip = (nodes[at] as GossipNode).gossip) {
      const node = nodes[at] as GossipNode
      const ends = connect(
        later,
        () => now + delayMs,
        [{ stopped: false }, node],
        () => {}
      )
      gossip.attach(id, muxOf(ends[1]))
      const channel = muxOf(ends[0]).createChannel({ protocol: GOSSIP_PROTOCOL })
      const got: Buffer[][] = [[], [], [], []]
      const send = got.map((list) => {
        const message = channel?.addMessage<Buffer>({
          encoding: c.raw,
          onmessage: (bytes) => void list.push(Buffer.from(bytes))
        })
        return (bytes: Buffer) => void message?.send(bytes)
      })
      channel?.open()
      return { send, got, connected: () => !ends[1].destroyed }
    },
    async run(ms) {
      const end = now + ms
      for (;;) {
        const next = due[0]
        if (next === undefined || next.at > end) break
        due.shift()
        now = Math.max(now, next.at)
        next.run()
        // Protomux opens channels in microtasks.
        await Promise.resolve()
        await Promise.resolve()
      }
      now = end
    }
  }
  return net
}

/** Links i to its next `degree / 2` and to pseudo-random others: connected, small diameter. */
export function linkAll(net: GossipNet, degree: number): void {
  const n = net.nodes.length
  const seen = new Set<string>()
  const add = (a: number, b: number): void => {
    const key = a < b ? `${a}-${b}` : `${b}-${a}`
    if (a === b || seen.has(key)) return
    seen.add(key)
    net.link(a, b)
  }
  for (let i = 0; i < n; i++) {
    add(i, (i + 1) % n)
    for (let j = 1; j < degree / 2; j++) add(i, (i * 7919 + j * 104_729 + 13) % n)
  }
}

type Ends = readonly [MemoryStream, MemoryStream]

function connect(
  later: (at: number, run: () => void) => void,
  arrival: () => number,
  pair: readonly [{ stopped: boolean }, { stopped: boolean }],
  onwrite: (bytes: number) => void
): Ends {
  const ends: Ends = [new MemoryStream(), new MemoryStream()]
  for (const i of [0, 1] as const) {
    const to = ends[i === 0 ? 1 : 0]
    const receiver = pair[i === 0 ? 1 : 0]
    ends[i].onwrite = (chunk) => {
      onwrite(chunk.length)
      const deliver = (): void => {
        if (receiver.stopped) later(arrival() + 100, deliver)
        else if (!to.destroyed) to.emit('data', chunk)
      }
      later(arrival(), deliver)
    }
  }
  return ends
}

const muxOf = (end: MemoryStream): Protomux => Protomux.from(end as unknown as Duplex)

class MemoryStream extends EventEmitter {
  userData: unknown = null
  destroyed = false
  onwrite: (chunk: Buffer) => void = () => {}

  write(chunk: Buffer): boolean {
    if (!this.destroyed) this.onwrite(Buffer.from(chunk))
    return true
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }

  end(): void {
    this.destroy()
  }

  pause(): void {}
  resume(): void {}
}
