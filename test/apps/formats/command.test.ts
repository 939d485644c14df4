import test from 'brittle'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { readCommand, splitWords } from '../../../apps/formats/command.ts'

test('command - a list, or a string split as a shell does', (t) => {
  t.alike(readCommand(['node', 'server.js', 8, true]), ['node', 'server.js', '8', 'true'])
  t.alike(readCommand('sh -c "echo \'hi\' $HOME"'), ['sh', '-c', "echo 'hi' $HOME"])
  t.alike(readCommand(''), [])
  t.alike(splitWords(`a "" 'b c'd\\ e "\\"\\x"`), ['a', '', 'b cd e', '"\\x'])
  t.alike(splitWords('a\\\nb "c\\\nd"'), ['ab', 'cd'])
})

test('command - an open quote or a last backslash is refused', (t) => {
  t.exception(() => readCommand("node 'x"), /a ' is never closed in "node 'x"/)
  t.exception(() => readCommand('node "x'), /a " is never closed/)
  t.exception(() => readCommand('node \\'), /nothing follows the last \\/)
  t.exception(() => readCommand(['node', null]), /expected a word, got nothing/)
  t.exception(() => readCommand({ node: 1 }), /expected a list of words or a string, got a map/)
  t.exception(() => readCommand(['a\0b']), /none of them NUL/)
  t.exception(() => readCommand(Array<string>(257).fill('x')), /at most 256 words/)
})

test('command - words quoted in any way come back', (t) => {
  const single = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`
  const double = (word: string): string => `"${word.replaceAll(/["\\$`]/g, '\\$&')}"`
  const style = fc.constantFrom(single, double)
  const quoted = fc.array(fc.tuple(fc.string(), style))
  fc.assert(
    fc.property(quoted, (words) => {
      const line = words.map(([word, quote]) => quote(word)).join(' ')
      t.alike(
        splitWords(line),
        words.map(([word]) => word)
      )
    }),
    { numRuns: 100 }
  )
})

test('command - the shell of this machine splits the same', (t) => {
  const lines = [
    `a b`,
    `'a b' "c d"`,
    `a\\ b c`,
    `""'' x`,
    `"a\\"b" 'c\\d'`,
    `a"b"'c'\\d`,
    `"\\x\\\\"`
  ]
  for (const line of lines) {
    const out = execFileSync('sh', ['-c', `for w in ${line}; do printf '%s\\n' "$w"; done`])
    t.alike(splitWords(line), out.toString().split('\n').slice(0, -1), line)
  }
})
