/**
 * Two members that were apart for a month meet on a LAN with no internet and no bootstrap. The month
 * is virtual: both daemons are killed while apart, and come up with wall clocks 30 days on, one of
 * them an hour more. Before and after it each side is administered alone.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type {
  ApplicationJson,
  AuditJson,
  NodeChange,
  NodeJson,
  ReplicaJson
} from '../../apps/api.ts'
import { createClient, withQuery, type Client } from '../../apps/client.ts'
import { aheadEnv, goAhead } from '../helpers/ahead.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Host, type Lab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { withTeardown } from './teardown.ts'

export interface MeetResult {
  soak: 'meet'
  seed: number
  /** ms from the link until each showed the other's ops and status. */
  metMs: number[]
  p50Ms: number | null
  p95Ms: number | null
  broken: string[]
}

const MONTH_MS = 30 * 86_400_000
const HOUR_MS = 3_600_000
const MET_MS = 5_000
const LATE_MS = 60_000

interface Side {
  node: FleetNode
  client: Client
  aheadMs: number
}

export async function meet({
  times,
  seed,
  say
}: {
  times: number
  seed: number
  say: (line: string) => void
}): Promise<MeetResult> {
  const metMs: number[] = []
  await withTeardown(async (t) => {
    const lab = await createLab({ lans: [{ router: 'none', hosts: 2 }], open: 0 }, t)
    const sides = await begin(lab, t)
    for (let round = 1; round <= times; round++) {
      metMs.push(await apartAndTogether(lab, sides, round))
      say(`${round}  met ${metMs.at(-1)} ms after the link`)
    }
  })
  const p95Ms = nth(metMs, 0.95)
  const late = p95Ms === null || p95Ms > MET_MS
  const broken = late ? [`met only ${p95Ms} ms after the link (p95)`] : []
  return { soak: 'meet', seed, metMs, p50Ms: nth(metMs, 0.5), p95Ms, broken }
}

async function begin(lab: Lab, t: Parameters<typeof createFleet>[0]): Promise<[Side, Side]> {
  const [first] = lab.hosts as [Host]
  const env = await aheadEnv(first.dir)
  const fleet = await createFleet(t, lab, { engines: false, dht: false, env })
  const sides = fleet.nodes.map((node): Side => {
    return { node, client: createClient(node.dataDir), aheadMs: 0 }
  })
  for (const { node, client } of sides) {
    const command = { image: 'none', command: ['sleep', '100000'], node: node.name }
    const file = { apiVersion: 'brume/v1', kind: 'Application', metadata: { name: node.name } }
    const path = join(node.host.dir, 'app.yaml')
    const spec = { microservices: [{ name: 'idle', ...command }] }
    await writeFile(path, JSON.stringify({ ...file, spec }))
    const { code, stderr } = await node.brume('deploy', '-f', path)
    if (code !== 0) throw new Error(`deploy on ${node.name}: ${stderr}`)
    await waitUntil(async () => (await runs(client, node.name)) === 1, LATE_MS)
  }
  return sides as [Side, Side]
}

async function apartAndTogether(lab: Lab, sides: [Side, Side], round: number): Promise<number> {
  await lab.cut(0)
  await lab.cut(1)
  await Promise.all(sides.map((side) => untilAlone(side)))
  await Promise.all(sides.map((side) => change(side, { before: String(round) })))
  await Promise.all(sides.map(({ node }) => node.kill()))
  for (const [i, side] of sides.entries()) {
    side.aheadMs = round * MONTH_MS + i * HOUR_MS
    await goAhead(side.node, side.aheadMs)
  }
  await Promise.all(sides.map(({ node }) => node.start()))
  await Promise.all(sides.map((side) => change(side, { after: String(round) })))
  await Promise.all(sides.map(mustBeAhead))
  const copies = 1 + (round % 2)
  for (const { client, node } of sides) {
    await client.post(`/applications/${node.name}/idle/scale`, { replicas: copies })
    await waitUntil(async () => (await runs(client, node.name)) === copies, LATE_MS)
  }

  await Promise.all([lab.heal(0), lab.heal(1)])
  const linkedMs = performance.now()
  const [one, two] = sides
  await Promise.all([
    untilShown(one.client, two.node.name, round, copies),
    untilShown(two.client, one.node.name, round, copies)
  ])
  const ms = Math.round(performance.now() - linkedMs)
  await untilTogether(sides.map(({ node }) => node))
  return ms
}

const untilAlone = ({ client, node }: Side): Promise<void> =>
  waitUntil(async () => {
    const nodes = await client.get<NodeJson[]>('/nodes')
    return nodes.every(({ name, state }) => name === node.name || state !== 'alive')
  }, LATE_MS)

async function change({ client, node }: Side, set: Record<string, string>): Promise<void> {
  const body: NodeChange = { labels: { set, remove: [] } }
  await client.post(`/nodes/${node.name}`, body)
}

/** @throws where its daemon's clock is not what was asked for, and the month would be none. */
async function mustBeAhead({ client, node, aheadMs }: Side): Promise<void> {
  const [newest] = (await client.get<AuditJson[]>('/audit')).slice(-1)
  const ms = Date.parse(newest?.at ?? '') - Date.now()
  if (!(Math.abs(ms - aheadMs) < HOUR_MS / 2)) throw new Error(`${node.name} is ${ms} ms ahead`)
}

/** Its ops, of before and after the month, and what it says now: alive, and so many copies run. */
const untilShown = (client: Client, name: string, round: number, copies: number): Promise<void> =>
  waitUntil(async () => {
    const nodes = await client.get<NodeJson[]>('/nodes')
    const other = nodes.find((each) => each.name === name)
    const { before, after } = other?.labels ?? {}
    const [application] = (await client.get<ApplicationJson[]>('/applications')).filter(
      (each) => each.name === name
    )
    return (
      other?.state === 'alive' &&
      before === String(round) &&
      after === String(round) &&
      application?.replicas.wanted === copies &&
      (await runs(client, name)) === copies
    )
  }, LATE_MS)

async function runs(client: Client, application: string): Promise<number> {
  const rows = await client.get<ReplicaJson[]>(withQuery('/replicas', { ref: application }))
  return rows.filter(({ state }) => state === 'running').length
}

/** The nearest rank. */
function nth(values: number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * share) - 1] ?? null
}
