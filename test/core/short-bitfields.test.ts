import test from 'brittle'
import fc from 'fast-check'
import RemoteBitfield from 'hypercore/lib/remote-bitfield.js'
import '../../core/short-bitfields.ts'

const PAGE = 32_768
/** More than are looked through without an index. */
const PAGES = 12

const place = fc.oneof(
  fc.nat(300),
  fc.tuple(fc.nat(PAGES - 1), fc.nat(40)).map(([page, at]) => Math.max(0, page * PAGE + at - 20))
)

const change = fc.oneof(
  fc.record({ set: place, value: fc.boolean() }),
  fc.record({ from: place, length: fc.integer({ min: 1, max: 3 * PAGE }), value: fc.boolean() }),
  fc.record({
    at: place.map((index) => index - (index % 32)),
    words: fc.array(fc.nat(0xffffffff), { minLength: 1, maxLength: 4 })
  })
)

test('short bitfields - they find what a plain list of bits says, also beyond what is looked through', (t) => {
  t.execution(() =>
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 12, size: 'max' }),
        fc.array(place, { minLength: 1, maxLength: 8 }),
        (changes, looks) => {
          const bits = new Uint8Array((PAGES + 4) * PAGE)
          const field = new RemoteBitfield()
          for (const each of changes) {
            if ('set' in each) {
              field.set(each.set, each.value)
              bits[each.set] = Number(each.value)
            } else if ('from' in each) {
              field.setRange(each.from, each.from + each.length, each.value)
              bits.fill(Number(each.value), each.from, each.from + each.length)
            } else {
              field.insert(each.at, Uint32Array.from(each.words))
              each.words.forEach((word, i) => {
                for (let b = 0; b < 32; b++) bits[each.at + i * 32 + b] = (word >>> b) & 1
              })
            }
            for (const from of looks) {
              const ahead = bits.indexOf(1, from)
              const back = bits.lastIndexOf(1, from)
              if (field.get(from) !== (bits[from] === 1)) return false
              if (field.findFirst(true, from) !== ahead) return false
              if (field.findLast(true, from) !== back) return false
              if (ahead !== -1 && field.findFirst(false, from) !== bits.indexOf(0, from))
                return false
            }
          }
          return true
        }
      ),
      { numRuns: 300 }
    )
  )
})
