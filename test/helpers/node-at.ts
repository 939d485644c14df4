/** One real daemon on a data directory of this machine, driven by the CLI. */
import { execFile } from 'node:child_process'
import type { ErrorJson } from '../../apps/api.ts'
import { builtCli, cliEnv } from './cli.ts'
import type { Output } from './lab.ts'

export interface NodeAt {
  dir: string
  brume(...args: string[]): Promise<Output>
  /** @throws its stderr unless it ends with 0 */
  json<T>(...args: string[]): Promise<T>
}

export async function nodeAt(dir: string, env: NodeJS.ProcessEnv = {}): Promise<NodeAt> {
  const cli = await builtCli()
  const brume = (...args: string[]): Promise<Output> =>
    run([cli, '--data', dir, ...args], cliEnv(env))
  return {
    dir,
    brume,
    async json<T>(...args: string[]) {
      const { code, stdout, stderr } = await brume(...args, '--json')
      if (code !== 0) throw new Error(`brume ${args.join(' ')}: ${stderr}`)
      return JSON.parse(stdout) as T
    }
  }
}

/** The code of the error that a command with `--json` ended with; null where it did not. */
export const errorCode = ({ code, stdout }: Output): string | null =>
  code === 0 ? null : (JSON.parse(stdout) as ErrorJson).error.code

function run(args: string[], env: NodeJS.ProcessEnv): Promise<Output> {
  return new Promise((resolve, reject) => {
    const options = { env, timeout: 100_000, killSignal: 'SIGKILL', maxBuffer: 1 << 24 } as const
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      const code: unknown = error === null ? 0 : error.code
      if (error !== null && typeof code === 'string') reject(new Error(error.message))
      else resolve({ code: typeof code === 'number' ? code : null, stdout, stderr })
    })
  })
}
