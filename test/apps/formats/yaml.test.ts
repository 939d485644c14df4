import test from 'brittle'
import { BrumeError } from '../../../core/errors.ts'
import { parseYaml } from '../../../apps/formats/yaml.ts'

function refusal(text: string): string {
  try {
    parseYaml(text, 'f.yaml')
  } catch (error) {
    if (error instanceof BrumeError && error.code === 'BAD_FILE') return error.message
    throw error
  }
  return 'taken'
}

test('yaml - what is not one sound document names its line', (t) => {
  const cases: [string, RegExp][] = [
    ['a: 1\nb: [1\n', /^f.yaml:3: not valid YAML: /],
    ['a: "x\n', /^f.yaml:\d+: not valid YAML: /],
    ['a:\n\tb: 1\n', /^f.yaml:2: a tab in the indentation: YAML wants spaces$/],
    ['a: 1\n---\nb: 2\n', /^f.yaml:2: a second document begins here: expected one application/],
    ['a: 1\nb: 2\na: 3\n', /^f.yaml:3: the key `a` is here twice, first in line 1$/],
    ['a:\n  ? [x]\n  : y\n', /^f.yaml:2: expected a plain word as key$/],
    ['a:\n  __proto__: 1\n', /^f.yaml:2: unknown key `__proto__`$/],
    ['a: !!js/function x\n', /^f.yaml:1: not plain YAML: /],
    ['a: *b\n', /^f.yaml:1: .*b/],
    ['a:\n  <<: 3\n', /^f.yaml: not valid YAML: Merge sources/]
  ]
  for (const [text, message] of cases) {
    const got = refusal(text)
    t.ok(message.test(got), `${JSON.stringify(text)}: ${got}`)
  }
})

test('yaml - a bomb of aliases is refused at once', (t) => {
  const bomb = ['a0: &a0 [x,x,x,x,x,x,x,x,x]']
  for (let i = 1; i < 12; i++) bomb.push(`a${i}: &a${i} [${`*a${i - 1},`.repeat(9)}]`)
  t.ok(/more than 100 aliases of aliases/.test(refusal(bomb.join('\n'))))
})

test('yaml - neither depth nor width ends the process', (t) => {
  // Ran out of the library's stack once, in a way that no catch sees.
  for (const open of ['[', '- ', '{a: ', '? ']) {
    t.is(refusal(`x:\n ${open.repeat(20_000)}`), 'f.yaml:2: it is nested too deeply', open)
  }
  const steps = Array.from({ length: 200 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')
  t.ok(/^f.yaml:\d+: it is nested too deeply$/.test(refusal(steps)))
  const wide = Array.from({ length: 20_000 }, (_, i) => `key${i}: ${i}`).join('\n')
  t.is(refusal(wide), 'taken')
  t.is(refusal(`a: ${'['.repeat(50)}${']'.repeat(50)}`), 'taken')
})

test('yaml - a path leads to its line, through aliases too', (t) => {
  const text = 'x: &x\n  p: 1\nlist:\n  - a: 1\n    b: 2\n  - *x\n'
  const source = parseYaml(text, 'f.yaml')
  t.is(source.lineOf(['list', 0, 'b']), 5)
  t.is(source.lineOf(['list', 0, 'gone']), 4, 'what is absent is where its parent is')
  t.is(source.lineOf(['list', 1, 'p']), 2)
  t.is(source.lineOf([]), 1)
  t.alike(source.value, { x: { p: 1 }, list: [{ a: 1, b: 2 }, { p: 1 }] })
})

test('yaml - numbers below a text key stay as they are written', (t) => {
  const text = 'env: { A: 1.10, B: 0755, C: true, D: ~, E: "5" }\nother: 1.10\n'
  const { value } = parseYaml(text, 'f.yaml', new Set(['env']))
  const env = { A: '1.10', B: '0755', C: 'true', D: null, E: '5' }
  t.alike(value, { env, other: 1.1 })
})

test('yaml - a merge key gives what it points at', (t) => {
  const { value } = parseYaml('x: &x { p: 1 }\ny: { <<: *x, q: 2 }\n', 'f.yaml')
  t.alike(value, { x: { p: 1 }, y: { p: 1, q: 2 } })
})
