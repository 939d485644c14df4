import { execFile } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../..')
const MAIN = join(ROOT, 'dist/apps/cli/main.js')

let built: Promise<string> | undefined

/** Path of the CLI as users get it: built here where it is not there or older than its sources. */
export function builtCli(): Promise<string> {
  return (built ??= build())
}

/** The environment of a command: the caller's, without what would lead it to another node. */
export function cliEnv(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const env = { ...process.env }
  for (const name of ['BRUME_DATA', 'DOCKER_HOST', 'NODE_OPTIONS']) delete env[name]
  return { ...env, ...more }
}

/** Path of a built file, to be imported: `core/swarm.js`. */
export function builtFile(path: string): string {
  return join(ROOT, 'dist', path)
}

async function build(): Promise<string> {
  if ((await mtimeOf(MAIN)) >= (await newestSource())) return MAIN
  await run('npm', ['run', 'build'], { cwd: ROOT }).catch((error: { stdout?: string }) => {
    throw new Error(`npm run build failed: ${error.stdout?.trim() ?? ''}`, { cause: error })
  })
  return MAIN
}

async function newestSource(): Promise<number> {
  let newest = 0
  for (const floor of ['core', 'roles', 'apps']) {
    const entries = await readdir(join(ROOT, floor), { recursive: true })
    const sources = entries.filter((path) => path.endsWith('.ts'))
    const times = await Promise.all(sources.map((path) => mtimeOf(join(ROOT, floor, path))))
    newest = Math.max(newest, ...times)
  }
  return newest
}

async function mtimeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
