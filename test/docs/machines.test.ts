import test from 'brittle'
import { readFileSync } from 'node:fs'
import { machinesPage, PAGE } from '../../docs/machines.ts'

test('machines - the page in docs/ shows the machines as they are', (t) => {
  const same = readFileSync(PAGE, 'utf8') === machinesPage()
  t.ok(same, 'docs/machines.md is out of date: npm run docs')
})

test('machines - every state of every machine is in the picture', (t) => {
  const page = machinesPage()
  for (const state of ['resting', 'connecting', 'outdated', 'awaitingView', 'settled']) {
    t.ok(page.includes(`state "${state}" as `), state)
  }
  t.ok(page.includes('  following --> leading : world.judged [mustLead]'))
  t.absent(page.includes('undefined'))
})
