import { spawn, type ChildProcess } from 'node:child_process'
import { BrumeError } from '../../../core/errors.ts'
import { exitCodeOf } from './launch.ts'
import { signalGroup } from './identity.ts'

const OUTPUT_CHARS = 64 * 1024
/** Something the command left behind may hold its output open. */
const DRAIN_MS = 500

/**
 * Runs a command to its end; stdout and stderr come together, the first 64 Ki characters of them.
 *
 * @throws BrumeError EXEC_TIMEOUT; the command and its group are ended
 */
export async function runCommand(
  command: string[],
  {
    cwd,
    env,
    timeoutMs,
    name
  }: { cwd: string; env: Record<string, string>; timeoutMs: number; name: string }
): Promise<{ exitCode: number; output: string }> {
  const [file, ...args] = command
  const child = spawn(file as string, args, {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const output = collect(child)
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      if (child.pid !== undefined) signalGroup(child.pid, 'SIGKILL')
      const doing = `run ${command.join(' ')} in container ${name}`
      reject(new BrumeError('EXEC_TIMEOUT', `no end within ${timeoutMs} ms: ${doing}`))
    }, timeoutMs)
    child.once('error', (cause) => {
      clearTimeout(timer)
      const sentence = `could not run ${command.join(' ')}: ${cause.message}`
      reject(new BrumeError('ENGINE_FAILED', sentence, { cause }))
    })
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      const done = (): void => {
        clearTimeout(drain)
        child.stdout.destroy()
        child.stderr.destroy()
        resolve({ exitCode: exitCodeOf(code, signal), output: output() })
      }
      const drain = setTimeout(done, DRAIN_MS)
      child.once('close', done)
    })
  })
}

function collect(child: ChildProcess): () => string {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < OUTPUT_CHARS) output = (output + text).slice(0, OUTPUT_CHARS)
    })
  }
  return () => output
}
