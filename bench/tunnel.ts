/**
 * What a flow between two nodes costs: on a LAN, punched, and through a relay. Process-engine daemons
 * behind NATs; on each target a program that serves (`tunnel-ends.ts`), asked by a program beside the
 * other daemon, over its socket as `brume forward` asks. On the same links in the same run, plain TCP,
 * `ssh -L` to the same program, and a bare UDX stream. The links of those who ask are shaped to
 * 1 Gbit/s both ways. No number counts unless the tunnel took the path it is of.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ForwardJson, NetJson } from '../apps/api.ts'
import { createClient, withQuery, type Client } from '../apps/client.ts'
import { createFleet, untilTogether, type FleetNode } from '../test/helpers/fleet.ts'
import { createLab, type Host, type Lab } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare, type During } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec } from './three-nodes.ts'
import type { Arrived, Many, Task, UdxWay, Via } from './tunnel-ends.ts'
import { measureLocal } from './tunnel-local.ts'
import { listens, startSshForward } from './tunnel-ssh.ts'

interface Rate {
  mbitPerS: number
  /** Of the daemons at both ends, for a GB. */
  cpuSeconds: number
}

export interface TunnelResults {
  lan: Rate
  direct: Rate
  relayed: Rate
  /** On a LAN, with a tunnel there. */
  newFlow: Durations
  /** Of a round trip on a punched path, to one of a bare UDX stream. */
  addedLatency: { p50Ms: number }
  /** With no tunnel yet. */
  firstFlow: { lan: Durations; punched: Durations; relayed: Durations }
  /** `ssh` is null where there is no OpenSSH server. `local`: through its name, over its address. */
  ratios: {
    ssh: number | null
    sshUnshaped: number | null
    udx: number
    /** To a bare one with a TCP connection piped in at one end and out at the other. */
    udxPiped: number
    /** To a UDX stream that HyperDHT encrypts, with nothing of ours. */
    udxEncrypted: number
    /** To a bare one on a slower link, which the processors can fill. */
    udxOnSlower: number
    local: number
  }
  beside: {
    ssh: number | null
    tcp: number
    udx: number
    udxPiped: number
    udxEncrypted: number
    local: number
  }
  flows: { errors: number; bytesAFlow: number; eventLoopP99: number }
}

type Kind = NonNullable<NetJson['tunnel']>['path']

/** Two nodes, one of which asks, and the way between them. */
interface Pair {
  kind: Kind
  from: FleetNode
  to: FleetNode
  client: Client
  via: Extract<Via, { kind: 'flow' }>
}

const ROUNDS = 3
const FIRST_ROUNDS = 5
const LOCAL_ROUNDS = 9
const SHAPED_MBIT = 1_000
const SLOWER_MBIT = 350
const RATE_MS = 4_000
const TIMES = 500
const FLOWS = 1_000
const HOLD_MS = 10_000
const APPLICATION = 'ends'
const PORT = 80
const HOST_PORT = 8_080
const UDX_PORT = 41_000

