/**
 * Three replicas on three nodes get another revision, one at a time, the new one up before the old one
 * ends; then, brume alone, the old one ended first. A container serves a second after its start, and
 * its healthcheck, once a second, says so. All are watched for as long before the rollout is over.
 * From the request until the daemon, or the swarm, says that it is. Swarm takes its turns on the same
 * engines. What serves is counted at brume's engines every 50 ms.
 */
import type { RolloutJson } from '../apps/api.ts'
import { withQuery } from '../apps/client.ts'
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import { countServing } from '../test/helpers/serving.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { startDockerSwarm, type DockerSwarm, type SwarmService } from './docker-swarm.ts'
import { durations, ratio, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec, startThreeNodes, type BenchNode } from './three-nodes.ts'

const ROUNDS = 6
/** Swarm takes part in every second round only. */
const SWARM_EVERY = 2
const REPLICAS = 3
const MONITOR_MS = 5_000
const APPLICATION = 'rollout'
/** A container serves after a second; looks come late. */
const SERVES_AFTER_MS = 700
const COMMAND = ['sh', '-c', 'trap "exit 0" TERM; sleep 1; touch /tmp/up; sleep 1000000 & wait']
const TEST = ['test', '-f', '/tmp/up']

export interface RolloutResults {
  brume: Durations
  swarm: Durations
  ratios: { swarm: number }
  /** The fewest that served at any look. */
  minHealthy: { startFirst: number; stopFirst: number }
}

export const rollout = declare<RolloutResults>({
  question: `rollout: ${REPLICAS} replicas get another revision, one at a time`,

  async run({ runs }, during) {
    const nodes = await startThreeNodes(during)
    const [first] = nodes as [BenchNode]
    during.say('three managers of a swarm')
    const swarm = await startDockerSwarm(nodes.map(({ host }) => host))
    await deploy(first, 'startFirst', '0')
    await untilUp(first)
    await swarm.create(APPLICATION, REPLICAS, serviceOf('0'))
    await swarm.untilRuns(APPLICATION)
    const samples = { brume: [] as number[], swarm: [] as number[] }
    const minHealthy = { startFirst: Infinity, stopFirst: Infinity }
    const rounds = runs ?? ROUNDS
    for (let i = 1; i <= rounds; i++) {
      for (const order of ['startFirst', 'stopFirst'] as const) {
        const { ms, least } = await byBrume(nodes, order, `${order}-${i}`)
        minHealthy[order] = Math.min(minHealthy[order], least)
        if (order === 'startFirst') samples.brume.push(ms)
        during.say(`${i}  brume ${order}  ${Math.round(ms)} ms, at least ${least} served`)
      }
      if (i % SWARM_EVERY !== 0 && rounds !== 1) continue
      samples.swarm.push(await bySwarm(swarm, String(i)))
      during.say(`${i}  swarm  ${Math.round(samples.swarm.at(-1) ?? NaN)} ms`)
    }
    const [brume, theirs] = [durations(samples.brume), durations(samples.swarm)]
    return { brume, swarm: theirs, ratios: { swarm: ratio(brume, theirs) }, minHealthy }
  },

  rows: ({ brume, swarm, ratios, minHealthy: { startFirst, stopFirst } }) => [
    { what: 'brume', measured: spread(brume), must: null },
    { what: 'Docker Swarm', measured: spread(swarm), must: null },
    {
      what: 'brume over Swarm',
      measured: String(ratios.swarm),
      must: { be: '≤ 1', holds: ratios.swarm <= 1 }
    },
    {
      what: 'served at least, startFirst',
      measured: String(startFirst),
      must: { be: '≥ 3', holds: startFirst >= REPLICAS }
    },
    {
      what: 'served at least, stopFirst',
      measured: String(stopFirst),
      must: { be: '≥ 2', holds: stopFirst >= REPLICAS - 1 }
    }
  ]
})

async function byBrume(
  nodes: BenchNode[],
  order: 'startFirst' | 'stopFirst',
  revision: string
): Promise<{ ms: number; least: number }> {
  const [first] = nodes as [BenchNode]
  const sockets = nodes.map(({ host }) => host.dockerSocket)
  const serving = countServing(APPLICATION, sockets, SERVES_AFTER_MS)
  const started = performance.now()
  await deploy(first, order, revision)
  await waitUntil(async () => {
    const path = withQuery('/rollouts', { ref: `${APPLICATION}/web` })
    const [found] = await first.client.get<RolloutJson[]>(path)
    if (found?.state === 'rolledBack') throw new Error(found.reason ?? 'it was rolled back')
    return found?.state === 'done'
  }, 180_000)
  const ms = performance.now() - started
  return { ms, least: Math.min(...(await serving.end())) }
}

async function bySwarm(swarm: DockerSwarm, revision: string): Promise<number> {
  const started = performance.now()
  await swarm.update(APPLICATION, serviceOf(revision))
  return performance.now() - started
}

async function deploy(
  { client }: BenchNode,
  order: 'startFirst' | 'stopFirst',
  revision: string
): Promise<void> {
  const spec: MicroserviceSpec = {
    ...idleSpec(REPLICAS),
    command: COMMAND,
    env: { REVISION: revision },
    healthcheck: {
      ...{ command: TEST, shell: false, intervalMs: 1_000, timeoutMs: 1_000 },
      ...{ retries: 3, startPeriodMs: 5_000 }
    },
    update: { order, monitorMs: MONITOR_MS }
  }
  const microservices = [{ name: 'web', spec }]
  await client.post('/applications', { application: APPLICATION, microservices })
}

async function untilUp({ client }: BenchNode): Promise<void> {
  await waitUntil(async () => {
    const all = await client.get<{ healthy: boolean | null }[]>('/replicas')
    return all.length === REPLICAS && all.every(({ healthy }) => healthy === true)
  }, 60_000)
}

const ns = (ms: number): number => ms * 1_000_000

const serviceOf = (revision: string): SwarmService => ({
  command: COMMAND,
  env: [`REVISION=${revision}`],
  healthcheck: {
    ...{ Test: ['CMD', ...TEST], Interval: ns(1_000), Timeout: ns(1_000) },
    ...{ Retries: 3, StartPeriod: ns(5_000) }
  },
  updateConfig: {
    ...{ Parallelism: 1, Delay: 0, Order: 'start-first' },
    ...{ Monitor: ns(MONITOR_MS), FailureAction: 'rollback', MaxFailureRatio: 0 }
  }
})
