/**
 * `worker.ts [--log] THEME SEED…`: runs these seeds up to the first that fails, one JSON line each. Its process is
 * theirs alone.
 */
import { createRequire } from 'node:module'
import { random } from '../../soak/random.ts'
import type { ThemeName } from './themes.ts'

// What packages draw once, when they are loaded, is the same in every process.
const drawn = random(0)
Math.random = () => drawn.integer(2 ** 30) / 2 ** 30
// Keys that are drawn decide what comes first among equals: they are the seed's too.
const sodium = createRequire(import.meta.url)('sodium-native') as {
  randombytes_buf(bytes: Buffer): void
}
sodium.randombytes_buf = (bytes) => {
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(Math.random() * 256)
}

const { installFiles } = await import('./files.ts')
const { SimDisk } = await import('./disk.ts')
const { simulate } = await import('./run.ts')
const { VirtualTime } = await import('./virtual-time.ts')

const args = process.argv.slice(2)
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const verbose = args.includes('--log')
const time = new VirtualTime()
const disk = new SimDisk(time)
installFiles((path) => disk.synced(path))
time.install()
disk.install()
const [theme, ...seeds] = args.filter((arg) => arg !== '--log')
for (const seed of seeds.map(Number)) {
  const about = { time, disk, theme: theme as ThemeName }
  const result = await simulate(seed, verbose ? { ...about, say } : about)
  process.stdout.write(`${JSON.stringify(result)}\n`)
  // What still goes round in it would be in the next one's way.
  if (result.broken.length > 0) break
}
process.exit(0)