export const tunnel = declare<TunnelResults>({
  question: 'tunnel: what a flow between two nodes carries and costs',

  async run({ runs }, during) {
    const { say } = during
    const rounds = runs ?? ROUNDS
    const local = await measureLocal(runs ?? LOCAL_ROUNDS, during)
    const bench = await start(during)
    const { lab, lan, direct, relayed } = bench
    const ssh = await startSshForward(lan.from.host, lan.to.host, HOST_PORT)
    if (ssh === null) say('no OpenSSH server here: apt-get install openssh-server')

    await Promise.all([lab.shape(0, SHAPED_MBIT), lab.shape(3, SHAPED_MBIT)])
    const plain: Via = { kind: 'tcp', host: lan.to.host.ip, port: HOST_PORT }
    const shaped = await rates(bench, rounds, 'on a LAN of 1 Gbit/s', [
      { name: 'brume', pair: lan },
      ...(ssh === null ? [] : [{ name: 'ssh', from: lan.from.host, via: ssh }]),
      { name: 'tcp', from: lan.from.host, via: plain }
    ])
    const punched = await rates(bench, rounds, 'punched', [
      { name: 'brume', pair: direct },
      { name: 'udx', udx: 'bare' },
      { name: 'piped', udx: 'piped' },
      { name: 'encrypted', udx: 'encrypted' }
    ])
    const carried = await rates(bench, rounds, 'relayed', [{ name: 'brume', pair: relayed }])
    await Promise.all([lab.shape(0, SLOWER_MBIT), lab.shape(3, SLOWER_MBIT)])
    const slower = await rates(bench, rounds, `punched, a link of ${SLOWER_MBIT} Mbit/s`, [
      { name: 'brume', pair: direct },
      { name: 'udx', udx: 'bare' }
    ])
    await Promise.all([lab.shape(0, null), lab.shape(3, null)])
    const unshaped = await rates(bench, rounds, 'on a LAN, unshaped', [
      { name: 'brume', pair: lan },
      ...(ssh === null ? [] : [{ name: 'ssh', from: lan.from.host, via: ssh }])
    ])

    const newFlow = durations(await over(lan, { do: 'open', times: TIMES, via: lan.via }))
    say(`new flow on a LAN  ${spread(newFlow)}`)
    const ours = durations(await over(direct, { do: 'echo', times: TIMES, via: direct.via }))
    const bare = durations(await overUdx<number[]>(bench, { do: 'echo', times: TIMES }))
    say(`round trip, punched  ${spread(ours)}; bare UDX  ${spread(bare)}`)
    const flows = await manyFlows(bench, during)
    const firstFlow = await firstFlows(bench, runs ?? FIRST_ROUNDS, during)

    const of = (all: Record<string, number>, name: string): number => all[name] ?? NaN
    const rateOf = (all: Record<string, number>): Rate => ({
      mbitPerS: of(all, 'brume'),
      cpuSeconds: of(all, 'cpu')
    })
    const ratio = (all: Record<string, number>, name: string): number =>
      round(of(all, 'brume') / of(all, name), 2)
    return {
      lan: rateOf(shaped),
      direct: rateOf(punched),
      relayed: rateOf(carried),
      newFlow,
      addedLatency: { p50Ms: round(ours.p50Ms - bare.p50Ms, 2) },
      firstFlow,
      ratios: {
        ssh: ssh === null ? null : ratio(shaped, 'ssh'),
        sshUnshaped: ssh === null ? null : ratio(unshaped, 'ssh'),
        udx: ratio(punched, 'udx'),
        udxPiped: ratio(punched, 'piped'),
        udxEncrypted: ratio(punched, 'encrypted'),
        udxOnSlower: ratio(slower, 'udx'),
        local: round(median(local.name) / median(local.address), 2)
      },
      beside: {
        ssh: ssh === null ? null : of(shaped, 'ssh'),
        tcp: of(shaped, 'tcp'),
        udx: of(punched, 'udx'),
        udxPiped: of(punched, 'piped'),
        udxEncrypted: of(punched, 'encrypted'),
        local: Math.round(median(local.name))
      },
      flows
    }
  },

  rows: ({ lan, direct, relayed, newFlow, addedLatency, firstFlow, ratios, beside, flows }) => [
    {
      what: 'LAN of 1 Gbit/s',
      measured: `${carries(lan)}; plain TCP ${beside.tcp}, ssh -L ${beside.ssh ?? '-'}`,
      must: null
    },
    ...(ratios.ssh === null
      ? []
      : [
          {
            what: 'over ssh -L',
            measured: `${ratios.ssh}, unshaped ${ratios.sshUnshaped}`,
            must: { be: '≥ 0.9', holds: ratios.ssh >= 0.9 }
          }
        ]),
    {
      what: 'punched',
      measured: `${carries(direct)}; bare UDX ${beside.udx}, encrypted ${beside.udxEncrypted}`,
      must: { be: '≥ 300 Mbit/s', holds: direct.mbitPerS >= 300 }
    },
    {
      what: 'over bare UDX',
      measured: `${ratios.udx}; over an encrypted one ${ratios.udxEncrypted}`,
      must: { be: '≥ 0.8', holds: ratios.udx >= 0.8 }
    },
    {
      what: 'over a bare UDX with TCP piped in and out',
      measured: `${ratios.udxPiped} (${beside.udxPiped} Mbit/s)`,
      must: null
    },
    {
      what: `over bare UDX on ${SLOWER_MBIT} Mbit/s`,
      measured: String(ratios.udxOnSlower),
      must: { be: '≥ 0.8', holds: ratios.udxOnSlower >= 0.8 }
    },
    {
      what: 'a replica of this node by its name',
      measured: `${beside.local} Mbit/s, ${ratios.local} × its address`,
      must: { be: '≥ 0.95', holds: ratios.local >= 0.95 }
    },
    {
      what: 'added to a round trip',
      measured: `p50 ${addedLatency.p50Ms} ms`,
      must: { be: '≤ 1 ms', holds: addedLatency.p50Ms <= 1 }
    },
    {
      what: 'relayed',
      measured: carries(relayed),
      must: { be: '≥ 100 Mbit/s', holds: relayed.mbitPerS >= 100 }
    },
    {
      what: 'a new flow',
      measured: spread(newFlow),
      must: { be: 'p50 ≤ 3 ms', holds: newFlow.p50Ms <= 3 }
    },
    ...(
      [
        ['lan', 1_000],
        ['punched', 3_000],
        ['relayed', 6_000]
      ] as const
    ).map(([kind, ms]) => ({
      what: `the first flow, ${kind}`,
      measured: spread(firstFlow[kind]),
      must: { be: `p95 ≤ ${ms} ms`, holds: firstFlow[kind].p95Ms <= ms }
    })),
    {
      what: `${FLOWS} flows: errors`,
      measured: String(flows.errors),
      must: { be: '0', holds: flows.errors === 0 }
    },
    {
      what: `${FLOWS} flows: memory`,
      measured: `${Math.round(flows.bytesAFlow / 1024)} KiB a flow`,
      must: { be: '≤ 100 KB', holds: flows.bytesAFlow <= 100_000 }
    },
    {
      what: `${FLOWS} flows: event loop`,
      measured: `p99 ${flows.eventLoopP99} ms`,
      must: { be: '≤ 50 ms', holds: flows.eventLoopP99 <= 50 }
    }
  ]
})

