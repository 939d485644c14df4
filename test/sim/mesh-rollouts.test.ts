import test from 'brittle'
import { sim } from '../soak/sim.ts'
import { leaderLoss } from '../soak/leader-loss.ts'
import { KEPT_ROLLOUTS } from './mesh/seeds.ts'
import { STORIES } from './mesh/leader-loss.ts'

const SEEDS = 20

test(
  `simulation - ${SEEDS} meshes roll revisions out through splits, crashes and the loss of leaders`,
  { timeout: 300_000 },
  async (t) => {
    const first = Number(process.env['BRUME_SIM_SEED'] ?? 1)
    const seeds = [
      ...KEPT_ROLLOUTS.map(({ seed }) => seed),
      ...Array.from({ length: SEEDS }, (_, i) => first + i)
    ]
    const result = await sim({ seeds, theme: 'rollouts', say: (line) => t.comment(line) })
    t.comment(JSON.stringify({ ...result, broken: result.broken.length }))
    t.alike(
      result.broken,
      [],
      'one copy a slot, the last never stopped first, none restarted that belongs, all come to their end'
    )
    t.is(result.seeds, seeds.length)
  }
)

test(
  'simulation - a rollout comes to its end though its leader is lost, at any step of it',
  { timeout: 300_000 },
  async (t) => {
    const { steps, seeds, broken } = await leaderLoss('one', (line) => t.comment(line))
    t.ok(
      steps.every((count) => count >= 3),
      `at least the first slot, the last word and what follows: ${steps.join(', ')}`
    )
    t.is(
      seeds,
      steps.reduce((sum, count) => sum + count, 0)
    )
    t.is(steps.length, STORIES.length)
    t.alike(broken, [])
  }
)
