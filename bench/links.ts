/**
 * Fifty daemons (`--nodes`) on hosts of their own: first one op from each in turn, then one from each at
 * once, until all show them; then nothing to do for `--minutes`. All that the hosts' interfaces carry, heartbeats, gossip, DHT and acknowledgements
 * included, over the links it is for: each is counted at both its ends and in both directions, so
 * the sum of the hosts over the sum of their peers is what one link costs.
 */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApplicationJson, DeployRequest, NodeJson, StatusJson } from '../apps/api.ts'
import { createClient, type Client } from '../apps/client.ts'
import { createFleet } from '../test/helpers/fleet.ts'
import { createLab } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'

export interface LinksResults {
  nodes: number
  links: number
  kbPerSLink: number
  /** Of the daemon that needs most. */
  rssMb: number
  minutes: number
  /** An op of one node, until all nodes show it. */
  op: Durations
  /** An op of every node at once, until all nodes show all of them. */
  opsAtOnceMs: number
}

interface Counted {
  client: Client
  pid: number
}

const NODES = 50
const TOGETHER_MS = 600_000
const SETTLE_MS = 60_000
/** Each look is a question to every daemon that did not show it yet, and costs the CPU they share. */
const LOOK_MS = 250
const LOOK_AT_ALL_MS = 1_000

export const links = declare<LinksResults>({
  question: 'links: an op among fifty daemons, and what a link costs them when idle',

  async run({ minutes, nodes: many = NODES }, { say, teardown }) {
    say(`${many} hosts with a daemon each`)
    const lab = await createLab(many + 1)
    teardown(() => lab.stop())
    const fleet = await createFleet({ teardown }, lab, {
      engines: false,
      together: false,
      atOnce: 1
    })
    const nodes = await Promise.all(
      fleet.nodes.map(async (node): Promise<Counted> => ({
        client: createClient(node.dataDir),
        pid: await node.pid()
      }))
    )
    await waitUntil(() => allAlive(nodes), TOGETHER_MS, 2000)
    await sleep(SETTLE_MS)
    const op = await oneByOne(nodes)
    say(`an op is on all nodes after p50 ${op.p50Ms} ms, p95 ${op.p95Ms} ms`)
    const opsAtOnceMs = await allAtOnce(nodes)
    say(`${many} ops at once are on all nodes after ${opsAtOnceMs} ms`)
    await sleep(SETTLE_MS)
    const before = await traffic(nodes)
    say(`idle for ${minutes} minutes`)
    await sleep(minutes * 60_000)
    const after = await traffic(nodes)
    const seconds = (after.atMs - before.atMs) / 1000
    const ends = (before.ends + after.ends) / 2
    const rss = await Promise.all(nodes.map(({ pid }) => rssMb(pid)))
    return {
      nodes: nodes.length,
      links: Math.round(ends / 2),
      kbPerSLink: Math.round(((after.bytes - before.bytes) / 1024 / seconds / ends) * 1000) / 1000,
      rssMb: Math.round(Math.max(...rss) * 10) / 10,
      minutes,
      op,
      opsAtOnceMs
    }
  },

  rows: ({ nodes, links, kbPerSLink, rssMb, minutes, op, opsAtOnceMs }) => [
    {
      what: `an op of each of ${nodes} in turn`,
      measured: spread(op),
      must: { be: 'p95 ≤ 2 s', holds: op.p95Ms <= 2_000 }
    },
    {
      what: `${nodes} ops at once`,
      measured: `${opsAtOnceMs} ms`,
      must: { be: '≤ 20 s', holds: opsAtOnceMs <= 20_000 }
    },
    {
      what: `a link of ${links} between ${nodes}`,
      measured: `${kbPerSLink} KB/s`,
      must: { be: '≤ 1 KB/s', holds: kbPerSLink <= 1 }
    },
    {
      what: `memory after ${minutes} minutes`,
      measured: `${rssMb} MiB`,
      must: { be: '≤ 120 MiB', holds: rssMb <= 120 }
    }
  ]
})

async function allAlive(nodes: Counted[]): Promise<boolean> {
  for (const { client } of nodes) {
    const seen = await client.get<NodeJson[]>('/nodes')
    if (seen.filter(({ state }) => state === 'alive').length < nodes.length) return false
  }
  return true
}

async function oneByOne(nodes: Counted[]): Promise<Durations> {
  const samples: number[] = []
  for (const [i, { client }] of nodes.entries()) {
    const start = performance.now()
    await append(client, `turn-${i}`)
    await untilShown(nodes, [`turn-${i}`], LOOK_MS)
    samples.push(performance.now() - start)
  }
  return durations(samples)
}

async function allAtOnce(nodes: Counted[]): Promise<number> {
  const start = performance.now()
  await Promise.all(nodes.map(({ client }, i) => append(client, `once-${i}`)))
  await untilShown(
    nodes,
    nodes.map((_, i) => `once-${i}`),
    LOOK_AT_ALL_MS
  )
  return Math.round(performance.now() - start)
}

async function append(client: Client, application: string): Promise<void> {
  const request: DeployRequest = { application, microservices: [] }
  await client.post('/applications', request)
}

async function untilShown(nodes: Counted[], names: string[], lookMs: number): Promise<void> {
  const giveUp = performance.now() + TOGETHER_MS
  let waiting = nodes
  while (waiting.length > 0) {
    if (performance.now() > giveUp) throw new Error(`${waiting.length} nodes do not show all ops`)
    await sleep(lookMs)
    const looks = await Promise.all(
      waiting.map(async (node) => ((await shows(node, names)) ? null : node))
    )
    waiting = looks.filter((node) => node !== null)
  }
}

async function shows({ client }: Counted, names: string[]): Promise<boolean> {
  const seen = new Set(
    (await client.get<ApplicationJson[]>('/applications')).map(({ name }) => name)
  )
  return names.every((name) => seen.has(name))
}

/** Ends of links, and bytes both ways at all hosts. */
async function traffic(nodes: Counted[]): Promise<{ atMs: number; bytes: number; ends: number }> {
  const counted = await Promise.all(
    nodes.map(async ({ client, pid }) => ({
      bytes: await interfaceBytes(pid),
      ends: (await client.get<StatusJson>('/status')).peers
    }))
  )
  const sum = (key: 'bytes' | 'ends'): number => counted.reduce((all, each) => all + each[key], 0)
  return { atMs: performance.now(), bytes: sum('bytes'), ends: sum('ends') }
}

/** Both ways, of eth0 in a process's namespace. */
export async function interfaceBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8')
  const fields = /^\s*eth0:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/)
  if (fields === undefined) throw new Error(`process ${pid} has no eth0`)
  return Number(fields[0]) + Number(fields[8])
}

async function rssMb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1]) / 1024
}
