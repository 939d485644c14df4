/** The fast form of `npm run soak -- names`. */
import test from 'brittle'
import { names } from '../soak/names.ts'

test(
  'calls - 200 a second by name: none fails in a rollout, none that begins after a node is known to be cut',
  { timeout: 240_000 },
  async (t) => {
    const say = (line: string): void => t.comment(line.slice(0, 300))
    const result = await names({ times: 1, seed: 1, cutMs: 5_000, limits: null, say })
    t.alike(result.broken, [])
    t.ok(result.rollouts.sent > 1_000, `${result.rollouts.sent} calls in a rollout`)
    t.comment(JSON.stringify(result.cut))
  }
)
