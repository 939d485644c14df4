/**
 * A site behind a satellite: 600 ms there and back, and 5 % of all frames lost each way. One
 * connection stays open all the time and is asked something every second; beside it a new one asks.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NetJson, ReplicaJson } from '../../apps/api.ts'
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

interface Told {
  long: { opened: number; answers: number; longestSilenceMs: number; silentMs: number }
  short: { ms: (number | null)[] }
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
      { name: 'echo', command: ['node', '-e', ECHO], ports: ['80'], node: land.name },
      { name: 'asker', command: ['node', '-e', ASKER], ports: ['80'], node: ship.name }
    ])
    const { code, stderr } = await ship.brume('deploy', '-f', app)
    if (code !== 0) throw new Error(`deploy ended with ${code}: ${stderr.trim()}`)
    const [row] = await ship.json<ReplicaJson[]>('ps', 'sea/asker')
    const told = async (): Promise<Told> =>
      JSON.parse(await ship.get(row?.ports[0]?.host ?? 0)) as Told

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
  told: Told,
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

function shown({ long, short }: Told): Pick<SatelliteResult, 'long' | 'short'> {
  const good = short.ms.filter((ms) => ms !== null).sort((a, b) => a - b)
  const at = (share: number): number => Math.round(good[Math.floor(good.length * share)] ?? 0)
  const { opened, answers, silentMs } = long
  let row = 0
  let failedInARow = 0
  for (const ms of short.ms)
    failedInARow = Math.max(failedInARow, (row = ms === null ? row + 1 : 0))
  return {
    long: {
      ...{ opened, answers, aliveAtEnd: silentMs < SILENCE_MS },
      longestSilenceMs: Math.round(Math.max(long.longestSilenceMs, silentMs))
    },
    short: {
      asked: short.ms.length,
      failed: short.ms.length - good.length,
      ...{ p50Ms: at(0.5), p95Ms: at(0.95), failedInARow }
    }
  }
}

const ECHO = `
require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket))
  .listen(process.env.PORT)`

/** Gives up on a connection after 20 s without an answer, and opens another a second later. */
const ASKER = `
const net = require('node:net')
const now = () => performance.now()
const dial = () => {
  const [host, port] = process.env.BRUME_SERVICE_ECHO.split(':')
  return net.connect({ host, port, noDelay: true }).on('error', () => {})
}
const long = { opened: 0, answers: 0, longestSilenceMs: 0 }
const ms = []
let heardAt = now()
const stay = () => {
  const socket = dial()
  long.opened++
  const turn = setInterval(() => socket.write('how are you'), 1000)
  socket.setTimeout(20000, () => socket.destroy())
  socket.on('data', () => {
    long.answers++
    long.longestSilenceMs = Math.max(long.longestSilenceMs, now() - heardAt)
    heardAt = now()
  })
  socket.on('close', () => (clearInterval(turn), setTimeout(stay, 1000)))
}
stay()
setInterval(() => {
  const socket = dial()
  const began = now()
  let isOver = false
  const over = (took) => isOver || ((isOver = true), ms.push(took), socket.destroy())
  socket.on('data', () => over(now() - began)).on('close', () => over(null)).write('hello')
  socket.setTimeout(20000, () => over(null))
}, 1000)
require('node:http').createServer((request, response) =>
  response.end(JSON.stringify({ long: { ...long, silentMs: now() - heardAt }, short: { ms } }))
).listen(process.env.PORT)`
