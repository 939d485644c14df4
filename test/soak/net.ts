/**
 * The network's long form: behind an easy and a symmetric NAT two nodes are relayed at once and
 * direct later, and after every kill and every cut all are together again in 10 s.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NetJson, NodeJson } from '../../apps/api.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { withTeardown } from './teardown.ts'

export interface NetResult {
  soak: 'net'
  kills: number
  seed: number
  /** ms until the pair was linked, and until that link was direct; null where it never was. */
  linkedMs: number | null
  directMs: number | null
  /** ms from `up` after a kill, and from a healed link, until all saw all. */
  togetherMs: { up: number[]; healed: number[] }
  broken: string[]
}

const DIRECT_MS = 300_000
const TOGETHER_MS = 10_000

export async function net(options: {
  times: number
  seed: number
  say: (line: string) => void
}): Promise<NetResult> {
  const { times, seed, say } = options
  const result: NetResult = {
    soak: 'net',
    kills: 0,
    seed,
    linkedMs: null,
    directMs: null,
    togetherMs: { up: [], healed: [] },
    broken: []
  }
  await withTeardown(async (t) => {
    const lab = await createLab(
      {
        lans: [
          { router: 'easy', hosts: 1 },
          { router: 'symmetric', hosts: 1 }
        ],
        open: 2
      },
      t
    )
    const fleet = await createFleet(t, lab, { engines: false, on: [2, 0, 1] })
    const [, easy, symmetric] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
    await watchPath(easy, 'n3', result, say)
    for (let i = 0; i < times; i++) {
      await symmetric.kill()
      result.kills++
      await untilNotAlive(easy, 'n3')
      await symmetric.start()
      result.togetherMs.up.push(await together(fleet.nodes, result, 'after coming up again'))
      await easy.cut()
      await untilNotAlive(symmetric, 'n2')
      await easy.heal()
      result.togetherMs.healed.push(await together(fleet.nodes, result, 'after healing'))
      say(
        `${i + 1}  up ${result.togetherMs.up.at(-1)} ms, healed ${result.togetherMs.healed.at(-1)} ms`
      )
    }
  })
  return result
}

async function watchPath(
  from: FleetNode,
  to: string,
  result: NetResult,
  say: (line: string) => void
): Promise<void> {
  const started = performance.now()
  let last = ''
  while (result.directMs === null && performance.now() - started < DIRECT_MS) {
    const row = (await from.json<NetJson[]>('net')).find(({ name }) => name === to)
    const ms = Math.round(performance.now() - started)
    if (row !== undefined && row.path !== last) say(`${row.path} after ${ms} ms: ${row.why}`)
    last = row?.path ?? ''
    if (last === 'relayed' || last === 'direct') result.linkedMs ??= ms
    if (last === 'direct') result.directMs = ms
    await sleep(500)
  }
  if (result.directMs === null) result.broken.push(`not direct within ${DIRECT_MS / 1000} s`)
}

async function together(nodes: FleetNode[], result: NetResult, when: string): Promise<number> {
  const started = performance.now()
  await untilTogether(nodes, 60_000)
  const ms = Math.round(performance.now() - started)
  if (ms > TOGETHER_MS) result.broken.push(`together only ${ms} ms ${when}`)
  return ms
}

const untilNotAlive = (node: FleetNode, name: string): Promise<NodeJson[]> =>
  node.until<NodeJson[]>(['nodes'], (all) =>
    all.some((each) => each.name === name && each.state !== 'alive')
  )
