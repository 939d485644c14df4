import test from 'brittle'
import { sim } from '../soak/sim.ts'
import { KEPT } from './mesh/seeds.ts'

const SEEDS = 200

test(
  `simulation - ${SEEDS} meshes through splits, pauses and crashes`,
  { timeout: 600_000 },
  async (t) => {
    const first = Number(process.env['BRUME_SIM_SEED'] ?? 1)
    const seeds = [
      ...KEPT.map(({ seed }) => seed),
      ...Array.from({ length: SEEDS }, (_, i) => first + i)
    ]
    const result = await sim({ seeds, say: (line) => t.comment(line) })
    t.comment(JSON.stringify({ ...result, broken: result.broken.length }))
    t.alike(result.broken, [], 'views equal, nothing lost, one leader, gossip newest')
    t.is(result.seeds, seeds.length)
    t.ok(result.acknowledged > SEEDS, 'there was something to lose')
  }
)
