import test from 'brittle'
import fc from 'fast-check'
import { discard, placeOf, type DiscardInput } from '../../core/discard.ts'
import type { Bundle } from '../../core/state/microservices.ts'

const bundle = (digest: string, core = 'c', blockOffset = 0): Bundle => ({
  digest,
  core,
  blockOffset,
  blockLength: 1,
  byteOffset: 0,
  bytes: 1
})
const input = (fields: Partial<DiscardInput>): DiscardInput => ({
  held: { unpacked: ['a'], blocks: [bundle('a')] },
  needed: [],
  mounted: new Set(),
  idleSince: new Map(),
  now: 0,
  graceMs: 10,
  ...fields
})

test('discard - what nobody needs goes when its grace is over, not before, and not if it was needed between', (t) => {
  const first = discard(input({}))
  t.alike([first.unpacked, first.blocks], [[], []])
  const early = discard(input({ idleSince: first.idleSince, now: 9 }))
  t.alike([early.unpacked, early.blocks], [[], []])
  const due = discard(input({ idleSince: early.idleSince, now: 10 }))
  t.alike([due.unpacked, due.blocks], [['a'], [bundle('a')]])
  const again = discard(input({ idleSince: early.idleSince, now: 9, needed: [bundle('a')] }))
  const after = discard(input({ idleSince: again.idleSince, now: 10 }))
  t.alike([after.unpacked, after.blocks], [[], []])
})

test('discard - the same files in another place of the store free that place, and keep the directory', (t) => {
  const held = { unpacked: ['a'], blocks: [bundle('a', 'c', 0), bundle('a', 'c', 7)] }
  const idleSince = new Map([['blocks c 7+1', 0]])
  const plan = discard(input({ held, idleSince, now: 10, needed: [bundle('a')] }))
  t.alike([plan.unpacked, plan.blocks], [[], [bundle('a', 'c', 7)]])
})

test('discard - whatever the world: nothing needed goes, no mounted directory, and none unasked', (t) => {
  const digest = fc.constantFrom('a', 'b', 'c', 'd')
  const held = fc.record({
    unpacked: fc.uniqueArray(digest),
    blocks: fc.uniqueArray(
      fc.tuple(digest, fc.nat(2)).map(([d, n]) => bundle(d, 'core', n * 4 + d.charCodeAt(0) * 16)),
      { selector: placeOf }
    )
  })
  const step = fc.record({
    held,
    needed: fc.array(fc.tuple(digest, fc.nat(2)), { maxLength: 3 }),
    mounted: fc.option(fc.uniqueArray(digest)),
    afterMs: fc.nat(12)
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let now = 0
      let idleSince: ReadonlyMap<string, number> = new Map()
      const neededAt = new Map<string, number>()
      for (const { held, needed, mounted, afterMs } of steps) {
        now += afterMs
        const wanted = needed.map(([d, n]) => bundle(d, 'core', n * 4 + d.charCodeAt(0) * 16))
        const used = mounted === null ? null : new Set<string>(mounted)
        for (const { digest } of wanted) neededAt.set(digest, now)
        for (const digest of used ?? []) neededAt.set(digest, now)
        const plan = discard({ held, needed: wanted, mounted: used, idleSince, now, graceMs: 10 })
        idleSince = plan.idleSince
        for (const digest of plan.unpacked) {
          if (used === null || used.has(digest)) throw new Error(`${digest} is mounted`)
          if (now - (neededAt.get(digest) ?? 0) < 10) throw new Error(`${digest} is in its grace`)
        }
        for (const one of plan.blocks) {
          if (wanted.some((other) => placeOf(other) === placeOf(one))) throw new Error('needed')
        }
        if (idleSince.size > held.unpacked.length + held.blocks.length) throw new Error('it grows')
      }
    })
  )
  t.pass()
})
