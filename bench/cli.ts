/**
 * `brume ps` as built, against a daemon with an application of three replicas, beside a node that
 * evaluates `0`: what a command costs before it does anything. Both as processes from spawn to
 * exit, in turns.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startBootstrapNode } from '../core/swarm.ts'
import { builtCli } from '../test/helpers/cli.ts'
import { declare, type During } from './bench.ts'
import { durations, ratio, type Durations } from './measure.ts'
import { spread } from './table.ts'

const RUNS = 40
const run = promisify(execFile)

export const cli = declare<{ ps: Durations; node: Durations; ratios: { node: number } }>({
  question: 'cli: what does `brume ps` cost, beside an empty node?',

  async run({ runs }, during) {
    const brume = await builtCli()
    const data = await startNode(brume, during)
    const samples = { ps: [] as number[], node: [] as number[] }
    for (let i = 0; i < (runs ?? RUNS) + 2; i++) {
      const ps = await timed([brume, '--data', data, 'ps'])
      const node = await timed(['-e', '0'])
      if (i < 2) continue
      samples.ps.push(ps)
      samples.node.push(node)
    }
    const [ps, node] = [durations(samples.ps), durations(samples.node)]
    return { ps, node, ratios: { node: ratio(ps, node) } }
  },

  rows: ({ ps, node, ratios }) => [
    {
      what: 'brume ps',
      measured: spread(ps),
      must: { be: 'p50 ≤ 250 ms', holds: ps.p50Ms <= 250 }
    },
    { what: 'node -e 0', measured: spread(node), must: null },
    {
      what: 'ps over node',
      measured: String(ratios.node),
      must: { be: '≤ 5', holds: ratios.node <= 5 }
    }
  ]
})

async function timed(args: string[]): Promise<number> {
  const started = performance.now()
  await run(process.execPath, args)
  return performance.now() - started
}

/** A node on loopback that runs processes, three of them; its data directory. */
async function startNode(brume: string, during: During): Promise<string> {
  const dht = await startBootstrapNode('127.0.0.1')
  during.teardown(() => dht.close())
  const dir = await mkdtemp(join(tmpdir(), 'brume-bench-'))
  during.teardown(() => rm(dir, { recursive: true, force: true }))
  const data = join(dir, 'n1')
  const call = (...args: string[]) => run(process.execPath, [brume, '--data', data, ...args])
  during.teardown(() => call('down'))
  await call('init', '--name', 'n1', '--engine', 'process', '--bootstrap', dht.address)
  const file = join(dir, 'app.yaml')
  await writeFile(file, APPLICATION)
  during.teardown(() => call('rm', 'hello'))
  await call('deploy', '-f', file)
  return data
}

const APPLICATION = `
apiVersion: brume/v1
kind: Application
metadata: { name: hello }
spec:
  microservices:
    - name: web
      command: [node, -e, "setInterval(() => {}, 1e9)"]
      replicas: 3
`