const carries = ({ mbitPerS, cpuSeconds }: Rate): string =>
  `${mbitPerS} Mbit/s, ${cpuSeconds} s of CPU a GB`

interface Bench {
  lab: Lab
  nodes: FleetNode[]
  lan: Pair
  direct: Pair
  relayed: Pair
  during: During
  /** Sockets of UDX streams before; each has a port of its own. */
  streams: number
}

/** n2 and n3 on one LAN, n4 on another; n5 and n6 behind NATs that cannot be punched; n1 is open. */
async function start(during: During): Promise<Bench> {
  const { say, teardown } = during
  say('six daemons on hosts of their own, behind NATs')
  const lans = [
    { router: 'easy', hosts: 2 },
    { router: 'easy', hosts: 1 },
    { router: 'symmetric', hosts: 1 },
    { router: 'symmetric', hosts: 1 }
  ] as const
  const lab = await createLab({ lans: [...lans], open: 2 })
  teardown(() => lab.stop())
  const { nodes } = await createFleet({ teardown }, lab, {
    engines: false,
    on: [5, 0, 1, 2, 3, 4],
    env: { NODE_OPTIONS: `--import=${LOOP_WATCH}`, BENCH_DIR: benchDir(lab) }
  })
  const [, two, three, four, five, six] = nodes as [FleetNode, ...FleetNode[]]
  const pairOf = (kind: Kind, from?: FleetNode, to?: FleetNode): Pair => {
    if (from === undefined || to === undefined) throw new Error('the fleet is too small')
    const { dataDir } = from
    const via: Pair['via'] = { kind: 'flow', dataDir, ref: `${APPLICATION}/${to.name}`, port: PORT }
    return { kind, from, to, client: createClient(dataDir), via }
  }
  const lan = pairOf('lan', two, three)
  const direct = pairOf('direct', two, four)
  const relayed = pairOf('relayed', five, six)
  const microservices = [lan, direct, relayed].map(({ to }) => ({
    name: to.name,
    spec: {
      ...idleSpec(1),
      image: null,
      command: command({ do: 'serve', port: HOST_PORT }),
      ports: [{ container: PORT, host: HOST_PORT, protocol: 'tcp' as const }],
      node: to.name
    }
  }))
  await lan.client.post('/applications', { application: APPLICATION, microservices })
  const bench = { lab, nodes, lan, direct, relayed, during, streams: 0 }
  await untilServed([lan, direct, relayed])
  for (const pair of [lan, direct, relayed]) await untilOnPath(pair)
  return bench
}

