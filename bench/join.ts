/**
 * A newcomer enters a mesh with 10,000 ops of history, on a LAN with a DHT, and on one that has
 * neither internet nor bootstrap. The clock starts when its daemon, which runs, is asked to join,
 * and stops when it answers: it is a member, and its view shows it. A newcomer stays until the next
 * one is in, then its daemon is killed; its record stays.
 */
import { EventEmitter } from 'node:events'
import type { InitResult } from '../apps/api.ts'
import { createClient } from '../apps/client.ts'
import { openMesh } from '../core/enter.ts'
import { loadIdentity } from '../core/identity.ts'
import { silent } from '../core/logger.ts'
import { openStore } from '../core/store.ts'
import type { Connections, SwarmEvents } from '../core/swarm.ts'
import { createFleet, type Fleet, type FleetNode } from '../test/helpers/fleet.ts'
import { createLab, type LabPlan } from '../test/helpers/lab.ts'
import { declare, type During } from './bench.ts'
import { durations, type Durations } from './measure.ts'
import { spread } from './table.ts'

const RUNS = 20
const OPS = 10_000
const BATCH = 100

export interface JoinResults {
  lan: Durations
  offline: Durations
}

export const join = declare<JoinResults>({
  question: `join: from asking to being a member, in a mesh with ${OPS} ops of history`,

  async run({ runs }, during) {
    const times = runs ?? RUNS
    const lan = await measure({ open: 4 }, true, times, during)
    const offline = await measure(
      { lans: [{ router: 'none', hosts: 3 }], open: 0 },
      false,
      times,
      during
    )
    return { lan: durations(lan), offline: durations(offline) }
  },

  rows: ({ lan, offline }) => [
    {
      what: 'on a LAN',
      measured: spread(lan),
      must: { be: 'p50 ≤ 2000 ms', holds: lan.p50Ms <= 2000 }
    },
    {
      what: 'without internet',
      measured: spread(offline),
      must: { be: 'p95 ≤ 5000 ms', holds: offline.p95Ms <= 5000 }
    }
  ]
})

async function measure(
  plan: LabPlan,
  dht: boolean,
  times: number,
  { say, teardown }: During
): Promise<number[]> {
  const what = dht ? 'lan' : 'offline'
  const lab = await createLab(plan)
  teardown(() => lab.stop())
  const fleet = await createFleet({ teardown }, lab, { engines: false, on: [0], dht })
  const [first] = fleet.nodes as [FleetNode]
  say(`${what}: writing ${OPS} ops`)
  await writeHistory(first)
  await fleet.add(1)
  const samples: number[] = []
  for (let i = 0; i < times; i++) {
    samples.push(await joinOnce(fleet, 2, dht))
    say(`${i + 1}  ${what}  ${Math.round(samples.at(-1) ?? NaN)} ms`)
  }
  await fleet.stop()
  await lab.stop()
  return samples
}

async function joinOnce(fleet: Fleet, at: number, dht: boolean): Promise<number> {
  const node = await fleet.prepare(at)
  const client = createClient(node.dataDir)
  const started = performance.now()
  await client.progress<InitResult>(
    '/join',
    {
      key: fleet.key,
      name: node.name,
      labels: {},
      engine: 'none',
      peers: [],
      bootstrap: dht ? [fleet.bootstrap] : []
    },
    () => {}
  )
  const ms = performance.now() - started
  await node.kill()
  return ms
}

/** Written with its daemon down, by this process, which reaches nobody. */
async function writeHistory(node: FleetNode): Promise<void> {
  await node.json('down')
  const dir = node.dataDir
  const store = await openStore(dir)
  const identity = await loadIdentity(dir)
  const mesh = await openMesh({ dir, store, identity, openSwarm: () => new Nobody(), log: silent })
  if (mesh === null) throw new Error('the node is in no mesh')
  for (let i = 0; i < OPS; i += BATCH) {
    const over = mesh.me?.op ?? null
    await mesh.append(
      Array.from({ length: BATCH }, (_, k) => ({
        type: 'node.set' as const,
        node: mesh.self,
        labels: { run: String(i + k) },
        over,
        at: Date.now()
      }))
    )
  }
  await mesh.close()
  await store.close()
  await node.start()
}

class Nobody extends EventEmitter<SwarmEvents> implements Connections {
  start(): void {}
  setMissing(): void {}
  want(): void {}
  unwant(): void {}
  knownNodes = (): [] => []
  close = (): Promise<void> => Promise.resolve()
}
