/**
 * Twenty daemons on hosts of their own. A round ends one of them, by SIGKILL or by pulling its
 * plug, in turns, and stops when the last of the others shows it as no longer alive. Then all of
 * them run for `--minutes` on links that lose 2 % of the packets and delay each by up to 300 ms:
 * every node that any other shows as not alive is a false death.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeJson } from '../apps/api.ts'
import { createClient, type Client } from '../apps/client.ts'
import { createFleet, type FleetNode } from '../test/helpers/fleet.ts'
import { createLab } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { degrade } from '../test/helpers/wire.ts'
import { declare } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'

export interface DeathResults {
  nodes20: Durations
  falseDeaths: number
  falseDeathMinutes: number
}

interface Watched {
  fleet: FleetNode
  client: Client
  pid: number
}

const NODES = 20
const ROUNDS = 10
const LOOK_MS = 100
const WATCH_MS = 500
const KNOWN_MS = 60_000
const TOGETHER_MS = 300_000

export const death = declare<DeathResults>({
  question: 'death: until all of 20 nodes know that one died, and who is taken for dead wrongly',

  async run({ runs, minutes }, { say, teardown }) {
    say(`${NODES} hosts with a daemon each`)
    const lab = await createLab(NODES + 1)
    teardown(() => lab.stop())
    const fleet = await createFleet({ teardown }, lab, {
      engines: false,
      together: false,
      atOnce: 4
    })
    const nodes = await Promise.all(
      fleet.nodes.map(async (node): Promise<Watched> => ({
        fleet: node,
        client: createClient(node.dataDir),
        pid: await node.pid()
      }))
    )
    await untilAllAlive(nodes)
    const samples: number[] = []
    for (let round = 0; round < (runs ?? ROUNDS); round++) {
      const victim = nodes[(round * 7) % NODES] as Watched
      const cut = round % 2 === 1
      samples.push(await timeDeath(nodes, victim, cut))
      say(`${round + 1}  ${cut ? 'cut ' : 'kill'}  ${Math.round(samples.at(-1) ?? 0)} ms`)
      await untilAllAlive(nodes)
    }
    say(`${minutes} minutes with 2 % loss and 300 ms jitter`)
    const wire = await degrade(lab, { lossPercent: 2, jitterMs: 300 })
    const falseDeaths = await countDeaths(nodes, minutes * 60_000, say)
    const { carried, lost, dropped } = await wire.mend()
    say(`${carried} frames carried, ${lost} lost, ${dropped} dropped`)
    return { nodes20: durations(samples), falseDeaths, falseDeathMinutes: minutes }
  },

  rows: ({ nodes20, falseDeaths, falseDeathMinutes }) => [
    {
      what: 'known on all of 20 nodes',
      measured: spread(nodes20),
      must: { be: 'p95 ≤ 5000 ms', holds: nodes20.p95Ms <= 5000 }
    },
    {
      what: `false deaths in ${falseDeathMinutes} minutes`,
      measured: String(falseDeaths),
      must: { be: '0', holds: falseDeaths === 0 }
    }
  ]
})

async function timeDeath(nodes: Watched[], victim: Watched, cut: boolean): Promise<number> {
  const others = nodes.filter((node) => node !== victim)
  const diedAt = performance.now()
  if (cut) await victim.fleet.cut()
  else process.kill(victim.pid, 'SIGKILL')
  try {
    const known = await Promise.all(
      others.map(async ({ client }) => {
        await waitUntil(
          async () => !(await aliveFor(client)).has(victim.fleet.name),
          KNOWN_MS,
          LOOK_MS
        )
        return performance.now()
      })
    )
    return Math.max(...known) - diedAt
  } finally {
    if (cut) await victim.fleet.heal()
    else {
      await victim.fleet.start()
      victim.pid = await victim.fleet.pid()
    }
  }
}

/** Times that a node went from alive to not alive for another. */
async function countDeaths(
  nodes: Watched[],
  ms: number,
  say: (line: string) => void
): Promise<number> {
  const end = performance.now() + ms
  let deaths = 0
  const seen = nodes.map(() => new Set<string>())
  while (performance.now() < end) {
    await Promise.all(
      nodes.map(async ({ client, fleet }, i) => {
        const alive = await aliveFor(client)
        for (const name of seen[i] ?? []) {
          if (alive.has(name)) continue
          deaths++
          say(`${fleet.name} takes ${name} for dead`)
        }
        seen[i] = alive
      })
    )
    await sleep(WATCH_MS)
  }
  return deaths
}

const untilAllAlive = (nodes: Watched[]): Promise<void> =>
  waitUntil(
    async () => {
      const all = await Promise.all(nodes.map(({ client }) => aliveFor(client)))
      return all.every((alive) => alive.size === nodes.length)
    },
    TOGETHER_MS,
    1000
  )

async function aliveFor(client: Client): Promise<Set<string>> {
  const nodes = await client.get<NodeJson[]>('/nodes')
  return new Set(nodes.filter(({ state }) => state === 'alive').map(({ name }) => name))
}
