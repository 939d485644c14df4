import test from 'brittle'
import { kill } from './kill.ts'

test(
  'kill -9 - five daemons at any moment while deploying and scaling',
  { timeout: 240_000 },
  async (t) => {
    const seed = Number(process.env['BRUME_SOAK_SEED'] ?? Date.now() % 1_000_000)
    const say = (line: string): void => t.comment(line)
    const options = { times: 5, seed, engine: 'process' as const, dockerSocket: null, image: null }
    const result = await kill({ ...options, say })
    t.alike(result.broken, [], `nothing lost, nothing restarted (seed ${seed})`)
    t.ok(result.acknowledged > 0 && result.adopted > 0, 'there was something to lose')
  }
)
