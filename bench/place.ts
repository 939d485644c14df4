/**
 * The plan for a large mesh, in memory: 1,000 microservices of 10 replicas each, a third of them with
 * a wish about zones, on 200 nodes in five zones. From nothing; and, when all of it runs, for one
 * microservice that gets another replica. No peer takes part: the question is what a look costs.
 */
import type { StatusBody } from '../core/gossip-records.ts'
import { place as plan, type PlaceInput } from '../roles/controller/place.ts'
import { carriedOut, container, facts, microservice, MIB, node, world } from '../test/sim/worlds.ts'
import { declare } from './bench.ts'
import { durations } from './measure.ts'

const NODES = 200
const MICROSERVICES = 1_000
const REPLICAS = 10
const ZONES = 5
const RUNS = 20

export interface PlaceResults {
  /** Medians. */
  fullMs: number
  oneChangeMs: number
}

export const place = declare<PlaceResults>({
  question: `place: a plan for ${MICROSERVICES} microservices × ${REPLICAS} replicas on ${NODES} nodes`,

  async run({ runs }) {
    const full: number[] = []
    const one: number[] = []
    for (let i = 0; i < (runs ?? RUNS); i++) {
      const empty = largeMesh()
      const [whole, wholeMs] = timed(() => plan(empty))
      full.push(wholeMs)
      if (whole.set.length !== MICROSERVICES * REPLICAS) throw new Error('not all were placed')
      const settled = running(carriedOut(empty, whole))
      plan(settled)
      const [more, moreMs] = timed(() => plan(scaled(settled)))
      one.push(moreMs)
      if (more.set.length !== 1) throw new Error('not one was placed')
    }
    return { fullMs: durations(full).p50Ms, oneChangeMs: durations(one).p50Ms }
  },

  rows: ({ fullMs, oneChangeMs }) => [
    {
      what: 'from nothing',
      measured: `${fullMs} ms`,
      must: { be: '≤ 500 ms', holds: fullMs <= 500 }
    },
    {
      what: 'one change',
      measured: `${oneChangeMs} ms`,
      must: { be: '≤ 20 ms', holds: oneChangeMs <= 20 }
    }
  ]
})

function largeMesh(): PlaceInput {
  const ids = Array.from({ length: NODES }, (_, i) => `n${String(i).padStart(3, '0')}`)
  const roomy = facts({ cpus: 64, memoryBytes: 65_536 * MIB })
  return world({
    nodes: ids.map((id, i) => node(id, { labels: { zone: `z${i % ZONES}` } })),
    microservices: Array.from({ length: MICROSERVICES }, (_, i) =>
      microservice(`m${i}`, {
        replicas: REPLICAS,
        constraints: i % 3 === 0 ? [`zone!=z${i % ZONES}`] : [],
        resources: { cpus: 0.01, memoryBytes: 8 * MIB }
      })
    ),
    facts: Object.fromEntries(ids.map((id) => [id, roomy]))
  })
}

function running(input: PlaceInput): PlaceInput {
  const status = new Map<string, StatusBody>()
  for (const id of input.state.nodes.keys()) status.set(id, { containers: [], failing: [] })
  for (const { microservice: name, slot, node, op } of input.state.placements.values()) {
    status.get(node)?.containers.push(container(name, slot, { placement: op }))
  }
  return { ...input, status }
}

function scaled(input: PlaceInput): PlaceInput {
  const microservices = new Map(input.state.microservices)
  microservices.set('app/m5', microservice('m5', { replicas: REPLICAS + 1 }))
  return { ...input, state: { ...input.state, microservices } }
}

function timed<T>(act: () => T): [T, number] {
  const started = performance.now()
  const result = act()
  return [result, performance.now() - started]
}
