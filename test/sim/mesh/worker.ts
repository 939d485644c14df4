/** `worker.ts [--log] SEED…`: runs these seeds, one JSON line each. Its process is theirs alone. */
import { SimDisk } from './disk.ts'
import { simulate } from './run.ts'
import { VirtualTime } from './virtual-time.ts'

const args = process.argv.slice(2)
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const verbose = args.includes('--log')
const time = new VirtualTime()
const disk = new SimDisk(time)
time.install()
disk.install()
for (const seed of args.filter((arg) => arg !== '--log').map(Number)) {
  const result = await simulate(seed, verbose ? { time, disk, say } : { time, disk })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
process.exit(0)
