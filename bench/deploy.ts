/**
 * Three contestants on the same three engines, in turns, a fresh application each time:
 *
 *   brume    POST /applications on a daemon's socket (each node in turn), as `brume deploy` sends it,
 *            and then the watch it keeps
 *   swarm    POST /services/create on a manager's socket, as `docker service create` sends it
 *   engine   the containers brume made, made again by bare calls to the three sockets in parallel
 *
 * The clock starts when the request is sent and stops at the third engine's `start` event.
 */
import type { DeployRequest, DeployResult } from '../apps/api.ts'
import { withQuery } from '../apps/client.ts'
import type { Host } from '../test/helpers/lab.ts'
import { EngineEvents } from '../test/helpers/engine-events.ts'
import { declare } from './bench.ts'
import {
  ask,
  SERVICE_LABEL,
  startDockerSwarm,
  untilGone,
  type DockerSwarm
} from './docker-swarm.ts'
import { durations, ratio, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec, startThreeNodes, type BenchNode } from './three-nodes.ts'

const ROUNDS = 12
/** Swarm takes part in every second round only: it is slow to remove. */
const SWARM_EVERY = 2
const RUN_LABEL = 'bench.run'
const APPLICATION_LABEL = 'brume.application'

export interface DeployResults {
  brume: Durations
  swarm: Durations
  engine: Durations
  ratios: { swarm: number; engine: number }
}

export const deploy = declare<DeployResults>({
  question: 'deploy: 3 replicas on 3 nodes, from the request to the last engine’s start event',

  async run({ runs }, during) {
    const nodes = await startThreeNodes(during)
    const hosts = hostsOf(nodes)
    during.say('three managers of a swarm')
    const swarm = await startDockerSwarm(hosts)
    const starts = await EngineEvents.watch(
      hosts.map(({ dockerSocket }) => dockerSocket),
      during,
      ['start']
    )
    const body = await bodyOf(nodes, starts)
    const contestants = {
      brume: (i: number) => byBrume(nodes, starts, i),
      engine: (i: number) => byEngine(nodes, starts, body, i),
      swarm: (i: number) => bySwarm(swarm, starts, i)
    }
    const samples = { brume: [] as number[], engine: [] as number[], swarm: [] as number[] }
    for (const run of Object.values(contestants)) await run(0)
    for (let i = 1; i <= (runs ?? ROUNDS); i++) {
      for (const [name, run] of Object.entries(contestants)) {
        if (name === 'swarm' && i % SWARM_EVERY !== 0 && runs !== 1) continue
        const ms = await run(i)
        samples[name as keyof typeof samples].push(ms)
        during.say(`${i}  ${name.padEnd(6)} ${Math.round(ms)} ms`)
      }
    }
    const [brume, own, bare] = [samples.brume, samples.swarm, samples.engine].map(durations) as [
      Durations,
      Durations,
      Durations
    ]
    return {
      brume,
      swarm: own,
      engine: bare,
      ratios: { swarm: ratio(brume, own), engine: ratio(brume, bare) }
    }
  },

  rows: ({ brume, swarm, engine, ratios }) => [
    { what: 'brume', measured: spread(brume), must: null },
    { what: 'Docker Swarm', measured: spread(swarm), must: null },
    { what: 'bare API calls', measured: spread(engine), must: null },
    {
      what: 'brume over Swarm',
      measured: String(ratios.swarm),
      must: { be: '≤ 1', holds: ratios.swarm <= 1 }
    },
    {
      what: 'brume over bare calls',
      measured: String(ratios.engine),
      must: { be: '≤ 1.5', holds: ratios.engine <= 1.5 }
    }
  ]
})

async function byBrume(nodes: BenchNode[], starts: EngineEvents, i: number): Promise<number> {
  const application = `run-${i}`
  const asked = nodes[i % nodes.length]
  if (asked === undefined) throw new Error('there is no such node')
  const request = deployRequest(application)
  const watching = new AbortController()
  const sentAt = Date.now()
  const watched = asked.client
    .post<DeployResult>('/applications', request)
    .then(() => drain(asked, application, watching.signal))
  const started = await starts.first(
    nodes.length,
    ({ attributes }) => attributes[APPLICATION_LABEL] === application
  )
  watching.abort()
  await watched
  await asked.client.delete(`/applications/${application}`)
  await untilGone(hostsOf(nodes), APPLICATION_LABEL, application)
  return lastOf(started) - sentAt
}

async function bySwarm(swarm: DockerSwarm, starts: EngineEvents, i: number): Promise<number> {
  const name = `run-${i}`
  const sentAt = Date.now()
  await swarm.create(name, 3)
  const started = await starts.first(3, ({ attributes }) => attributes[SERVICE_LABEL] === name)
  await swarm.remove(name)
  return lastOf(started) - sentAt
}

async function byEngine(
  nodes: BenchNode[],
  starts: EngineEvents,
  body: object,
  i: number
): Promise<number> {
  const run = String(i)
  const sentAt = Date.now()
  const ids = await Promise.all(
    nodes.map(async ({ host }) => {
      const made = await ask(host, 'POST', `/containers/create?name=bench-run-${i}`, {
        ...body,
        Labels: { [RUN_LABEL]: run }
      })
      const { Id } = made as { Id: string }
      await ask(host, 'POST', `/containers/${Id}/start`)
      return Id
    })
  )
  const started = await starts.first(ids.length, ({ attributes }) => attributes[RUN_LABEL] === run)
  await Promise.all(
    nodes.map(async ({ host }, n) => {
      await ask(host, 'POST', `/containers/${ids[n]}/stop`)
      await ask(host, 'DELETE', `/containers/${ids[n]}?v=true`)
    })
  )
  return lastOf(started) - sentAt
}

/** What brume asks an engine for, read from a container it made; without its labels. */
async function bodyOf(nodes: BenchNode[], starts: EngineEvents): Promise<object> {
  const [first] = nodes
  if (first === undefined) throw new Error('there is no node')
  await first.client.post('/applications', deployRequest('pattern'))
  const [made] = await starts.first(
    nodes.length,
    ({ attributes }) => attributes[APPLICATION_LABEL] === 'pattern'
  )
  const host = nodes.find(({ host }) => host.dockerSocket === made?.socket)?.host
  if (made === undefined || host === undefined) throw new Error('nothing was started')
  const { Config, HostConfig } = (await ask(host, 'GET', `/containers/${made.id}/json`)) as {
    Config: { Image: string; Cmd: string[]; Env: string[] }
    HostConfig: object
  }
  await first.client.delete('/applications/pattern')
  await untilGone(hostsOf(nodes), APPLICATION_LABEL, 'pattern')
  const { Image, Cmd, Env } = Config
  return { Image, Cmd, Env, HostConfig }
}

const deployRequest = (application: string): DeployRequest => ({
  application,
  microservices: [{ name: 'web', spec: idleSpec(3) }]
})

const hostsOf = (nodes: BenchNode[]): Host[] => nodes.map(({ host }) => host)

const lastOf = (started: { at: number }[]): number => Math.max(...started.map(({ at }) => at))

/** Follows the application's watch as a waiting CLI does. */
async function drain(node: BenchNode, application: string, signal: AbortSignal): Promise<void> {
  const events = node.client.events(withQuery('/watch', { application }), { signal })
  try {
    while ((await events.next()).done !== true);
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
