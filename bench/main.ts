/**
 * `npm run bench -- NAME [--json] [--runs N] [--minutes N] [--nodes N]`: measures, prints a table, and with
 * `--json` one object as the last line. What is going on goes to stderr.
 */
import { parseArgs } from 'node:util'
import { sentenceOf } from '../core/errors.ts'
import type { Bench, BenchOptions } from './bench.ts'
import { table } from './table.ts'

const BENCHES: Record<string, () => Promise<Bench<object>>> = {
  deploy: async () => (await import('./deploy.ts')).deploy,
  append: async () => (await import('./append.ts')).append,
  failover: async () => (await import('./failover.ts')).failover,
  join: async () => (await import('./join.ts')).join,
  heal: async () => (await import('./heal.ts')).heal,
  idle: async () => (await import('./idle.ts')).idle,
  death: async () => (await import('./death.ts')).death,
  links: async () => (await import('./links.ts')).links,
  leader: async () => (await import('./leader.ts')).leader,
  back: async () => (await import('./back.ts')).back,
  rollout: async () => (await import('./rollout.ts')).rollout,
  tunnel: async () => (await import('./tunnel.ts')).tunnel,
  place: async () => (await import('./place.ts')).place,
  cli: async () => (await import('./cli.ts')).cli
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      runs: { type: 'string' },
      minutes: { type: 'string', default: '10' },
      nodes: { type: 'string' }
    }
  })
  const load = BENCHES[positionals[0] ?? '']
  const options: BenchOptions = {
    runs: values.runs === undefined ? null : Number(values.runs),
    minutes: Number(values.minutes),
    nodes: values.nodes === undefined ? undefined : Number(values.nodes)
  }
  const isNumber = [options.runs ?? 1, options.minutes, options.nodes ?? 1].every(
    (n) => Number.isFinite(n) && n > 0
  )
  if (load === undefined || !isNumber) {
    say(
      `npm run bench -- ${Object.keys(BENCHES).join('|')} [--json] [--runs N] [--minutes N] [--nodes N]`
    )
    return 1
  }
  const bench = await load()
  say(bench.question)
  const result = await measured(bench, options)
  process.stdout.write(table(bench.rows(result)))
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  return 0
}

async function measured(bench: Bench<object>, options: BenchOptions): Promise<object> {
  const ends: (() => unknown)[] = []
  const end = async (): Promise<void> => {
    for (const fn of ends.splice(0).toReversed()) {
      try {
        await fn()
      } catch (error) {
        say(`not cleaned up: ${sentenceOf(error)}`)
        process.exitCode = 1
      }
    }
  }
  const onSignal = (): void => void end().then(() => process.exit(130))
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await bench.run(options, { say, teardown: (fn) => ends.push(fn) })
  } finally {
    await end()
  }
}
