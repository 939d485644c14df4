/**
 * `npm run soak -- NAME [--json] [--times N] [--seed N] [--engine process|docker] [--only FAULT]…`: the
 * rows of the tests that say "N times", whole; of `faults` those named, in their order. With `--json` the
 * last line is one object; what is going on goes to stderr. Ends with 1 if something did not hold.
 */
import { parseArgs } from 'node:util'
import { dockerSocket, ensureImages, BUSYBOX } from '../helpers/docker.ts'
import { faults } from './faults.ts'
import { fleet } from './fleet.ts'
import { kill } from './kill.ts'
import { leaderLoss } from './leader-loss.ts'
import { meet } from './meet.ts'
import { names } from './names.ts'
import { net } from './net.ts'
import { programs } from './programs.ts'
import { rollouts } from './rollouts.ts'
import type { ThemeName } from '../sim/mesh/themes.ts'
import { satellite } from './satellite.ts'
import { sim } from './sim.ts'

interface Options {
  times: number | null
  seed: number
  engine: 'process' | 'docker'
  /** null for all. */
  only: string[] | null
}

interface Result {
  soak: string
  /** What did not hold. */
  broken: string[]
}

const SOAKS: Record<string, (options: Options) => Promise<Result>> = {
  faults: ({ seed, only }) => faults({ seed, say, ...(only === null ? {} : { only }) }),

  fleet: ({ times, seed }) => fleet({ times: times ?? 20, seed, say }),

  names: ({ times, seed }) => {
    const limits = { outMs: 5_000, backMs: 3_000 }
    return names({ times: times ?? 20, seed, cutMs: 30_000, limits, say })
  },

  net: ({ times, seed }) => net({ times: times ?? 20, seed, say }),

  programs: ({ seed }) => programs({ seed, say }),

  async kill({ times, seed, engine }) {
    const socket = engine === 'docker' ? await dockerSocket() : null
    if (socket !== null) await ensureImages(socket)
    const image = socket === null ? null : BUSYBOX
    return kill({ times: times ?? 50, seed, engine, dockerSocket: socket, image, say })
  },
  meet: ({ times, seed }) => meet({ times: times ?? 20, seed, say }),

  /** Minutes. */
  satellite: ({ times, seed }) => satellite({ minutes: times ?? 10, seed, say }),

  rollouts: ({ times, seed }) => rollouts({ times: times ?? 20, seed, say }),

  sim: ({ times, seed }) => simulated('mesh', seed, times ?? 2_000),
  'sim-rollouts': ({ times, seed }) => simulated('rollouts', seed, times ?? 1_000),
  /** All of them, or one by its seed. */
  'sim-leader': ({ times, seed }) =>
    times === 1 ? simulated('leader', seed, 1) : leaderLoss('all', say)
}

const simulated = (theme: ThemeName, seed: number, times: number): Promise<Result> => {
  const seeds = Array.from({ length: times }, (_, i) => seed + i)
  const verbose = times === 1 && process.env['BRUME_SIM_LOG'] !== undefined
  return sim({ seeds, theme, say, verbose })
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      times: { type: 'string' },
      seed: { type: 'string' },
      engine: { type: 'string', default: 'process' },
      only: { type: 'string', multiple: true }
    }
  })
  const soak = SOAKS[positionals[0] ?? '']
  const times = values.times === undefined ? null : Number(values.times)
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed)
  const { engine, only = null } = values
  const known = engine === 'process' || engine === 'docker'
  if (soak === undefined || !known || !((times ?? 1) >= 1) || !Number.isInteger(seed)) {
    const names = Object.keys(SOAKS).join('|')
    say(
      `npm run soak -- ${names} [--json] [--times N] [--seed N] [--engine process|docker] [--only FAULT]`
    )
    return 1
  }
  const result = await soak({ times, seed, engine, only })
  for (const what of result.broken) say(`broken: ${what}`)
  const verdict = result.broken.length === 0 ? 'holds' : 'does not hold'
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  else {
    const { soak: name, ...numbers } = result
    process.stdout.write(`${name}: ${verdict} (seed ${seed}) ${JSON.stringify(numbers)}\n`)
  }
  return result.broken.length === 0 ? 0 : 1
}
