/**
 * `npm test [-- FILE...]`: gets what the tests need, then runs brittle over all of them, in three lanes
 * beside each other: those of `test/e2e/`, which wait more than they compute, those of `test/sim/`, which
 * only compute, in a time of their own, and so let the others go first, and the others. A lane's
 * lines follow those of the one before. What failed is said again at the end, and brittle's summary, of
 * all, is the last thing printed.
 */
import { spawn } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sentenceOf } from '../core/errors.ts'
import { createFailures } from './failures.ts'
import { ensureImages, startDocker } from './helpers/docker.ts'

/** What brittle says at the end of a lane. */
interface Summary {
  tests: Count
  asserts: Count
  code: number
  failures: string[]
}

interface Lane {
  files: string[]
  /** Others go first. */
  yields?: boolean
}

interface Count {
  passed: number
  all: number
}

const root = fileURLToPath(new URL('..', import.meta.url))
const brittle = fileURLToPath(new URL('../node_modules/brittle/brittle-node.js', import.meta.url))

const started = performance.now()
const asked = process.argv.slice(2)
const lanes: Lane[] = asked.length > 0 ? [{ files: asked }] : await allTests()
const docker = await prepareDocker()
try {
  process.exitCode = await run(
    lanes,
    docker === null ? {} : { BRUME_TEST_DOCKER: docker.socketPath }
  )
} finally {
  await docker?.stop()
}

async function allTests(): Promise<Lane[]> {
  const entries = await readdir(`${root}test`, { recursive: true })
  const files = entries.filter((file) => file.endsWith('.test.ts')).map((file) => `test/${file}`)
  files.sort()
  const under = (dir: string): string[] => files.filter((file) => file.startsWith(`test/${dir}/`))
  const [sim, e2e] = [under('sim'), under('e2e')]
  const others = files.filter((file) => !sim.includes(file) && !e2e.includes(file))
  return [{ files: others }, { files: sim, yields: true }, { files: e2e }]
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

async function run(lanes: Lane[], env: Record<string, string>): Promise<number> {
  let printed: Promise<void> = Promise.resolve()
  const summaries = lanes.map((lane) => {
    const summary = runLane(lane, env, printed)
    printed = summary.then(() => {})
    return summary
  })
  return print(await Promise.all(summaries))
}

/** Its lines are kept until `turn` comes. */
async function runLane(
  { files, yields = false }: Lane,
  env: Record<string, string>,
  turn: Promise<void>
): Promise<Summary> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', brittle, '--timeout', '60000', ...files],
    { cwd: root, stdio: ['inherit', 'pipe', 'inherit'], env: { ...process.env, ...env } }
  )
  if (yields && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
  const code = new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  })
  const kept: string[] = []
  let open = false
  const counts = new Map<string, Count>()
  const failures = createFailures()
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => {
    const count = /^# (tests|asserts) = (\d+)\/(\d+) pass/.exec(line)
    if (count !== null) {
      counts.set(count[1]!, { passed: Number(count[2]), all: Number(count[3]) })
    }
    failures.read(line)
    if (open) process.stdout.write(`${line}\n`)
    else kept.push(line)
  })
  await turn
  for (const line of kept) process.stdout.write(`${line}\n`)
  open = true
  const status = await code
  const none = { passed: 0, all: 0 }
  return {
    tests: counts.get('tests') ?? none,
    asserts: counts.get('asserts') ?? none,
    code: counts.has('asserts') ? status : Math.max(status, 1),
    failures: failures.told(!counts.has('asserts'))
  }
}

/** In brittle's words. Returns the exit code: the first that is not 0. */
function print(lanes: Summary[]): number {
  const line = (of: 'tests' | 'asserts'): string => {
    const sum = (part: keyof Count): number => lanes.reduce((n, lane) => n + lane[of][part], 0)
    return `# ${of} = ${sum('passed')}/${sum('all')} pass`
  }
  const code = lanes.find((lane) => lane.code !== 0)?.code ?? 0
  const time = `# time = ${performance.now() - started}ms`
  const verdict = code === 0 ? '# ok' : '# not ok'
  const failures = lanes.flatMap((lane) => lane.failures)
  if (failures.length > 0) process.stdout.write(['', '# what failed', ...failures, ''].join('\n'))
  process.stdout.write(['', line('tests'), line('asserts'), time, '', verdict, ''].join('\n'))
  return code
}
