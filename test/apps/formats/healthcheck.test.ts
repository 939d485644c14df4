import test from 'brittle'
import { readHealthTest } from '../../../apps/formats/healthcheck.ts'

test('healthcheck - the forms of a test', (t) => {
  const cases: [unknown, ReturnType<typeof readHealthTest>][] = [
    [['CMD', 'node', 'check.js'], { command: ['node', 'check.js'], shell: false }],
    [['CMD-SHELL', 'curl -f x || exit 1'], { command: ['curl -f x || exit 1'], shell: true }],
    ['curl -f x', { command: ['curl -f x'], shell: true }],
    [['NONE'], null]
  ]
  for (const [given, expected] of cases) t.alike(readHealthTest(given), expected)
  const bad = [[], ['CMD'], ['CMD-SHELL', 'a', 'b'], ['NONE', 'x'], ['ping'], '', ' ', 3, {}, null]
  for (const given of bad) {
    t.exception(() => readHealthTest(given), /expected \[CMD, program/, JSON.stringify(given))
  }
})
