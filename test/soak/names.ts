/**
 * Requests by name, 200 a second, each with a connection of its own: while one rollout after another
 * goes by, and while a node that answers them is cut and comes back.
 */
import type { ReplicaJson } from '../../apps/api.ts'
import { caller, type Calls } from '../helpers/caller.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { writeApp } from '../e2e/apps.ts'
import { withTeardown } from './teardown.ts'

export interface NamesResult {
  soak: 'names'
  seed: number
  rollouts: { times: number; sent: number; failed: number; slowestMs: number }
  cut: {
    sent: number
    /** ms after the cut. */
    lastFailedMs: number | null
    failed: number
    /** Until the answer had the cut node no more, and until it had it again after the cable was back. */
    outMs: number
    backMs: number
  }
  broken: string[]
}

export interface NamesOptions {
  times: number
  seed: number
  /** For how long the cable is out. */
  cutMs: number
  /** ms, see `NamesResult.cut`; null where the machine is too busy to judge by the clock. */
  limits: { outMs: number; backMs: number } | null
  say: (line: string) => void
}

const PER_SECOND = 200

export async function names(options: NamesOptions): Promise<NamesResult> {
  const { times, seed, cutMs, limits, say } = options
  return withTeardown(async (t) => {
    const fleet = await createFleet(t, await createLab(4, t))
    const [one, , three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
    await deploy(one, 0, ['node!=n1'])
    const calls = await callsOf(one)
    const broken: string[] = []

    await calls('/reset')
    for (let i = 1; i <= times; i++) {
      await deploy(one, i, ['node!=n1'])
      say(`rollout ${i}`)
    }
    const during = await calls('/reset')
    say(JSON.stringify(during))
    if (during.failed.length > 0) {
      broken.push(`${during.failed.length} of ${during.sent} failed in rollouts`)
    }

    await three.cut()
    const cutAt = (await calls('/')).nowMs
    const out = await until(calls, ({ answers }) => answers.at(-1)?.addresses === 1)
    await new Promise((resolve) => setTimeout(resolve, cutMs))
    await three.heal()
    const healAt = (await calls('/')).nowMs
    const back = await until(calls, ({ answers }) => (answers.at(-1)?.addresses ?? 0) > 1)
    const after = await calls('/')
    say(JSON.stringify(after))
    const late = after.failed.filter(({ atMs }) => atMs > cutAt + 5_000)
    if (late.length > 0) broken.push(`${late.length} failed that began 5 s after the cut or later`)
    const outMs = (out.answers.at(-1)?.atMs ?? 0) - cutAt
    const backMs = (back.answers.at(-1)?.atMs ?? 0) - healAt
    if (outMs > (limits?.outMs ?? Infinity)) {
      broken.push(`the cut node was in answers for ${outMs} ms`)
    }
    if (backMs > (limits?.backMs ?? Infinity)) {
      broken.push(`it was back in answers ${backMs} ms after its cable`)
    }
    const lastFailed = after.failed.at(-1)?.atMs
    return {
      soak: 'names',
      seed,
      rollouts: {
        times,
        sent: during.sent,
        failed: during.failed.length,
        slowestMs: during.slowestMs
      },
      cut: {
        sent: after.sent,
        failed: after.failed.length,
        lastFailedMs: lastFailed === undefined ? null : lastFailed - cutAt,
        outMs,
        backMs
      },
      broken
    }
  })
}

const CHECK =
  "require('node:net').connect(80).on('connect', () => process.exit(0)).on('error', () => process.exit(1))"

/** Waits until it is over. */
async function deploy(on: FleetNode, version: number, constraints: string[]): Promise<void> {
  const app = await writeApp(on.host.dir, 'shop', [
    { name: 'caller', node: 'n1', ...caller('web', PER_SECOND, 'fixed') },
    // With two nodes that fit, one that is cut is not replaced.
    { name: 'fixed', ...serving('0'), replicas: 2, maxReplicasPerNode: 1, constraints },
    {
      name: 'web',
      ...serving(String(version)),
      replicas: 3,
      constraints,
      update: { monitor: '1s', order: 'startFirst' }
    }
  ])
  const { code, stderr } = await on.brume('deploy', '-f', app)
  if (code !== 0) throw new Error(`deploy ended with ${code}: ${stderr}`)
}

const serving = (version: string): object => ({
  image: 'local/node:20',
  command: ['node', '-e', SERVER],
  env: { VERSION: version },
  ports: ['80'],
  healthcheck: { test: ['CMD', 'node', '-e', CHECK], interval: '1s', retries: 3 }
})

const SERVER =
  "process.on('SIGTERM', () => process.exit());" +
  "require('node:http').createServer((q, r) => setTimeout(() => r.end('ok ' + process.env.VERSION), 20)).listen(80)"

/** Asks the caller what came of its calls. */
async function callsOf(on: FleetNode): Promise<(path: string) => Promise<Calls>> {
  const [row] = await on.json<ReplicaJson[]>('ps', 'shop/caller')
  const port = row?.ports[0]?.host ?? 0
  return async (path) => JSON.parse(await on.get(port, path)) as Calls
}

async function until(
  calls: (path: string) => Promise<Calls>,
  holds: (calls: Calls) => boolean
): Promise<Calls> {
  let last: Calls | null = null
  await waitUntil(async () => holds((last = await calls('/'))), 60_000)
  return last as unknown as Calls
}
