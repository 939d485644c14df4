/**
 * One rollout after another on three nodes with an engine each, the new container of a slot up before
 * the old one ends: at no moment fewer serve than asked for, and each ends as done.
 */
import type { DeployResult, ReplicaJson, RolloutJson } from '../../apps/api.ts'
import { createClient, withQuery, type Client } from '../../apps/client.ts'
import { BUSYBOX } from '../helpers/docker.ts'
import { createFleet } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { countServing } from '../helpers/serving.ts'
import { specWith } from '../helpers/spec.ts'
import { waitUntil } from '../helpers/wait.ts'
import { withTeardown } from './teardown.ts'

export interface RolloutsResult {
  soak: 'rollouts'
  seed: number
  rollouts: number
  /** Looks, 50 ms apart, and how many of them saw fewer than asked for. */
  looks: number
  below: number
  least: number
  /** ms from the request until `done`. */
  ms: { p50: number; max: number }
  broken: string[]
}

const REPLICAS = 3
/** A container serves half a second after its start; looks come late. */
const SERVES_AFTER_MS = 300
const COMMAND = ['sh', '-c', 'trap "exit 0" TERM; sleep 0.5; touch /tmp/up; sleep 1000000 & wait']
const LATE_MS = 120_000

export async function rollouts({
  times,
  seed,
  say
}: {
  times: number
  seed: number
  say: (line: string) => void
}): Promise<RolloutsResult> {
  const took: number[] = []
  const broken: string[] = []
  return withTeardown(async (t) => {
    const fleet = await createFleet(t, await createLab(4, t))
    const clients = fleet.nodes.map(({ dataDir }) => createClient(dataDir))
    const [first] = clients as [Client]
    await deploy(first, 0)
    await untilUp(first)
    const sockets = fleet.nodes.map(({ dockerSocket }) => dockerSocket as string)
    const serving = countServing('shop', sockets, SERVES_AFTER_MS)
    for (let i = 1; i <= times; i++) {
      // Each node is asked in its turn, so that it is the leader, or not.
      const client = clients[i % clients.length] as Client
      const started = performance.now()
      const revision = await deploy(client, i)
      const { state, reason } = await untilOver(client, revision)
      took.push(Math.round(performance.now() - started))
      say(`${i}  ${state} after ${took.at(-1)} ms`)
      if (state !== 'done') broken.push(`rollout ${i} is ${state}: ${reason}`)
    }
    const counts = await serving.end()
    const below = counts.filter((count) => count < REPLICAS).length
    const least = Math.min(...counts)
    if (below > 0)
      broken.push(`fewer than ${REPLICAS} served at ${below} moments, at least ${least}`)
    const sorted = took.toSorted((a, b) => a - b)
    const ms = { p50: sorted[Math.floor((times - 1) / 2)] ?? 0, max: sorted.at(-1) ?? 0 }
    return {
      ...{ soak: 'rollouts', seed, rollouts: times },
      ...{ looks: counts.length, below, least, ms, broken }
    }
  })
}

/** @returns the revision it brings */
async function deploy(client: Client, n: number): Promise<string> {
  const spec = specWith({
    image: BUSYBOX,
    command: COMMAND,
    env: { N: String(n) },
    replicas: REPLICAS,
    healthcheck: {
      ...{ command: ['test', '-f', '/tmp/up'], shell: false },
      // A machine that is busy must not look like a container that is sick.
      ...{ intervalMs: 500, timeoutMs: 10_000, retries: 3, startPeriodMs: 10_000 }
    },
    update: { order: 'startFirst', monitorMs: 1_000 }
  })
  const { changes } = await client.post<DeployResult>('/applications', {
    application: 'shop',
    microservices: [{ name: 'web', spec }]
  })
  return changes[0]?.revision ?? ''
}

async function untilUp(client: Client): Promise<void> {
  await waitUntil(async () => {
    const all = await client.get<ReplicaJson[]>('/replicas')
    return all.length === REPLICAS && all.every(({ healthy }) => healthy === true)
  }, LATE_MS)
}

async function untilOver(client: Client, revision: string): Promise<RolloutJson> {
  let last: RolloutJson | undefined
  await waitUntil(
    async () => {
      const path = withQuery('/rollouts', { ref: 'shop/web' })
      ;[last] = await client.get<RolloutJson[]>(path)
      if (last?.state === 'rolledBack') return true
      return last?.revision === revision && last.state === 'done'
    },
    LATE_MS,
    100
  )
  return last as RolloutJson
}
