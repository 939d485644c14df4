import test from 'brittle'
import { nearest } from '../../../apps/formats/nearest.ts'

const KEYS = ['name', 'image', 'env', 'replicas', 'startPeriod', 'command']

test('nearest - finds what was meant', (t) => {
  const cases: [string, string | null][] = [
    ['replica', 'replicas'],
    ['relpicas', 'replicas'],
    ['environment', 'env'],
    ['start_period', 'startPeriod'],
    ['Image', 'image'],
    ['commands', 'command'],
    ['turtle', null],
    ['x', null]
  ]
  for (const [word, expected] of cases) t.is(nearest(word, KEYS), expected, word)
  t.is(nearest('replica'.repeat(100_000), KEYS), null, 'a long word costs nothing')
})
