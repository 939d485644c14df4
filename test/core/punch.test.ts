import test from 'brittle'
import fc from 'fast-check'
import { punchAgainMs, whomToPunch, type PunchInput } from '../../core/punch.ts'
import type { NatKind } from '../../core/relay.ts'

const input = (more: Partial<PunchInput>): PunchInput => ({
  self: { id: 'b', nat: 'easy' },
  now: 10_000,
  relayed: [{ id: 'c', nat: 'symmetric', calls: 0 }],
  tried: new Map([['c', { tries: 0, nextAt: 9_000 }]]),
  punching: false,
  ...more
})

test('punch - a relayed link is tried when its time has come, one at a time, by one of its ends', (t) => {
  t.is(whomToPunch(input({})).id, 'c')
  t.alike(whomToPunch(input({ now: 8_000 })), { id: null, wakeAt: 9_000 })
  t.is(whomToPunch(input({ punching: true })).id, null)
  t.is(whomToPunch(input({ self: { id: 'd', nat: 'easy' } })).id, null, 'the other end does')
  const calls = [{ id: 'c', nat: 'symmetric' as const, calls: 1 }]
  t.is(whomToPunch(input({ relayed: calls })).id, null, 'a call would end')
  const longest = new Map([
    ['c', { tries: 1, nextAt: 9_500 }],
    ['d', { tries: 3, nextAt: 9_000 }]
  ])
  const relayed = ['c', 'd'].map((id) => ({ id, nat: 'easy' as const, calls: 0 }))
  t.is(whomToPunch(input({ relayed, tried: longest })).id, 'd', 'who waits longest')
})

test('punch - of a pair exactly one end tries, and none of two that draw ports at random', (t) => {
  const nat = fc.constantFrom<NatKind>('open', 'easy', 'symmetric', 'unknown')
  fc.assert(
    fc.property(nat, nat, fc.boolean(), (one, other, isDue) => {
      const end = (id: string, mine: NatKind, peer: string, theirs: NatKind): string | null =>
        whomToPunch({
          self: { id, nat: mine },
          now: 10,
          relayed: [{ id: peer, nat: theirs, calls: 0 }],
          tried: new Map([[peer, { tries: 0, nextAt: isDue ? 10 : 11 }]]),
          punching: false
        }).id
      const tries = [end('a', one, 'b', other), end('b', other, 'a', one)]
      const never = one === 'symmetric' && other === 'symmetric'
      t.is(tries.filter((id) => id !== null).length, isDue && !never ? 1 : 0)
    }),
    { numRuns: 50 }
  )
})

test('punch - the more tries came to nothing the longer it waits, five minutes at most', (t) => {
  const waits = Array.from({ length: 20 }, (_, tries) => punchAgainMs(tries, 0.5))
  t.alike(waits.slice(0, 3), [5_000, 10_000, 20_000])
  t.is(waits.at(-1), 300_000)
  t.ok(waits.every((ms, i) => ms >= (waits[i - 1] ?? 0)))
  t.ok(punchAgainMs(0, 0) < punchAgainMs(0, 0.99), 'with jitter')
})
