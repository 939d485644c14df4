import test from 'brittle'
import { meet } from './meet.ts'

test(
  'meet - two members apart for a month find each other on a LAN with nothing else',
  { timeout: 120_000 },
  async (t) => {
    const result = await meet({ times: 1, seed: 0, say: () => {} })
    t.alike(result.broken, [])
    t.comment(`met ${result.p50Ms} ms after the link`)
  }
)
