import { isDeepStrictEqual } from 'node:util'
import test from 'brittle'
import fc from 'fast-check'
import { BrumeError } from '../../../core/errors.ts'
import type { Target } from '../../../roles/connector/names.ts'
import {
  blockAddress,
  blockRange,
  BLOCKS,
  VIRTUAL_RANGE,
  VirtualAddresses,
  type SavedAddresses
} from '../../../roles/connector/virtual.ts'

/** Addresses of a block that can be given. */
const ROOM = 2046

const one = (slot: number | null, microservice = 'web'): Target => ({
  ...{ application: 'app', microservice, slot }
})

test('virtual - addresses and what they are for are the same after a restart', (t) => {
  const target = fc.record({
    application: fc.constantFrom('a', 'b-1'),
    microservice: fc.constantFrom('a', 'b-1', '0'),
    slot: fc.constantFrom(null, 0, 1, 99_999)
  })
  const step = fc.record({ target, what: fc.constantFrom('give', 'take', 'restart') })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: BLOCKS - 1 }), fc.array(step), (block, steps) => {
      const [low, high] = boundsOf(blockRange(block))
      let addresses = new VirtualAddresses(block, null)
      /** By target: what it must have. */
      const known = new Map<string, string>()
      for (const { target, what } of steps) {
        const key = JSON.stringify(target)
        if (what === 'restart') addresses = restarted(block, addresses)
        else if (what === 'take') {
          addresses.take(target)
          known.delete(key)
        } else {
          const given = addresses.give(target)
          if ((known.get(key) ?? given) !== given) return false
          known.set(key, given)
          const at = numberOf(given)
          if (at <= low || at > high || given === blockAddress(block)) return false
        }
        if (new Set(known.values()).size !== known.size) return false
        if (addresses.known(target) !== (known.get(key) ?? null)) return false
      }
      const keys = addresses.targets().map((each) => JSON.stringify(each))
      return isDeepStrictEqual(new Set(keys), new Set(known.keys()))
    })
  )
  t.pass('after any steps')
})

test('virtual - an address is given to something else once all others were', (t) => {
  let addresses = new VirtualAddresses(3, null)
  const held = [0, 1, 2].map((slot) => addresses.give(one(slot, 'held')))
  const given: string[] = []
  for (let i = 0; i < 2 * ROOM; i++) {
    given.push(addresses.give(one(i)))
    addresses.take(one(i))
    if (i % 500 === 0) addresses = restarted(3, addresses)
  }
  const round = ROOM - held.length
  t.is(new Set([...held, ...given.slice(0, round)]).size, ROOM, 'none twice in a round')
  t.alike(given.slice(round, 2 * round), given.slice(0, round), 'then in the same order')
  t.alike(
    [0, 1, 2].map((slot) => addresses.known(one(slot, 'held'))),
    held
  )
})

test('virtual - a full block has no address, and one again for each that is taken back', (t) => {
  const addresses = new VirtualAddresses(15, null)
  const all = new Set(Array.from({ length: ROOM }, (_, slot) => addresses.give(one(slot))))
  t.is(all.size, ROOM)
  for (const give of [addresses, restarted(15, addresses)]) {
    try {
      give.give(one(null))
      t.fail('one was given')
    } catch (error) {
      t.is((error as BrumeError).code, 'NO_ADDRESS')
      t.ok(error instanceof BrumeError)
    }
    t.is(give.known(one(null)), null)
    t.is(give.give(one(700)), addresses.known(one(700)), 'who has one keeps it')
  }
  const free = addresses.known(one(1_234))
  addresses.take(one(1_234))
  t.is(addresses.give(one(null)), free)
})

test('virtual - blocks are inside the range, beside each other, and hold their own address', (t) => {
  const [from, to] = boundsOf(VIRTUAL_RANGE)
  let next = from
  for (let block = 0; block < BLOCKS; block++) {
    const [low, high] = boundsOf(blockRange(block))
    t.is(low, next, `block ${block} begins where the one before it ends`)
    t.is(numberOf(blockAddress(block)), low + 1)
    next = high + 1
  }
  t.is(next, to + 1, 'and the last ends with the range')
})

test('virtual - of a file somebody wrote into, only places of the block are taken', (t) => {
  const places = { 'app/a': 1, 'app/b': 2048, 'app/c': -7, 'app/d': 2.5, 'app/e': 9, 'app/f': 9 }
  for (const next of [0, 1, 2_048, 1e9, -1, 2.5, Number.NaN]) {
    const addresses = new VirtualAddresses(2, { block: 2, next, places })
    const [low, high] = boundsOf(blockRange(2))
    const targets = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((each) => one(null, each))
    const given = targets.map((target) => addresses.give(target))
    t.is(new Set(given).size, targets.length, `${next}`)
    t.ok(
      given.every((each) => numberOf(each) > low + 1 && numberOf(each) <= high),
      given.join()
    )
  }
})

/** By way of the bytes of its file. */
const restarted = (block: number, addresses: VirtualAddresses): VirtualAddresses =>
  new VirtualAddresses(block, JSON.parse(JSON.stringify(addresses.saved())) as SavedAddresses)

const numberOf = (address: string): number =>
  address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)

/** First and last. */
function boundsOf(range: string): [number, number] {
  const [address = '', bits = ''] = range.split('/')
  const size = 2 ** (32 - Number(bits))
  const low = numberOf(address)
  if (low % size !== 0) throw new Error(`${range} does not begin at its beginning`)
  return [low, low + size - 1]
}
