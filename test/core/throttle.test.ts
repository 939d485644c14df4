import test from 'brittle'
import { delayed, throttle, type Timers } from '../../core/throttle.ts'

interface World {
  done: number[]
  timers: Timers
  act: () => void
  goTo: (ms: number) => void
}

function world(): World {
  let now = 0
  let due: { fn: () => void; at: number } | null = null
  const done: number[] = []
  return {
    done,
    timers: {
      now: () => now,
      setTimeout: (fn, ms) => (due = { fn, at: now + ms }),
      clearTimeout: () => (due = null)
    },
    act: () => void done.push(now),
    goTo: (ms) => {
      now = ms
      if (due === null || due.at > now) return
      const { fn } = due
      due = null
      fn()
    }
  }
}

test('throttle - at once, then at most once in its time, and what was asked for last is done', (t) => {
  const { done, timers, act, goTo } = world()
  const asked = throttle(act, 100, timers)
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

test('delayed - once for all who asked since the last time, so long after the first of them', (t) => {
  const { done, timers, act, goTo } = world()
  const asked = delayed(act, 100, timers)
  asked()
  goTo(60)
  asked()
  t.alike(done, [])
  goTo(100)
  t.alike(done, [100])
  asked()
  goTo(200)
  t.alike(done, [100, 200])
  asked()
  asked.end()
  goTo(1000)
  t.alike(done, [100, 200], 'what was due when it ended is left undone')
})
