/**
 * Five daemons, split into three and two for a minute while both sides are administered, so many
 * deploys a side; then the link is back, and the clock runs until all five have all of it. A day
 * apart is a virtual one: amid the minute the clocks of all go ahead by it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApplicationJson, DeployRequest, StatusJson } from '../apps/api.ts'
import { createClient, type Client } from '../apps/client.ts'
import { aheadEnv, goAhead } from '../test/helpers/ahead.ts'
import { createFleet, type Fleet } from '../test/helpers/fleet.ts'
import { createLab } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { declare } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'

export interface HealResults {
  ops100: Durations
  ops1000: Durations
  /** 100 ops a side, 24 h apart. */
  day100: Durations
}

const NODES = 5
/** n4 and n5; the DHT is on the other side. */
const MINORITY = [3, 4]
const SPLIT_MS = 60_000
const DAY_MS = 86_400_000
const AHEAD_MS = 10_000
/** ms for each op: a look is an answer of all applications, by a daemon that is busy with them. */
const LOOK_MS_PER_OP = 0.5
const MIN_LOOK_MS = 250
const GIVE_UP_MS = 300_000

export const heal = declare<HealResults>({
  question: 'heal: a link is back after a split in which both sides were administered',

  async run({ runs }, { say, teardown }) {
    const measure = async (ops: number, times: number, sleptMs = 0): Promise<Durations> => {
      const samples: number[] = []
      for (let i = 0; i < times; i++) {
        const ms = await round(ops, sleptMs, teardown)
        samples.push(ms)
        const apart = sleptMs > 0 ? ', a day apart' : ''
        say(
          `${ops} ops a side${apart}: all views equal ${Math.round(ms)} ms after the link was back`
        )
      }
      return durations(samples)
    }
    return {
      ops100: await measure(100, runs ?? 5),
      ops1000: await measure(1_000, runs ?? 3),
      day100: await measure(100, runs ?? 3, DAY_MS)
    }
  },

  rows: ({ ops100, ops1000, day100 }) => [
    {
      what: '100 ops a side, 60 s apart',
      measured: spread(ops100),
      must: { be: 'p95 ≤ 10 s', holds: ops100.p95Ms <= 10_000 }
    },
    {
      what: '1,000 ops a side, 60 s apart',
      measured: spread(ops1000),
      must: { be: 'p95 ≤ 15 s', holds: ops1000.p95Ms <= 15_000 }
    },
    {
      what: '100 ops a side, a virtual day apart',
      measured: spread(day100),
      must: { be: 'p95 ≤ 10 s', holds: day100.p95Ms <= 10_000 }
    }
  ]
})

/** A mesh of its own each time. Resolves with the ms from the link to equal views. */
async function round(
  ops: number,
  sleptMs: number,
  teardown: (fn: () => unknown) => void
): Promise<number> {
  const lab = await createLab(NODES + 1)
  teardown(() => lab.stop())
  const env = await aheadEnv(lab.hosts[0]?.dir ?? '')
  const fleet = await createFleet({ teardown }, lab, { engines: false, env })
  try {
    return await splitAndHeal(fleet, ops, sleptMs)
  } finally {
    await fleet.stop()
    await lab.stop()
  }
}

async function splitAndHeal({ lab, nodes }: Fleet, ops: number, sleptMs: number): Promise<number> {
  const clients = nodes.map(({ dataDir }) => createClient(dataDir))
  await lab.part(MINORITY)
  const until = performance.now() + SPLIT_MS
  const [left, right] = [clients[0], clients[MINORITY[0] ?? 0]] as [Client, Client]
  await Promise.all([administer(left, 'left', ops), administer(right, 'right', ops)])
  if (sleptMs > 0) {
    for (const node of nodes) await goAhead(node, sleptMs, await node.pid())
    await Promise.all(clients.map((client) => mustBeAhead(client, sleptMs)))
  }
  await sleep(Math.max(0, until - performance.now()))
  for (const i of MINORITY) await lab.heal(i)
  const start = performance.now()
  await Promise.all(clients.map((client) => untilWhole(client, 2 * ops)))
  const ms = performance.now() - start
  const [first, ...others] = await Promise.all(clients.map(names))
  if (others.some((other) => other !== first)) throw new Error('the views differ')
  return ms
}

/** @throws where a daemon's clock does not get there, and the day would be none. */
const mustBeAhead = (client: Client, sleptMs: number): Promise<void> =>
  waitUntil(async () => (await client.get<StatusJson>('/status')).uptimeMs >= sleptMs, AHEAD_MS)

/** Each op is a decision of its own: one application more. */
async function administer(client: Client, side: string, ops: number): Promise<void> {
  for (let i = 0; i < ops; i++) {
    const request: DeployRequest = { application: `${side}-${i}`, microservices: [] }
    await client.post('/applications', request)
  }
}

async function untilWhole(client: Client, count: number): Promise<void> {
  const giveUp = performance.now() + GIVE_UP_MS
  for (;;) {
    const { length } = await client.get<ApplicationJson[]>('/applications')
    if (length === count) return
    if (performance.now() > giveUp) throw new Error(`${length} of ${count} came in time`)
    await sleep(Math.max(MIN_LOOK_MS, count * LOOK_MS_PER_OP))
  }
}

const names = async (client: Client): Promise<string> =>
  JSON.stringify(await client.get<ApplicationJson[]>('/applications'))
