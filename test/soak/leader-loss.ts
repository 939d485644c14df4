/** The leader is lost at every step of every rollout of `test/sim/mesh/leader-loss.ts`, one world each. */
import { LOSSES, seedOf, STORIES, storyOf } from '../sim/mesh/leader-loss.ts'
import { sim, type SimSoakResult } from './sim.ts'

/** @param losses at each step `all`, or `one` after the other */
export async function leaderLoss(
  losses: 'all' | 'one',
  say: (line: string) => void
): Promise<SimSoakResult & { steps: number[] }> {
  const steps = STORIES.map(() => 0)
  const counting = STORIES.map((_, story) => seedOf(story, 0, 0))
  const calm = await sim({
    ...{ seeds: counting, theme: 'leader' as const, say },
    onResult: ({ seed, decisions }) => (steps[storyOf(seed)] = decisions)
  })
  if (calm.failed.length > 0) return { ...calm, steps }
  const seeds = steps
    .flatMap((count, story) =>
      Array.from({ length: count }, (_, i) => i + 1).flatMap((step) =>
        LOSSES.map((_, loss) => ({
          seed: seedOf(story, loss, step),
          turn: (story + step) % LOSSES.length === loss
        }))
      )
    )
    .filter(({ turn }) => losses === 'all' || turn)
    .map(({ seed }) => seed)
  say(`steps of the rollouts: ${steps.join(', ')}`)
  return { ...(await sim({ seeds, theme: 'leader', say })), steps }
}
