import test from 'brittle'
import { createFailures, type Failures } from './failures.ts'

const RUN = `TAP version 13

# swarm - dials
    ok 1 - fine
ok 1 - swarm - dials # time = 1ms

# swarm - hears
    not ok 1 - one is two
      ---
      actual: 1
      expected: 2
      ...
    # a comment
    not ok 2 - (inner) - should deep equal
      ---
      operator: alike
      ...
    ok 3 - passed
not ok 2 - swarm - hears # time = 4ms

# swarm - ends
    ok 1 - fine`

test('failures - each failed assert is told under its test, and nothing else is', (t) => {
  t.alike(reading(RUN).told(false), [
    '',
    '# swarm - hears',
    '    not ok 1 - one is two',
    '      ---',
    '      actual: 1',
    '      expected: 2',
    '      ...',
    '    not ok 2 - (inner) - should deep equal',
    '      ---',
    '      operator: alike',
    '      ...'
  ])
})

test('failures - of a run that broke off, the last lines are told', (t) => {
  const told = reading(RUN).told(true)
  t.is(told.at(-1), '    ok 1 - fine')
  t.ok(told.includes('# swarm - ends'))
})

test('failures - are not told without end', (t) => {
  const failures = createFailures()
  for (let i = 0; i < 1000; i++) failures.read(`    not ok ${i} - x`)
  t.is(failures.told(false).length, 401)
  t.is(failures.told(false).at(-1), '# and more')
})

function reading(run: string): Failures {
  const failures = createFailures()
  for (const line of run.split('\n')) failures.read(line)
  return failures
}
