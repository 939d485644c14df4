import test from 'brittle'
import fc from 'fast-check'
import { changeLine, contrast, differences } from '../../../apps/daemon/changes.ts'
import { canonical } from '../../../core/crypto.ts'

const of = (value: unknown): { value: unknown; bytes: number } => ({ value, bytes: 10 })

test('changes - what differs, in one line', (t) => {
  const line = (before: unknown, after: unknown): string => changeLine(of(before), of(after))
  const web = { image: 'local/web:2', replicas: 3, env: { A: '1' }, files: null }
  t.is(
    line(web, { ...web, image: 'local/web:3', replicas: 5 }),
    'image local/web:2 → :3, replicas 3 → 5'
  )
  t.is(line(web, { ...web, image: 'other:1' }), 'image local/web:2 → other:1')
  t.is(line(web, { ...web, env: { B: '2' } }), 'env.A 1 → none, env.B none → 2')
  const files = { digest: 'abcdef0123456789', bytes: 1, core: 'x' }
  t.is(line(web, { ...web, files }), 'files none → abcdef01')
  t.is(
    line({ ...web, files }, { ...web, files: { ...files, digest: '9'.repeat(64) } }),
    'files abcdef01 → 99999999'
  )
  t.is(line({ command: [] }, { command: ['run', '-v'] }), 'command none → run -v')
  t.is(line({ files }, { files: { ...files, core: 'y' } }), 'as before', 'wherever it lies')
  t.is(line(web, web), 'as before')
  t.is(line(web, null), 'removed')
  t.is(line(null, web), 'created again: image local/web:2, replicas 3')
  t.is(changeLine(null, of(web)), 'created: image local/web:2, replicas 3')
  t.is(changeLine(null, of({})), 'created')
  t.is(changeLine(of(web), { bytes: 70_000 }), 'too large to be kept here (69 KiB)')
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`k${i}`, i]))
  t.ok(line({}, many).endsWith('k5 none → 5 and 3 more'))
})

test('changes - each of two sides says what the other has not', (t) => {
  const web = { image: 'local/web:2', replicas: 3 }
  t.alike(contrast(of(web), of({ ...web, replicas: 5 })), ['replicas 3', 'replicas 5'])
  t.alike(contrast(of(null), of(web)), ['removed', 'image local/web:2, replicas 3'])
  t.alike(contrast(of({}), of(null)), ['there', 'removed'])
})

test('changes - whatever is compared: nothing for equals, something for others, never a throw', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      const found = differences(a, b)
      if ((found.length === 0) !== (canonical(withoutNulls(a)) === canonical(withoutNulls(b)))) {
        throw new Error(canonical([a, b]))
      }
      if (changeLine(of(a), of(b)) === '') throw new Error('empty')
      contrast(of(a), of(b))
    }),
    // Kept: a field that is null beside one that is missing.
    { examples: [[{}, { '': null }]] }
  )
  t.pass()
})

/** A field that is null and one that is missing both read `none`; an item of a list keeps its place. */
function withoutNulls(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const kept = Object.entries(value).filter(([, field]) => field !== null)
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutNulls(field)]))
}
