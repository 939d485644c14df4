import test from 'brittle'
import { QUANTUM, Turns } from '../../../core/mux/turns.ts'

test('turns - who comes anew goes first, and is not new again by a pause', (t) => {
  const turns = new Turns<{ name: string; deficit: number; ready: number }>()
  const sender = (name: string, ready: number) => ({ name, deficit: 0, ready })
  const [one, two, little] = [sender('one', 1e6), sender('two', 1e6), sender('little', 10)]
  const take = (bytes = QUANTUM): string | undefined => {
    const next = turns.next()
    if (next === null) return undefined
    const taken = Math.min(bytes, next.ready)
    next.ready -= taken
    turns.took(next, taken)
    return next.name
  }
  turns.add(one)
  turns.add(two)
  t.alike([take(), take(), take(), take()], ['one', 'two', 'one', 'two'])
  turns.add(little)
  t.is(take(), 'little')
  t.is(take(), 'one')
  little.ready = 10
  turns.add(little)
  t.is(take(), 'two', 'it had its turn in this round')
  t.is(take(), 'little')
  one.ready = two.ready = 0
  t.is(take(), undefined)
  little.ready = 10
  turns.add(little)
  t.is(take(), 'little', 'who was quiet for a round is new')
})

test('turns - who takes little at a time has as much as who takes all of a turn', (t) => {
  const turns = new Turns<{ name: string; deficit: number; ready: number; taken: number }>()
  const [one, two] = [
    { name: 'one', deficit: 0, ready: 1e9, taken: 0 },
    { name: 'two', deficit: 0, ready: 1e9, taken: 0 }
  ]
  for (const sender of [one, two]) turns.add(sender)
  for (let i = 0; i < 1_000; i++) {
    const next = turns.next()!
    const bytes = next.name === 'one' ? QUANTUM : 100
    next.taken += bytes
    turns.took(next, bytes)
  }
  t.ok(Math.abs(one.taken - two.taken) <= 2 * QUANTUM, `${one.taken} and ${two.taken}`)
})
