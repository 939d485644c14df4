import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'brittle'
import { daemonCommand } from '../../apps/cli/background.ts'
import { HOT_BYTES, SWEEP_BYTES } from '../../core/sweep.ts'

const run = promisify(execFile)
const CHUNK_BYTES = 256 * 1024
/** By itself V8 frees none of so few. */
const CHUNKS = 96

test('sweep - a daemon frees the buffers of its flows soon', async (t) => {
  const most = await mostHeld("import { sweep } from './core/sweep.ts'")
  t.ok(most <= 3 * SWEEP_BYTES, `${most} bytes held at once`)
  const unswept = await mostHeld('const sweep = () => {}')
  t.ok(unswept > (CHUNKS * CHUNK_BYTES) / 2, `${unswept} bytes without`)
})

test('sweep - who carries much optimizes what it runs as V8 would by itself', async (t) => {
  const said = await daemonRuns(`
    import { syncBuiltinESMExports } from 'node:module'
    import v8 from 'node:v8'
    const flags = []
    v8.setFlagsFromString = (flag) => flags.push(flag)
    syncBuiltinESMExports()
    const { sweep } = await import('./core/sweep.ts')
    const carry = (bytes) => {
      for (let i = 0; i < bytes; i += ${CHUNK_BYTES}) sweep(${CHUNK_BYTES})
      return [...flags]
    }
    console.log(JSON.stringify([carry(${HOT_BYTES - SWEEP_BYTES}), carry(${HOT_BYTES})]))`)
  t.alike(JSON.parse(said), [[], ['--interrupt-budget=67584']])
  t.ok(daemonCommand().command.includes(`--interrupt-budget=${8 * 67_584}`))
})

/** Bytes of buffers, while chunks go over in a process that was started as a daemon is. */
async function mostHeld(prologue: string): Promise<number> {
  const script = `${prologue}
    let most = 0
    for (let i = 0; i < ${CHUNKS}; i++) {
      Buffer.allocUnsafeSlow(${CHUNK_BYTES})
      sweep(${CHUNK_BYTES})
      most = Math.max(most, process.memoryUsage().arrayBuffers)
      // What is swept beside is counted in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve))
    }
    console.log(most)`
  return Number(await daemonRuns(script))
}

/** What a module says in a process that was started as a daemon is. */
async function daemonRuns(script: string): Promise<string> {
  const flags = daemonCommand().command.slice(1, -2)
  const { stdout } = await run(process.execPath, [...flags, '--input-type=module', '-e', script])
  return stdout
}
