/**
 * Simulated meshes, each by its seed, in as many processes as there are cores: a simulation takes
 * its whole process over.
 */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { SimResult } from '../sim/mesh/run.ts'
import type { ThemeName } from '../sim/mesh/themes.ts'

export interface SimOptions {
  /** Seeds to run, in this order. */
  seeds: number[]
  /** What the simulations are about; `mesh` where it is not said. */
  theme?: ThemeName
  /** Told of every failing seed, and now and then how far it is. */
  say: (line: string) => void
  /** Told of each seed when it is over. */
  onResult?: (result: SimResult) => void
  /** Everything the nodes log goes to stderr. */
  verbose?: boolean
}

export interface SimSoakResult {
  soak: (typeof NAMES)[ThemeName]
  seeds: number
  /** Seeds in which something did not hold. */
  failed: number[]
  broken: string[]
  nodes: number
  /** Ops that were acknowledged, and virtual seconds lived through. */
  acknowledged: number
  virtualSeconds: number
  /** Virtual ms from a heal until all held. */
  healMs: { p50: number; p95: number; max: number }
  seconds: number
}

/** A worker that says nothing for so long is stuck. */
const SILENCE_MS = 600_000
const MOST_A_PROCESS = 100
/** What else of `test/sim/mesh/unsettled.ts` is tried: a seed is another world then. */
const unsettled = process.env['BRUME_SIM_UNSETTLED'] ?? ''
const TRIED = unsettled === '' ? '' : `BRUME_SIM_UNSETTLED=${unsettled} `

/** What `npm run soak` calls each theme. */
const NAMES = { mesh: 'sim', rollouts: 'sim-rollouts', leader: 'sim-leader' } as const

export const replay = (seed: number, theme: ThemeName = 'mesh'): string =>
  `${TRIED}npm run soak -- ${NAMES[theme]} --seed ${seed} --times 1`

export async function sim({
  seeds,
  theme = 'mesh',
  say,
  onResult: onEach = () => {},
  verbose = false
}: SimOptions): Promise<SimSoakResult> {
  const began = performance.now()
  const results: SimResult[] = []
  const batches: number[][] = []
  const each = Math.min(MOST_A_PROCESS, Math.ceil(seeds.length / availableParallelism()))
  for (let i = 0; i < seeds.length; i += each) batches.push(seeds.slice(i, i + each))
  const onResult = (result: SimResult): void => {
    results.push(result)
    onEach(result)
    if (result.broken.length > 0) for (const line of described(result, theme)) say(line)
    if (results.length % 100 === 0) say(`${results.length} of ${seeds.length} seeds`)
  }
  const work = async (): Promise<void> => {
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
      await runBatch(batch, { theme, verbose }, onResult)
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, availableParallelism()) }, work))
  return summaryOf(results, theme, (performance.now() - began) / 1000)
}

/** What was done, what did not hold, and how to see it again. */
export function described({ seed, steps, broken }: SimResult, theme: ThemeName): string[] {
  return [
    `seed ${seed}:`,
    ...steps.map((step) => `  ${step}`),
    ...broken.map((what) => `  does not hold: ${what}`),
    `  again: ${replay(seed, theme)}`
  ]
}

/** Runs the seeds in one process; those after one that fails or ends it, in another. */
interface Run {
  theme: ThemeName
  verbose: boolean
}

async function runBatch(
  batch: number[],
  run: Run,
  onResult: (result: SimResult) => void
): Promise<void> {
  const left = [...batch]
  while (left.length > 0) {
    let hasFailed = false
    const end = await runWorker(left, run, (result) => {
      left.shift()
      hasFailed = result.broken.length > 0
      onResult(result)
    })
    if (hasFailed) continue
    const seed = left.shift()
    if (seed !== undefined) onResult(ended(seed, end))
  }
}

function runWorker(
  seeds: number[],
  { theme, verbose }: Run,
  onResult: (result: SimResult) => void
): Promise<string> {
  const worker = fileURLToPath(new URL('../sim/mesh/worker.ts', import.meta.url))
  const args = [
    '--max-semi-space-size=64',
    '--import',
    'tsx',
    worker,
    ...(verbose ? ['--log'] : []),
    theme,
    ...seeds.map(String)
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let words = ''
  child.stderr.on('data', (chunk: Buffer) => {
    if (verbose) process.stderr.write(chunk)
    words = `${words}${chunk.toString()}`.slice(-2_000)
  })
  return new Promise((resolve, reject) => {
    let silent = setTimeout(stop, SILENCE_MS)
    let stuck = false
    function stop(): void {
      stuck = true
      child.kill('SIGKILL')
    }
    createInterface({ input: child.stdout }).on('line', (line) => {
      clearTimeout(silent)
      silent = setTimeout(stop, SILENCE_MS)
      onResult(JSON.parse(line) as SimResult)
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(silent)
      resolve(stuck ? 'the process hangs' : `the process ended with ${code ?? signal}: ${words}`)
    })
  })
}

const ended = (seed: number, how: string): SimResult => ({
  seed,
  broken: [how],
  steps: [],
  nodes: 0,
  decisions: 0,
  acknowledged: 0,
  virtualMs: 0,
  realMs: 0,
  healMs: []
})

function summaryOf(results: SimResult[], theme: ThemeName, seconds: number): SimSoakResult {
  const failed = results.filter(({ broken }) => broken.length > 0)
  const heals = results.flatMap(({ healMs }) => healMs).sort((a, b) => a - b)
  const at = (share: number): number => heals[Math.floor((heals.length - 1) * share)] ?? 0
  const sum = (of: (result: SimResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0)
  return {
    soak: NAMES[theme],
    seeds: results.length,
    failed: failed.map(({ seed }) => seed).sort((a, b) => a - b),
    broken: failed.map(({ seed, broken }) => `seed ${seed}: ${broken[0]} (${replay(seed, theme)})`),
    nodes: sum(({ nodes }) => nodes),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    virtualSeconds: Math.round(sum(({ virtualMs }) => virtualMs) / 1000),
    healMs: { p50: at(0.5), p95: at(0.95), max: at(1) },
    seconds: Math.round(seconds)
  }
}
