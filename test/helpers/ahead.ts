/**
 * Daemons whose clocks go ahead: by what was said before one starts, or under its hands, as where a
 * machine slept. Then its boot clock goes ahead too, as the system's does.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FleetNode } from './fleet.ts'

/** For the daemons of a fleet. `dir` takes a file of it. */
export async function aheadEnv(dir: string): Promise<NodeJS.ProcessEnv> {
  const path = join(dir, 'clock.mjs')
  await writeFile(path, CLOCK)
  return { NODE_OPTIONS: `--import ${pathToFileURL(path).href}` }
}

/** From its next start on; at once where `pid` is that of its daemon. */
export async function goAhead(node: FleetNode, ms: number, pid?: number): Promise<void> {
  await writeFile(join(node.host.dir, 'ahead'), String(ms))
  if (pid !== undefined) process.kill(pid, 'SIGUSR2')
}

/** Every process of a node begins with it. */
const CLOCK = `
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, join } from 'node:path'
const at = process.argv.indexOf('--data')
const file = join(dirname(process.argv[at + 1] ?? ''), 'ahead')
function read() {
  try {
    return Number(readFileSync(file, 'utf8'))
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return 0
  }
}
const atStart = read()
let aheadMs = atStart
if (process.argv.includes('daemon')) process.on('SIGUSR2', () => (aheadMs = read()))
const Wall = Date
globalThis.Date = class extends Wall {
  constructor(...given) {
    if (given.length === 0) super(Wall.now() + aheadMs)
    else super(...given)
  }
  static now() {
    return Wall.now() + aheadMs
  }
}
const { uptime } = os
os.uptime = () => uptime() + (aheadMs - atStart) / 1000
syncBuiltinESMExports()
`
