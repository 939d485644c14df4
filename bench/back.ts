/**
 * The link of one of three nodes is cut at the switch for 5 s, for 60 s and once for 10 minutes, and
 * restored. What belongs to the node (pinned, or never replaced) must run on untouched; of what was
 * replaced meanwhile (after 5 s, `quick` after 3 s) one copy too many runs, on either side. From the moment the link is back until
 * each such copy is asked to stop, and until it is gone, by the engines' own events. One microservice
 * ends when it is asked to, another only when its stop grace is over.
 */
import type { ReplicaJson } from '../apps/api.ts'
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import { EngineEvents, type EngineEvent } from '../test/helpers/engine-events.ts'
import { runningOf } from '../test/helpers/serving.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { declare, type During, type Row } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'
import { idleSpec, startThreeNodes, untilWhole, type BenchNode } from './three-nodes.ts'

/** How often for 5 s and for 60 s; half as often, rounded up, for 60 s. */
const ROUNDS = 6
const APPLICATION = 'back'
const CUT = 'n3'
const TOLD_MS = 15_000
/** What the Agent gives a container, and a second for two busy engines. */
const GONE_MS = TOLD_MS + 10_000 + 1_000
/** After the last copy too many is gone, nothing more may happen. */
const CALM_MS = 5_000
const DEAF_COMMAND = ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done']

export interface Back {
  /** Copies too many, until each was asked to stop, and until it was gone; null where there was none. */
  told: Durations | null
  gone: Durations | null
  rounds: number
}

export interface BackResults {
  /** By how long the link was cut, such as `60s`. */
  back: Record<string, Back>
  /** Containers that were to run where they ran, and were stopped or started anew. */
  restarts: number
}

export const back = declare<BackResults>({
  question:
    'back: a node is back: until the copies too many are stopped, and is anything restarted?',

  async run({ runs, minutes }, during) {
    const nodes = await startThreeNodes(during)
    const events = await EngineEvents.watch(
      nodes.map(({ host }) => host.dockerSocket),
      during,
      ['start', 'kill', 'die']
    )
    await deploy(nodes)
    const rounds = runs ?? ROUNDS
    const plan = [
      { cutMs: 5_000, times: rounds },
      { cutMs: 60_000, times: Math.ceil(rounds / 2) },
      { cutMs: minutes * 60_000, times: 1 }
    ]
    const results: BackResults = { back: {}, restarts: 0 }
    for (const { cutMs, times } of plan) {
      const seen: Seen[] = []
      for (let i = 0; i < times; i++) seen.push(await cutAndBack(nodes, events, cutMs, during))
      const of = (which: 'told' | 'gone'): Durations | null => {
        const all = seen.flatMap((round) => round[which])
        return all.length === 0 ? null : durations(all)
      }
      results.back[`${cutMs / 1000}s`] = { told: of('told'), gone: of('gone'), rounds: times }
      results.restarts += seen.reduce((sum, { restarts }) => sum + restarts, 0)
    }
    return results
  },

  rows: ({ back: all, restarts }) => [
    ...Object.entries(all).flatMap(([length, { told, gone }]) => [
      row(`back after ${length}: told to stop`, told, TOLD_MS),
      row(`back after ${length}: gone`, gone, GONE_MS)
    ]),
    {
      what: 'restarted',
      measured: String(restarts),
      must: { be: '0', holds: restarts === 0 }
    }
  ]
})

function row(what: string, found: Durations | null, mostMs: number): Row {
  if (found === null) return { what, measured: 'no copy too many', must: null }
  const must = { be: `p95 ≤ ${mostMs} ms`, holds: found.p95Ms <= mostMs }
  return { what, measured: spread(found), must }
}

