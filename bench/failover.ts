/**
 * One replica; the link of the node that runs it is cut at the switch, which no end notices. The
 * clock starts just before the cut and stops at the `start` event of a replacement in another
 * engine. Then the link is healed, and the next cut waits until all are together again. Swarm has its
 * rounds afterwards, on the same engines.
 */
import type { ReplicaJson } from '../apps/api.ts'
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import { EngineEvents, type EngineEvent } from '../test/helpers/engine-events.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { SERVICE_LABEL, startDockerSwarm, untilGone, type DockerSwarm } from './docker-swarm.ts'
import { durations, ratio, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec, startThreeNodes, untilWhole, type BenchNode } from './three-nodes.ts'

const ROUNDS = 6
/** Of Swarm: a round takes a minute and more. */
const SWARM_ROUNDS = 2
const APPLICATION = 'one'

export interface FailoverResults {
  brume: Durations
  /** With `lostAfter: 3s`. */
  quick: Durations
  swarm: Durations
  ratios: { swarm: number }
}

export const failover = declare<FailoverResults>({
  question: 'failover: from the cut of a node’s link until its replica starts on another',

  async run({ runs }, during) {
    const nodes = await startThreeNodes(during)
    const hosts = nodes.map(({ host }) => host)
    const sockets = hosts.map(({ dockerSocket }) => dockerSocket)
    const starts = await EngineEvents.watch(sockets, during, ['start'])
    const samples = { brume: [] as number[], quick: [] as number[], swarm: [] as number[] }
    const rounds = runs ?? ROUNDS
    for (let i = 1; i <= rounds; i++) {
      samples.brume.push(await byBrume(nodes, starts, {}))
      during.say(`${i}  brume  ${Math.round(samples.brume.at(-1) ?? 0)} ms`)
      samples.quick.push(await byBrume(nodes, starts, { lostAfterMs: 3_000 }))
      during.say(`${i}  quick  ${Math.round(samples.quick.at(-1) ?? 0)} ms`)
    }
    // Afterwards: an engine that manages a swarm answers nothing about networks for 20 s where that has no leader.
    during.say('three managers of a swarm')
    const swarm = await startDockerSwarm(hosts)
    for (let i = 1; i <= Math.min(SWARM_ROUNDS, rounds); i++) {
      samples.swarm.push(await bySwarm(nodes, swarm, starts, i))
      during.say(`${i}  swarm  ${Math.round(samples.swarm.at(-1) ?? 0)} ms`)
    }
    const [brume, theirs] = [durations(samples.brume), durations(samples.swarm)]
    const quick = durations(samples.quick)
    return { brume, quick, swarm: theirs, ratios: { swarm: ratio(brume, theirs) } }
  },

  rows: ({ brume, quick, swarm, ratios }) => [
    {
      what: 'brume',
      measured: spread(brume),
      must: { be: 'p95 ≤ 8000 ms', holds: brume.p95Ms <= 8000 }
    },
    {
      what: 'brume, lostAfter 3 s',
      measured: spread(quick),
      must: { be: 'p95 ≤ 6000 ms', holds: quick.p95Ms <= 6000 }
    },
    { what: 'Docker Swarm', measured: spread(swarm), must: null },
    {
      what: 'brume over Swarm',
      measured: String(ratios.swarm),
      must: { be: '≤ 0.5', holds: ratios.swarm <= 0.5 }
    }
  ]
})

async function byBrume(
  nodes: BenchNode[],
  starts: EngineEvents,
  disconnect: NonNullable<MicroserviceSpec['disconnect']>
): Promise<number> {
  await untilWhole(nodes)
  const microservices = [{ name: 'web', spec: { ...idleSpec(1), disconnect } }]
  await nodes[0]?.client.post('/applications', { application: APPLICATION, microservices })
  const at = await untilRunsOnce(nodes)
  return cutAndHeal(at, starts, ({ attributes }) => {
    return attributes['brume.application'] === APPLICATION
  })
}

async function bySwarm(
  nodes: BenchNode[],
  swarm: DockerSwarm,
  starts: EngineEvents,
  i: number
): Promise<number> {
  const name = `one-${i}`
  await swarm.untilWhole()
  await swarm.create(name, 1)
  const isOurs = ({ attributes }: EngineEvent): boolean => attributes[SERVICE_LABEL] === name
  const [started] = await starts.first(1, isOurs)
  const at = nodes.find(({ host }) => host.dockerSocket === started?.socket)
  if (at === undefined) throw new Error('it started nowhere')
  const ms = await cutAndHeal(at, starts, isOurs)
  await swarm.untilWhole()
  await swarm.remove(name)
  return ms
}

async function cutAndHeal(
  { host, fleet }: BenchNode,
  starts: EngineEvents,
  isOurs: (start: EngineEvent) => boolean
): Promise<number> {
  const cutAt = Date.now()
  await fleet.cut()
  try {
    const [replacement] = await starts.first(
      1,
      (start) => isOurs(start) && start.at >= cutAt && start.socket !== host.dockerSocket,
      180_000
    )
    return (replacement?.at ?? NaN) - cutAt
  } finally {
    await fleet.heal()
  }
}

/** The node that runs the one replica; every node says so, and no engine has another copy. */
async function untilRunsOnce(nodes: BenchNode[]): Promise<BenchNode> {
  let at: BenchNode | undefined
  await waitUntil(async () => {
    const seen = await Promise.all(
      nodes.map(({ client }) => client.get<ReplicaJson[]>('/replicas'))
    )
    const where = seen.map((all) =>
      all.length === 1 && all[0]?.state === 'running' ? all[0] : null
    )
    at = nodes.find(({ fleet }) => where.every((replica) => replica?.node === fleet.name))
    return at !== undefined
  }, 120_000)
  if (at === undefined) throw new Error('it runs nowhere')
  const others = nodes.filter((node) => node !== at).map(({ host }) => host)
  await untilGone(others, 'brume.application', APPLICATION)
  return at
}
