import test from 'brittle'
import { throttle } from '../../core/throttle.ts'

test('throttle - at once, then at most once in its time, and what was asked for last is done', (t) => {
  let now = 0
  let due: { fn: () => void; at: number } | null = null
  const done: number[] = []
  const asked = throttle(() => void done.push(now), 100, {
    now: () => now,
    setTimeout: (fn, ms) => (due = { fn, at: now + ms }),
    clearTimeout: () => (due = null)
  })
  const goTo = (ms: number): void => {
    now = ms
    if (due === null || due.at > now) return
    const { fn } = due
    due = null
    fn()
  }
  asked()
  goTo(10)
  asked()
  asked()
  t.alike(done, [0])
  goTo(100)
  t.alike(done, [0, 100])
  goTo(150)
  asked()
  asked.end()
  goTo(1000)
  t.alike(done, [0, 100], 'what was due when it ended is left undone')
  asked()
  t.alike(done, [0, 100, 1000])
})