async function deploy(nodes: BenchNode[]): Promise<void> {
  const of = (name: string, spec: Partial<MicroserviceSpec>) => ({
    name,
    spec: { ...idleSpec(3), ...spec }
  })
  const microservices = [
    of('pinned', { node: CUT }),
    of('stays', { disconnect: { replace: 'never' } }),
    of('moves', {}),
    of('quick', { disconnect: { lostAfterMs: 3_000 } }),
    of('deaf', { command: DEAF_COMMAND })
  ]
  await nodes[0]?.client.post('/applications', { application: APPLICATION, microservices })
}

interface Seen {
  /** ms after the link was back, a number a copy. */
  told: number[]
  gone: number[]
  restarts: number
}

async function cutAndBack(
  nodes: BenchNode[],
  events: EngineEvents,
  cutMs: number,
  { say }: During
): Promise<Seen> {
  const before = await untilCalm(nodes)
  const lost = nodes.find(({ fleet }) => fleet.name === CUT) as BenchNode
  const cutAt = Date.now()
  await lost.fleet.cut()
  try {
    await sleep(cutMs)
  } finally {
    await lost.fleet.heal()
  }
  const backAt = Date.now()
  await untilCalm(nodes)
  await sleep(CALM_MS)
  const mine = events.seen.filter(
    ({ attributes, at }) => attributes['brume.application'] === APPLICATION && at >= cutAt
  )
  const told = firstOf(mine, 'kill')
  const spare = told.filter((event) => isReplaced(event))
  const gone = firstOf(mine, 'die').filter(({ id }) => spare.some((event) => event.id === id))
  const restarts =
    told.length -
    spare.length +
    mine.filter((event) => event.action === 'start' && before.has(placeOf(event))).length
  const after = (all: EngineEvent[]): number[] => all.map(({ at }) => at - backAt)
  const seen = { told: after(spare), gone: after(gone), restarts }
  const list = (all: number[]): string =>
    all.length === 0 ? 'never' : `after ${all.map((ms) => Math.round(ms)).join(', ')} ms`
  say(
    `cut for ${cutMs / 1000} s  told to stop ${list(seen.told)}, gone ${list(seen.gone)}, ` +
      `${restarts} restarted`
  )
  return seen
}

const isReplaced = ({ attributes }: EngineEvent): boolean =>
  ['moves', 'quick', 'deaf'].includes(attributes['brume.microservice'] ?? '')

/** The first such event of each container. */
function firstOf(events: EngineEvent[], action: EngineEvent['action']): EngineEvent[] {
  const first = new Map<string, EngineEvent>()
  for (const event of events) {
    if (event.action === action && !first.has(event.id)) first.set(event.id, event)
  }
  return [...first.values()]
}

const placeOf = ({ socket, attributes }: Pick<EngineEvent, 'socket' | 'attributes'>): string =>
  `${socket} ${attributes['brume.microservice']}/${attributes['brume.slot']}`

/**
 * All nodes see each other and one leader, and each slot runs once, where every node says it does.
 * @returns the places that have a copy
 */
async function untilCalm(nodes: BenchNode[]): Promise<Set<string>> {
  await untilWhole(nodes)
  let places = new Set<string>()
  await waitUntil(
    async () => {
      const seen = await Promise.all(
        nodes.map(({ client }) => client.get<ReplicaJson[]>('/replicas'))
      )
      const wanted = seen.map((rows) =>
        rows.every(({ state }) => state === 'running')
          ? rows.map((r) => `${socketOf(nodes, r.node)} ${r.microservice}/${r.slot}`).sort()
          : null
      )
      const run = await Promise.all(
        nodes.map(async ({ host: { dockerSocket: socket } }) =>
          (await runningOf(APPLICATION, [socket])).map(({ Labels: attributes }) =>
            placeOf({ socket, attributes })
          )
        )
      )
      const there = run.flat().sort()
      places = new Set(there)
      return there.length > 0 && wanted.every((each) => each?.join() === there.join())
    },
    120_000,
    100
  )
  return places
}

const socketOf = (nodes: BenchNode[], name: string | null): string | undefined =>
  nodes.find(({ fleet }) => fleet.name === name)?.host.dockerSocket