const command = (task: Task): string[] => [
  process.execPath,
  '--import',
  import.meta.resolve('tsx'),
  join(import.meta.dirname, 'tunnel-ends.ts'),
  JSON.stringify(task)
]

/** All programs serve, as those see it that ask them. */
async function untilServed(pairs: Pair[]): Promise<void> {
  const serves = async ({ client, to }: Pair): Promise<boolean> => {
    if (!(await listens(to.host, HOST_PORT))) return false
    const target = withQuery('/flows/target', { ref: `${APPLICATION}/${to.name}` })
    // Its view may not know it yet.
    const known = await client.get<ForwardJson>(target).catch(() => null)
    return known?.replicas.length === 1
  }
  await waitUntil(async () => (await Promise.all(pairs.map(serves))).every(Boolean), 60_000)
}

/** With flows under way a better path is looked for. */
async function untilOnPath(pair: Pair): Promise<void> {
  const { ref, port } = pair.via
  const flow = await pair.client.flow(withQuery('/flows', { ref, port: String(port) }))
  flow.on('error', () => {})
  try {
    await waitUntil(async () => (await pathOf(pair)) === pair.kind, 60_000, 100)
  } finally {
    flow.destroy()
  }
}

async function pathOf({ client, to }: Pair): Promise<Kind | null> {
  const rows = await client.get<NetJson[]>('/net')
  return rows.find(({ name }) => name === to.name)?.tunnel?.path ?? null
}

/** @throws unless the tunnel is on its path before and after. */
async function over<T>(pair: Pair, task: Task): Promise<T> {
  await mustBeOnPath(pair)
  const result = await ask<T>(pair.from.host, task)
  await mustBeOnPath(pair)
  return result
}

async function mustBeOnPath(pair: Pair): Promise<void> {
  const path = await pathOf(pair)
  if (path === pair.kind) return
  throw new Error(`the tunnel to ${pair.to.name} is ${path ?? 'gone'}, not ${pair.kind}`)
}

interface Contestant {
  name: string
  /** A flow of brume. */
  pair?: Pair
  /** Else from this host, this way. */
  from?: Host
  via?: Via
  /** Else a UDX stream between the hosts of the punched pair. */
  udx?: Udx
}

type Udx = 'bare' | 'piped' | 'encrypted'

/** Medians of Mbit/s, and of what a tunnel costs, as `cpu`; they take turns. */
async function rates(
  bench: Bench,
  rounds: number,
  where: string,
  all: Contestant[]
): Promise<Record<string, number>> {
  const { say } = bench.during
  say(`${where}; ${await busy()} of the processors are at work without it`)
  const samples: Record<string, number[]> = {}
  for (let i = 0; i < rounds; i++) {
    for (const { name, pair, from, via, udx } of all) {
      const ms = RATE_MS
      const before = await cpuSeconds(pair)
      const { mbitPerS, bytes } =
        pair !== undefined
          ? await over<Arrived>(pair, { do: 'rate', ms, via: pair.via })
          : from !== undefined && via !== undefined
            ? await ask<Arrived>(from, { do: 'rate', ms, via })
            : await overUdx<Arrived>(bench, { do: 'rate', ms }, udx)
      ;(samples[name] ??= []).push(Math.round(mbitPerS))
      if (pair === undefined) continue
      const cost = ((await cpuSeconds(pair)) - before) / (bytes / 1e9)
      ;(samples['cpu'] ??= []).push(round(cost, 1))
    }
  }
  const medians = Object.entries(samples).map(([name, each]) => [name, median(each)] as const)
  const unit = (name: string): string => (name === 'cpu' ? 's a GB' : 'Mbit/s')
  say(`  ${medians.map(([name, value]) => `${name} ${value} ${unit(name)}`).join(', ')}`)
  return Object.fromEntries(medians)
}

