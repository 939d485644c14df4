/**
 * Flows through what the field does to them: a cable that flaps, a relay and a replica that die, peers
 * that read nothing, say nothing or end first, and a machine without a free port.
 *
 *   n1, n2    open: they relay, as n5 does
 *   n3, n4    each behind a symmetric NAT: the asker is on n3, `far` on n4
 *   n5        open; `pair` is on n4 and n5
 *   n6        on the LAN of n3, with `beside`
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NetJson, ReplicaJson, ServiceNetJson } from '../../apps/api.ts'
import { sentenceOf } from '../../core/errors.ts'
import { asker, wordy, type Asked } from '../helpers/asker.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Lab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { writeApp } from '../e2e/apps.ts'
import { withTeardown, type Teardown } from './teardown.ts'

export interface FaultsResult {
  soak: 'faults'
  seed: number
  /** By fault: ms until new flows were fine again, and what else was measured. */
  faults: Record<string, Record<string, number>>
  broken: string[]
}

interface World {
  lab: Lab
  /** Those that can relay. */
  open: FleetNode[]
  near: FleetNode
  far: FleetNode
  other: FleetNode
  /** Orders to the asker of `far`, to that of `beside`, and to that of `pair`. */
  ofFar: (order: string) => Promise<Asked>
  ofBeside: (order: string) => Promise<Asked>
  ofPair: (order: string) => Promise<Asked>
  /** Its answer is a number of bytes. */
  bytesLater: (n: number) => Promise<number>
}

/** What does not hold is thrown. */
type Fault = (world: World) => Promise<Record<string, number>>

const FINE_IN_A_ROW = 5

const FAULTS: Record<string, Fault> = {
  async flap({ far, ofFar }) {
    for (let i = 0; i < 5; i++) {
      await far.cut()
      await sleep(2_000)
      await far.heal()
      await sleep(2_000)
    }
    return { fineMs: await untilFine(ofFar, 15_000) }
  },

  async 'relay killed'({ near, far, open, ofFar }) {
    const via = await viaOf(near, far)
    const relay = open.find(({ name }) => name === via)
    if (relay === undefined) throw new Error(`flows to ${far.name} go through ${via}`)
    await relay.kill()
    const fineMs = await untilFine(ofFar, 15_000)
    const now = await viaOf(near, far)
    await relay.start()
    if (now === via) throw new Error(`flows still go through ${via}`)
    return { fineMs }
  },

  /** With the relay, where the other one is reached through one: it has to find another. */
  async 'node killed'({ near, far, other, open, ofPair }) {
    const { replicas } = await near.json<ServiceNetJson>('net', 'town/pair')
    const used = [far, other].find(({ name }) => name === replicas[0]?.node)
    if (used === undefined) throw new Error(`flows to pair go to ${replicas[0]?.node}`)
    const via = used === other ? await viaOf(near, far) : ''
    const relay = open.find(({ name }) => name === via && name !== used.name)
    await Promise.all([used.kill(), relay?.kill()])
    const fineMs = await untilFine(ofPair, 15_000)
    await Promise.all([used.start(), relay?.start()])
    await near.until<ReplicaJson[]>(['ps', 'town/pair'], (rows) =>
      rows.every(({ state }) => state === 'running')
    )
    return { fineMs }
  },

  async 'slow loris'({ ofFar }) {
    await ofFar('/hold?1500')
    await waitUntil(async () => (await ofFar('/')).held === 1_500, 60_000)
    const { p95Ms } = await whileIt(ofFar, 5_000)
    await ofFar('/release')
    return { held: 1_500, p95Ms }
  },

  async 'slow reader'({ near, far, ofFar }) {
    const before = await Promise.all([near, far].map(memoryOf))
    for (let i = 0; i < 10; i++) await ofFar('/stall')
    const { p95Ms } = await whileIt(ofFar, 10_000)
    const after = await Promise.all([near, far].map(memoryOf))
    await ofFar('/release')
    const grownMiB = Math.max(...after.map((kib, i) => Math.round((kib - (before[i] ?? 0)) / 1024)))
    if (grownMiB > 200) throw new Error(`a daemon grew by ${grownMiB} MiB for ten that do not read`)
    return { p95Ms, grownMiB }
  },

  'slow line': ({ lab, near, ofFar }) => whileSlow(lab, near, ofFar),

  /** TCP, whose system has buffers of its own. */
  async 'slow LAN'({ lab, near, ofBeside }) {
    const rows = await near.json<NetJson[]>('net')
    const path = rows.find(({ name }) => name === 'n6')?.tunnel?.path
    if (path !== 'lan') throw new Error(`flows to n6 go over ${path ?? 'nothing'}`)
    return whileSlow(lab, near, ofBeside)
  },

  async 'half open'({ bytesLater }) {
    const bytes = await bytesLater(20_000_000)
    if (bytes !== 20_000_000) throw new Error(`${bytes} of 20000000 bytes came after the end`)
    return { bytes }
  },

  async 'no port left'({ far, ofFar }) {
    const range = async (ports: string): Promise<void> => {
      const line = `echo ${ports} > /proc/sys/net/ipv4/ip_local_port_range`
      const { code, stderr } = await far.host.exec('sh', ['-c', line])
      if (code !== 0) throw new Error(stderr)
    }
    const { stdout } = await far.host.exec('cat', ['/proc/sys/net/ipv4/ip_local_port_range'])
    await range('40000 40063')
    await ofFar('/hold?300')
    await sleep(5_000)
    const { held } = await ofFar('/')
    if (held >= 300) throw new Error('there were ports for all of them')
    await ofFar('/release')
    await range(stdout.trim())
    return { held, fineMs: await untilFine(ofFar, 15_000) }
  }
}

