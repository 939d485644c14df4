import test from 'brittle'
import fc from 'fast-check'
import { NAME } from '../../../core/state/names.ts'
import { readName, suggestName } from '../../../apps/formats/names.ts'

test('names - a bad name comes back with a good one', (t) => {
  t.is(readName('web-1'), 'web-1')
  t.exception(() => readName('My Web'), /got "My Web": try my-web$/)
  t.exception(() => readName('-'), /got "-"$/)
  t.exception(() => readName(3), /got 3$/)
  t.is(suggestName('Réseau_d.Eau'), 'reseau-d-eau')
})

test('names - a suggestion is always a name', (t) => {
  const text = fc.string({ maxLength: 200, unit: 'grapheme' })
  fc.assert(
    fc.property(text, (any) => {
      const name = suggestName(any)
      return name === null || NAME.test(name)
    })
  )
  t.is(suggestName(`${'a'.repeat(62)} b`)?.length, 62)
})