/** Of both daemons, so far. */
async function cpuSeconds(pair: Pair | undefined): Promise<number> {
  if (pair === undefined) return 0
  const pids = await Promise.all([pair.from.pid(), pair.to.pid()])
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8')))
  const ticks = stats.map((stat) => {
    // Behind the name, which may hold spaces: utime and stime are the 14th and 15th of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  })
  // USER_HZ is 100 on every Linux that Node runs on.
  return ticks.reduce((sum, each) => sum + each, 0) / 100
}

type Unled<T> = T extends { via: Via } ? Omit<T, 'via'> : never

/** Between the hosts of the punched pair, whose routers keep ports. */
async function overUdx<T>(bench: Bench, task: Unled<Task>, how: Udx = 'bare'): Promise<T> {
  const { from, to } = bench.direct
  const port = UDX_PORT + bench.streams++
  const isEncrypted = how === 'encrypted'
  const there: UdxWay = { port, isEncrypted, to: { host: from.host.publicIp, port } }
  const here: UdxWay = { port, isEncrypted, to: { host: to.host.publicIp, port } }
  const helping: ChildProcess[] = []
  const help = (host: Host, task: Task): void => {
    helping.push(host.spawn(...program(task), { stdio: ['ignore', 'ignore', 'inherit'] }))
  }
  try {
    if (how !== 'piped') {
      help(to.host, { do: 'serve-udx', way: there })
      return await ask<T>(from.host, { ...task, via: { kind: 'udx', ...here } })
    }
    help(to.host, { do: 'pipe', way: there, ends: { connect: HOST_PORT } })
    help(from.host, { do: 'pipe', way: here, ends: { listen: port } })
    await waitUntil(() => listens(from.host, port), 10_000)
    return await ask<T>(from.host, { ...task, via: { kind: 'tcp', host: '127.0.0.1', port } })
  } finally {
    for (const child of helping) child.kill('SIGKILL')
  }
}

function program(task: Task): [string, string[]] {
  const [file = process.execPath, ...args] = command(task)
  return [file, args]
}

/** What a program at this host says in its last line. */
async function ask<T>(host: Host, task: Task): Promise<T> {
  const { code, stdout, stderr } = await host.exec(...program(task), { timeoutMs: 120_000 })
  if (code !== 0) throw new Error(`${task.do}: ${stderr.trim()}`)
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T
}

/** On a LAN. What each daemon grows by while they are open, and how its event loop fares with them. */
async function manyFlows(bench: Bench, { say }: During): Promise<TunnelResults['flows']> {
  const { lan } = bench
  await mustBeOnPath(lan)
  say(`${FLOWS} flows at once; ${await busy()} of the processors are at work without them`)
  const pids = await Promise.all([lan.from.pid(), lan.to.pid()])
  const before = await Promise.all(pids.map(rssBytes))
  for (const pid of pids) process.kill(pid, 'SIGUSR2')
  const asking = lan.from.host.spawn(
    ...program({ do: 'many', via: lan.via, flows: FLOWS, ms: HOLD_MS }),
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  let said = ''
  const grown: number[] = []
  asking.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = once(asking, 'exit')
  let isOver = false
  void ended.then(() => (isOver = true))
  await waitUntil(() => isOver || said.startsWith('open'), 60_000)
  while (!isOver) {
    const now = await Promise.all(pids.map(rssBytes))
    grown.push(Math.max(...now.map((bytes, i) => bytes - (before[i] ?? 0))))
    await Promise.race([ended, sleep(200)])
  }
  const { errors, first } = JSON.parse(said.trim().split('\n').at(-1) ?? '') as Many
  if (first !== null) say(`  the first of ${errors} errors: ${first}`)
  const loops = await Promise.all(pids.map((pid) => endLoopWatch(bench.lab, pid)))
  const eventLoopP99 = round(Math.max(...loops), 1)
  const bytesAFlow = Math.round(Math.max(0, ...grown) / FLOWS)
  say(`  ${errors} errors, ${bytesAFlow} bytes a flow, event loops p99 ${loops.join(' and ')} ms`)
  await mustBeOnPath(lan)
  return { errors, bytesAFlow, eventLoopP99 }
}

/** In daemons: how late timers are, from one SIGUSR2 to the next, which has it written down. */
const LOOP_WATCH = `data:text/javascript,${encodeURIComponent(`
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { writeFileSync } from 'node:fs'
let watch = null
if (process.argv.includes('daemon')) process.on('SIGUSR2', () => {
  if (watch === null) {
    watch = monitorEventLoopDelay({ resolution: 5 })
    watch.enable()
    return
  }
  watch.disable()
  writeFileSync(process.env.BENCH_DIR + '/loop-' + process.pid, String(watch.percentile(99) / 1e6 - 5))
  watch = null
})
`)}`

/** Gone with the lab. */
const benchDir = ({ hosts }: Lab): string => (hosts[0] as Host).dir

async function endLoopWatch(lab: Lab, pid: number): Promise<number> {
  const file = join(benchDir(lab), `loop-${pid}`)
  process.kill(pid, 'SIGUSR2')
  let text = ''
  await waitUntil(async () => {
    text = await readFile(file, 'utf8').catch(() => '')
    return text !== ''
  })
  return round(Number(text), 1)
}

async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

/** Who asks starts anew each time: there is no tunnel then. */
async function firstFlows(
  bench: Bench,
  rounds: number,
  { say }: During
): Promise<TunnelResults['firstFlow']> {
  const { lan, direct, relayed, nodes } = bench
  const samples = { lan: [] as number[], punched: [] as number[], relayed: [] as number[] }
  say(`first flows; ${await busy()} of the processors are at work without them`)
  for (let i = 0; i < rounds; i++) {
    await Promise.all(
      [lan.from, relayed.from].map(async (node) => {
        await node.json('down')
        await node.start()
      })
    )
    await untilTogether(nodes)
    await untilServed([lan, direct, relayed])
    for (const [name, pair] of [
      ['lan', lan],
      ['punched', direct],
      ['relayed', relayed]
    ] as const) {
      if ((await pathOf(pair)) !== null) throw new Error(`a tunnel to ${pair.to.name} is there`)
      const [ms = NaN] = await ask<number[]>(pair.from.host, {
        do: 'open',
        times: 1,
        via: pair.via
      })
      say(`${i + 1}  ${name}  ${Math.round(ms)} ms, ${await pathOf(pair)}`)
      await mustBeOnPath(pair)
      samples[name].push(ms)
    }
  }
  return {
    lan: durations(samples.lan),
    punched: durations(samples.punched),
    relayed: durations(samples.relayed)
  }
}

/** Share of the machine's processors that are at work, in half a second. */
async function busy(): Promise<string> {
  const look = (): { idle: number; all: number } => {
    const times = cpus().map(({ times }) => times)
    const idle = times.reduce((sum, each) => sum + each.idle, 0)
    return {
      idle,
      all: times.reduce((sum, t) => sum + t.user + t.nice + t.sys + t.irq + t.idle, 0)
    }
  }
  const before = look()
  await sleep(500)
  const after = look()
  return `${Math.round(100 * (1 - (after.idle - before.idle) / (after.all - before.all)))} %`
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits))
