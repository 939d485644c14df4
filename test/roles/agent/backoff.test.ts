import test from 'brittle'
import { delayMs } from '../../../core/backoff.ts'
import { failedOnce, FRESH, RESTART } from '../../../roles/agent/backoff.ts'

test('backoff - doubles up to its cap, and never goes over it', (t) => {
  const waits = Array.from({ length: 12 }, (_, i) => delayMs(i, RESTART, 1))
  t.alike(waits.slice(0, 4), [500, 1000, 2000, 4000])
  t.is(waits[11], 60_000)
  t.is(delayMs(5000, RESTART, 1), 60_000)
})

test('backoff - jitter takes off at most a quarter', (t) => {
  t.is(delayMs(0, RESTART, 0), 375)
  t.is(delayMs(50, RESTART, 0), 45_000)
})

test('backoff - each failure counts', (t) => {
  const twice = failedOnce(failedOnce(FRESH, RESTART, 0, 1), RESTART, 10, 1)
  t.alike(twice, { attempts: 2, at: 1010 })
})
