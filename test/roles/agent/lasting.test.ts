import test from 'brittle'
import { sinceOf, toLasting } from '../../../roles/agent/lasting.ts'

test('lasting - it goes on while the daemon is down, and stands still while the machine is off', (t) => {
  const saved = toLasting(10_000, 150_000, 600_000, 'a')
  t.alike(saved, { boot: 'a', since: 10_000, forMs: 120_000 }, 'whole minutes')
  t.is(sinceOf(saved, { boot: 'a', now: 400_000 }), 10_000)
  t.is(sinceOf(saved, { boot: 'b', now: 5_000 }), -115_000)
})

test('lasting - what is over stays so, and is not saved anew for ever', (t) => {
  const over = toLasting(0, 630_000, 630_000, 'a')
  t.is(over.forMs, 630_000)
  t.alike(toLasting(0, 9_000_000, 630_000, 'a'), over)
  t.is(5_000 - sinceOf(over, { boot: 'b', now: 5_000 }), 630_000)
})
