/**
 * Three daemons with a container each and nothing to do, for `--minutes`. Memory is as it is at the
 * end; processor and traffic are of the second half. Of the daemons the one that needs most counts.
 * Traffic is all that its namespace's link carries, both ways, heartbeats and DHT included.
 */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReplicaJson, StatusJson } from '../apps/api.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { idleSpec, startThreeNodes, type BenchNode } from './three-nodes.ts'

export interface IdleResults {
  rssMb: number
  cpuPercent: number
  opsAppended: number
  bytesPerMinute: number
  /** Both ways, of each of its links. */
  kbPerSLink: number
  minutes: number
}

interface Sample {
  atMs: number
  rssMb: number
  cpuMs: number
  bytes: number
}

/** A tick of /proc/PID/stat: USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10
/** After the containers run: for the last words about them. */
const SETTLE_MS = 5_000

export const idle = declare<IdleResults>({
  question: 'idle: what does a daemon cost that has nothing to do?',

  async run({ minutes }, during) {
    const nodes = await startThreeNodes(during)
    const [first] = nodes
    if (first === undefined) throw new Error('there is no node')
    const microservices = [{ name: 'web', spec: idleSpec(3) }]
    await first.client.post('/applications', { application: 'idle', microservices })
    await waitUntil(async () => {
      const replicas = await first.client.get<ReplicaJson[]>('/replicas')
      return replicas.length === 3 && replicas.every(({ state }) => state === 'running')
    }, 60_000)
    await sleep(SETTLE_MS)
    const lengthBefore = await oplogLength(nodes)
    const samples = [await sampleAll(nodes)]
    during.say(`idle for ${minutes} minutes`)
    for (let half = 1; half <= 2; half++) {
      await sleep((minutes * 60_000) / 2)
      const seen = await sampleAll(nodes)
      samples.push(seen)
      const rss = seen.map(({ rssMb }) => rssMb.toFixed(0)).join(' ')
      during.say(`after ${(minutes * half) / 2} minutes: ${rss} MiB`)
    }
    const [, middle = [], end = []] = samples
    const costs = nodes.map((_, i) => costOf(middle[i], end[i]))
    const bytesPerMinute = Math.round(Math.max(...costs.map(({ bytes }) => bytes)))
    return {
      rssMb: Math.round(Math.max(...end.map(({ rssMb }) => rssMb)) * 10) / 10,
      cpuPercent: Math.round(Math.max(...costs.map(({ cpuPercent }) => cpuPercent)) * 100) / 100,
      opsAppended: (await oplogLength(nodes)) - lengthBefore,
      bytesPerMinute,
      kbPerSLink: Math.round((bytesPerMinute / 60 / 1024 / (nodes.length - 1)) * 1000) / 1000,
      minutes
    }
  },

  rows: ({ rssMb, cpuPercent, opsAppended, bytesPerMinute, kbPerSLink, minutes }) => [
    {
      what: `memory after ${minutes} minutes`,
      measured: `${rssMb} MiB`,
      must: { be: '≤ 110 MiB', holds: rssMb <= 110 }
    },
    {
      what: 'processor',
      measured: `${cpuPercent} % of a core`,
      must: { be: '≤ 1 %', holds: cpuPercent <= 1 }
    },
    {
      what: 'growth of the view',
      measured: String(opsAppended),
      must: { be: '0', holds: opsAppended === 0 }
    },
    { what: 'traffic', measured: `${bytesPerMinute} bytes a minute`, must: null },
    {
      what: 'a link, both ways',
      measured: `${kbPerSLink} KB/s`,
      must: { be: '≤ 1 KB/s', holds: kbPerSLink <= 1 }
    }
  ]
})

async function oplogLength(nodes: BenchNode[]): Promise<number> {
  const all = await Promise.all(nodes.map(({ client }) => client.get<StatusJson>('/status')))
  return Math.max(...all.map(({ oplog }) => oplog.tentative))
}

const sampleAll = (nodes: BenchNode[]): Promise<Sample[]> =>
  Promise.all(nodes.map(({ pid }) => sample(pid)))

async function sample(pid: number): Promise<Sample> {
  const [status, stat, net] = await Promise.all(
    ['status', 'stat', 'net/dev'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8'))
  )
  const rssKb = /^VmRSS:\s+(\d+) kB/m.exec(status ?? '')?.[1]
  // The name of a process may hold spaces: fields are counted from its end.
  const fields = (stat ?? '').slice((stat ?? '').lastIndexOf(')') + 2).split(' ')
  const link = /^\s*eth0:(.*)$/m
    .exec(net ?? '')?.[1]
    ?.trim()
    .split(/\s+/)
  if (rssKb === undefined || link === undefined) throw new Error(`/proc/${pid} cannot be read`)
  return {
    atMs: performance.now(),
    rssMb: Number(rssKb) / 1024,
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    bytes: Number(link[0]) + Number(link[8])
  }
}

/** Percent of a core, and bytes a minute, between two samples. */
function costOf(
  from: Sample | undefined,
  to: Sample | undefined
): { cpuPercent: number; bytes: number } {
  if (from === undefined || to === undefined) throw new Error('a sample is missing')
  const ms = to.atMs - from.atMs
  return {
    cpuPercent: ((to.cpuMs - from.cpuMs) / ms) * 100,
    bytes: ((to.bytes - from.bytes) / ms) * 60_000
  }
}
