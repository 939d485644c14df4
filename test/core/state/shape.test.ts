import test from 'brittle'
import fc from 'fast-check'
import {
  either,
  integer,
  list,
  literal,
  map,
  nullable,
  object,
  optional,
  pattern,
  text
} from '../../../core/state/shape.ts'

const thing = object({
  name: text(5, 1),
  count: integer(0, 10),
  kind: literal('a', 'b'),
  maybe: optional(text(3)),
  none: nullable(integer(1, 2)),
  tags: map(pattern(/^[a-z]+$/), text(3), 2),
  many: list(either(integer(0, 1), literal('all')), 2)
})
const good = { name: 'x', count: 0, kind: 'a', none: null, tags: {}, many: [] }

test('shape - what fits is taken, unknown fields included', (t) => {
  t.ok(thing.check(good))
  t.ok(thing.check({ ...good, later: { any: 'thing' } }), 'a newer daemon may say more')
  t.ok(thing.check({ ...good, maybe: 'abc', none: 2, tags: { a: '' }, many: ['all', 1] }))
})

test('shape - each field that does not fit is refused', (t) => {
  const bad: [string, unknown][] = [
    ['name', ''],
    ['name', 'toolong'],
    ['name', 5],
    ['count', 11],
    ['count', 0.5],
    ['count', NaN],
    ['count', '3'],
    ['kind', 'c'],
    ['maybe', null],
    ['none', 3],
    ['none', undefined],
    ['tags', { A: 'x' }],
    ['tags', { a: 'x', b: 'x', c: 'x' }],
    ['tags', ['x']],
    ['tags', null],
    ['many', [0, 0, 0]],
    ['many', ['none']],
    ['many', { length: 0 }]
  ]
  for (const [field, value] of bad) {
    t.absent(thing.check({ ...good, [field]: value }), `${field}: ${JSON.stringify(value)}`)
  }
  for (const value of [null, undefined, 'x', 3, [], [good]]) t.absent(thing.check(value))
})

test('shape - a check never throws, whatever it is given', (t) => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (value) => {
      thing.check(value)
    })
  )
  t.pass()
})
