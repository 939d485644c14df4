/**
 * `npm test [-- FILE...]`: gets what the tests need, then runs brittle over all of them. Brittle's
 * summary is the last thing printed.
 */
import { spawn } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { sentenceOf } from '../core/errors.ts'
import { ensureImages, startDocker } from './helpers/docker.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const asked = process.argv.slice(2)
const files = asked.length > 0 ? asked : await allTests()
const docker = await prepareDocker()
try {
  process.exitCode = await run(
    files,
    docker === null ? {} : { BRUME_TEST_DOCKER: docker.socketPath }
  )
} finally {
  await docker?.stop()
}

async function allTests(): Promise<string[]> {
  const entries = await readdir(`${root}test`, { recursive: true })
  const found = entries.filter((file) => file.endsWith('.test.ts')).map((file) => `test/${file}`)
  // The long ones last: what breaks early is seen early.
  const rank = (file: string): number => (file.includes('/e2e/') ? 1 : 0)
  return found.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

/** Without Docker the engine tests themselves fail and say what to do; the others still run. */
async function prepareDocker(): Promise<{ socketPath: string; stop(): Promise<void> } | null> {
  try {
    const docker = await startDocker()
    await ensureImages(docker.socketPath)
    return docker
  } catch (error) {
    process.stderr.write(`no Docker for the tests: ${sentenceOf(error)}\n`)
    return null
  }
}

function run(tests: string[], env: Record<string, string>): Promise<number> {
  const brittle = fileURLToPath(new URL('../node_modules/brittle/brittle-node.js', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', brittle, '--timeout', '60000', ...tests],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, ...env }
    }
  )
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}
