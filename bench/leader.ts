/**
 * The link of the node that leads is cut at the switch, which no end notices. From the cut until the
 * last of the others says that another leads. Each node runs a replica that nobody replaces, so that a
 * start of any container is one too many.
 */
import type { ReplicaJson, StatusJson } from '../apps/api.ts'
import { EngineEvents } from '../test/helpers/engine-events.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec, startThreeNodes, untilWhole, type BenchNode } from './three-nodes.ts'

const ROUNDS = 10
const LOOK_MS = 50

export interface LeaderResults {
  brume: Durations
  /** Containers that started though nothing asked for it. */
  restarts: number
}

export const leader = declare<LeaderResults>({
  question: 'leader: from the cut of the leader’s link until another leads',

  async run({ runs }, during) {
    const nodes = await startThreeNodes(during)
    const [first] = nodes as [BenchNode]
    const spec = { ...idleSpec(3), disconnect: { replace: 'never' as const } }
    const microservices = [{ name: 'web', spec }]
    await first.client.post('/applications', { application: 'calm', microservices })
    await waitUntil(async () => {
      const all = await first.client.get<ReplicaJson[]>('/replicas')
      return all.length === 3 && all.every(({ state }) => state === 'running')
    }, 60_000)
    const sockets = nodes.map(({ host }) => host.dockerSocket)
    const starts = await EngineEvents.watch(sockets, during, ['start'])
    // By the engines' clock, which is this machine's: what they tell begins with the current second.
    const from = Date.now()
    const samples: number[] = []
    for (let i = 1; i <= (runs ?? ROUNDS); i++) {
      await untilWhole(nodes)
      samples.push(await cutLeader(nodes))
      during.say(`${i}  ${Math.round(samples.at(-1) ?? NaN)} ms`)
    }
    await untilWhole(nodes)
    return { brume: durations(samples), restarts: starts.seen.filter(({ at }) => at > from).length }
  },

  rows: ({ brume, restarts }) => [
    {
      what: 'another leads',
      measured: spread(brume),
      must: { be: 'p95 ≤ 5000 ms', holds: brume.p95Ms <= 5000 }
    },
    {
      what: 'containers started',
      measured: String(restarts),
      must: { be: '0', holds: restarts === 0 }
    }
  ]
})

async function cutLeader(nodes: BenchNode[]): Promise<number> {
  const [first] = nodes as [BenchNode]
  const { leader: name } = await first.client.get<StatusJson>('/status')
  const led = nodes.find(({ fleet }) => fleet.name === name) as BenchNode
  const others = nodes.filter((node) => node !== led)
  const started = performance.now()
  await led.fleet.cut()
  try {
    await waitUntil(
      async () => {
        const seen = await Promise.all(
          others.map(({ client }) => client.get<StatusJson>('/status'))
        )
        const names = new Set(seen.map((status) => status.leader))
        return names.size === 1 && !names.has(name) && !names.has(null)
      },
      60_000,
      LOOK_MS
    )
    return performance.now() - started
  } finally {
    await led.fleet.heal()
  }
}
