/**
 * A site behind a satellite: 600 ms there and back, and 5 % of all frames lost each way. One
 * connection stays open all the time and is asked something every second; beside it a new one asks.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NetJson, ReplicaJson } from '../../apps/api.ts'
import { asker, wordy, type Asked } from '../helpers/asker.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { degrade } from '../helpers/wire.ts'
import { writeApp } from '../e2e/apps.ts'
import { withTeardown } from './teardown.ts'

export interface SatelliteResult {
  soak: 'satellite'
  seed: number
  minutes: number
  /** Of the one that stays open: how often it was opened, and the longest time without an answer. */
  long: { opened: number; answers: number; longestSilenceMs: number; aliveAtEnd: boolean }
  /** One a second, each with a connection of its own. */
  short: { asked: number; failed: number; p50Ms: number; p95Ms: number; failedInARow: number }
  /** Paths that tunnels took, as `brume net` said every five seconds. */
  paths: Record<string, number>
  broken: string[]
}

const LOOK_MS = 5_000
/** Who waits for longer gave up on the link, not on a frame. */
const SILENCE_MS = 30_000

export async function satellite(options: {
  minutes: number
  seed: number
  say: (line: string) => void
}): Promise<SatelliteResult> {
  const { minutes, seed, say } = options
  return withTeardown(async (t) => {
    const lab = await createLab(3, t)
    const { nodes } = await createFleet(t, lab, { engines: false })
    const [land, ship] = nodes as [FleetNode, FleetNode]
    const wire = await degrade(lab, { lossPercent: 5, delayMs: 300, jitterMs: 20 })
    const app = await writeApp(ship.host.dir, 'sea', [
      { name: 'wordy', ...wordy(), node: land.name },
      { name: 'asker', ...asker('BRUME_SERVICE_WORDY'), node: ship.name }
    ])
    const { code, stderr } = await ship.brume('deploy', '-f', app)
    if (code !== 0) throw new Error(`deploy ended with ${code}: ${stderr.trim()}`)
    const [row] = await ship.json<ReplicaJson[]>('ps', 'sea/asker')
    const told = async (): Promise<Asked> =>
      JSON.parse(await ship.get(row?.ports[0]?.host ?? 0)) as Asked

    const paths: Record<string, number> = {}
    const end = performance.now() + minutes * 60_000
    for (let looks = 1; performance.now() < end; looks++) {
      await sleep(LOOK_MS)
      const net = await ship.json<NetJson[]>('net')
      const path = net.find(({ name }) => name === land.name)?.tunnel?.path ?? 'none'
      paths[path] = (paths[path] ?? 0) + 1
      if (looks % 6 === 0)
        say(`${(looks * LOOK_MS) / 1000} s: ${JSON.stringify(shown(await told()))}`)
    }
    const last = await told()
    await wire.mend()
    return judged(last, { seed, minutes, paths })
  })
}

function judged(
  told: Asked,
  { seed, minutes, paths }: Pick<SatelliteResult, 'seed' | 'minutes' | 'paths'>
): SatelliteResult {
  const { long, short } = shown(told)
  const broken: string[] = []
  if (!long.aliveAtEnd) broken.push('the connection that stays open was dead at the end')
  if (long.longestSilenceMs > SILENCE_MS) {
    broken.push(`nobody answered on it for ${long.longestSilenceMs} ms`)
  }
  if (short.failedInARow > SILENCE_MS / 1_000) {
    broken.push(`${short.failedInARow} new connections in a row failed`)
  }
  return { soak: 'satellite', seed, minutes, long, short, paths, broken }
}

function shown({ long, short }: Asked): Pick<SatelliteResult, 'long' | 'short'> {
  const good = short.filter((ms) => ms !== null).sort((a, b) => a - b)
  const at = (share: number): number => Math.round(good[Math.floor(good.length * share)] ?? 0)
  const { opened, answers, silentMs } = long
  let row = 0
  let failedInARow = 0
  for (const ms of short) failedInARow = Math.max(failedInARow, (row = ms === null ? row + 1 : 0))
  return {
    long: {
      ...{ opened, answers, aliveAtEnd: silentMs < SILENCE_MS },
      longestSilenceMs: Math.round(Math.max(long.longestSilenceMs, silentMs))
    },
    short: {
      asked: short.length,
      failed: short.length - good.length,
      ...{ p50Ms: at(0.5), p95Ms: at(0.95), failedInARow }
    }
  }
}