export async function faults(options: {
  only?: string[]
  seed: number
  say: (line: string) => void
}): Promise<FaultsResult> {
  const { only = Object.keys(FAULTS), seed, say } = options
  const unknown = only.find((name) => !(name in FAULTS))
  if (unknown !== undefined) {
    throw new Error(`there is no fault "${unknown}", only ${Object.keys(FAULTS).join(', ')}`)
  }
  const result: FaultsResult = { soak: 'faults', seed, faults: {}, broken: [] }
  await withTeardown(async (t) => {
    const world = await createWorld(t)
    for (const name of only) {
      try {
        const { ofFar, ofBeside, ofPair } = world
        await Promise.all([ofFar, ofBeside, ofPair].map((ask) => untilFine(ask, 30_000)))
        result.faults[name] = (await FAULTS[name]?.(world)) ?? {}
        say(`${name} ${JSON.stringify(result.faults[name])}`)
      } catch (error) {
        result.broken.push(`${name}: ${sentenceOf(error)}`)
        say(result.broken.at(-1) ?? '')
      }
    }
    const { long } = await world.ofFar('/')
    if (long.silentMs > 30_000) {
      result.broken.push(`the connection that stays open was silent for ${long.silentMs} ms`)
    }
  })
  return result
}

async function createWorld(t: Teardown): Promise<World> {
  const router = 'symmetric' as const
  const lans = [2, 1].map((hosts) => ({ router, hosts }))
  const lab = await createLab({ lans, open: 4 }, t)
  const { nodes } = await createFleet(t, lab, { engines: false, on: [3, 4, 0, 2, 5, 1] })
  const [one, two, near, far, other] = nodes as [
    FleetNode,
    FleetNode,
    FleetNode,
    FleetNode,
    FleetNode
  ]
  const pair = { replicas: 2, maxReplicasPerNode: 1, constraints: ['node in (n4, n5)'] }
  const app = await writeApp(near.host.dir, 'town', [
    { name: 'far', ...wordy(), node: 'n4' },
    { name: 'pair', ...wordy(), ...pair },
    { name: 'beside', ...wordy(), node: 'n6' },
    { name: 'asks-beside', ...asker('BRUME_SERVICE_BESIDE', 10), node: 'n3' },
    { name: 'asks-far', ...asker('BRUME_SERVICE_FAR', 10), node: 'n3' },
    { name: 'asks-pair', ...asker('BRUME_SERVICE_PAIR', 10), node: 'n3' }
  ])
  const { code, stderr } = await near.brume('deploy', '-f', app)
  if (code !== 0) throw new Error(`deploy ended with ${code}: ${stderr.trim()}`)
  const rows = await near.json<ReplicaJson[]>('ps', 'town')
  const portOf = (name: string): number =>
    rows.find(({ microservice }) => microservice === name)?.ports[0]?.host ?? 0
  const orders = (name: string) => async (order: string) =>
    JSON.parse(await near.get(portOf(name), order)) as Asked
  const bytesLater = async (n: number): Promise<number> =>
    Number(await near.get(portOf('asks-far'), `/later?${n}`))
  const asked = {
    ofFar: orders('asks-far'),
    ofBeside: orders('asks-beside'),
    ofPair: orders('asks-pair'),
    bytesLater
  }
  return { lab, open: [one, two, other], near, far, other, ...asked }
}

/** Until the last new flows were all answered, in ms. @throws after `ms` */
async function untilFine(ask: (order: string) => Promise<Asked>, ms: number): Promise<number> {
  const began = performance.now()
  await ask('/reset')
  await waitUntil(async () => {
    const last = (await ask('/')).short.slice(-FINE_IN_A_ROW)
    return last.length === FINE_IN_A_ROW && last.every((took) => took !== null)
  }, ms)
  return Math.round(performance.now() - began)
}

/** @throws where a new flow was not answered meanwhile */
async function whileIt(
  ask: (order: string) => Promise<Asked>,
  ms: number
): Promise<{ p95Ms: number }> {
  await ask('/reset')
  await sleep(ms)
  const { short } = await ask('/')
  const failed = short.filter((took) => took === null).length
  if (failed > 0) throw new Error(`${failed} of ${short.length} new flows were not answered`)
  const sorted = short.filter((took) => took !== null).sort((a, b) => a - b)
  return { p95Ms: Math.round(sorted[Math.floor(sorted.length * 0.95)] ?? 0) }
}

/** An upload over 1 Mbit/s, beside which others wait and are served. */
async function whileSlow(
  lab: Lab,
  { host }: FleetNode,
  ask: (order: string) => Promise<Asked>
): Promise<Record<string, number>> {
  const at = lab.hosts.indexOf(host)
  await lab.shape(at, 1)
  try {
    await ask('/upload')
    await sleep(10_000)
    const { long } = await ask('/')
    const { p95Ms } = await whileIt(ask, 30_000)
    const { opened } = (await ask('/')).long
    if (opened > 0) throw new Error('the connection that stays open had to be opened anew')
    return { p95Ms, silenceMs: Math.round(long.longestSilenceMs) }
  } finally {
    await ask('/release')
    await lab.shape(at, null)
  }
}

async function viaOf(from: FleetNode, to: FleetNode): Promise<string> {
  const row = (await from.json<NetJson[]>('net')).find(({ name }) => name === to.name)
  return row?.tunnel?.via ?? 'nobody'
}

/** Resident, in KiB. */
async function memoryOf(node: FleetNode): Promise<number> {
  const { stdout } = await node.host.exec('cat', [`/proc/${await node.pid()}/status`])
  return Number(/VmRSS:\s+(\d+)/.exec(stdout)?.[1])
}
