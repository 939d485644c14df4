import test from 'brittle'
import { readEnv } from '../../../apps/formats/env.ts'

test('env - a map, a list of KEY=value, a list of { key, value }', (t) => {
  const same = { A: '1', B: 'x=y', C: '' }
  t.alike(readEnv({ A: 1, B: 'x=y', C: null }), same)
  t.alike(readEnv(['A=1', 'B=x=y', 'C=']), same)
  t.alike(readEnv([{ key: 'A', value: 1 }, { key: 'B', value: 'x=y' }, { key: 'C' }]), same)
  t.alike(readEnv({ T: true, F: false }), { T: 'true', F: 'false' })
  t.alike(readEnv({ constructor: 'a', toString: 'b' }), { constructor: 'a', toString: 'b' })
})

test('env - what is none says what was expected', (t) => {
  const cases: [unknown, RegExp][] = [
    ['A=1', /expected a map of variables, got "A=1"/],
    [['A'], /expected KEY=value or { key, value }, got "A"/],
    [['=1'], /expected KEY=value/],
    [[{ value: 1 }], /expected the variable's name, got nothing/],
    [[{ key: 'A', vlaue: 1 }], /unknown key `vlaue`, did you mean `value`\?/],
    [['A=1', 'A=2'], /the variable A is here twice/],
    [{ A: {} }, /expected text, got a map/],
    [{ A: [] }, /expected text, got a list/],
    [{ 'A=B': '1' }, /without = or NUL/],
    [{ A: 'a\0b' }, /none of them NUL/],
    [{ A: 'x'.repeat(32_769) }, /at most 32768 characters/],
    [JSON.parse('{"__proto__": "x"}'), /expected a variable's name/]
  ]
  for (const [given, message] of cases) t.exception(() => readEnv(given), message)
  const many = Array.from({ length: 513 }, (_, i) => `V${i}=`)
  t.exception(() => readEnv(many), /at most 512 variables/)
})
