import test from 'brittle'
import fc from 'fast-check'
import { BrumeError } from '../../core/errors.ts'
import { decodeMeshKey, encodeMeshKey, joinKeyPair, meshTopic } from '../../core/mesh-key.ts'

const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b))
const keys = fc.record({
  kind: fc.constantFrom('key' as const, 'invite' as const),
  meshId: bytes,
  joinSecret: bytes,
  encryptionCheck: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((b) => Buffer.from(b)),
  bootstrap: fc.array(
    fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })).map(([ip, port]) => `${ip}:${port}`),
    { maxLength: 4 }
  )
})

test('mesh key - what is written is read, whitespace around it included', (t) => {
  fc.assert(
    fc.property(keys, (key) => {
      t.alike(decodeMeshKey(` ${encodeMeshKey(key)}\n`), { ...key })
    }),
    { numRuns: 50 }
  )
})

test('mesh key - one changed, lost or added letter is refused in a sentence', (t) => {
  const refused = (text: string): boolean => {
    try {
      decodeMeshKey(text)
      return false
    } catch (error) {
      return error instanceof BrumeError && error.code === 'BAD_KEY'
    }
  }
  fc.assert(
    fc.property(keys, fc.nat(), fc.constantFrom('y', 'b', 'n', '9'), (key, at, letter) => {
      const text = encodeMeshKey(key)
      const i = 'brume-'.length + (at % (text.length - 'brume-'.length))
      const changed = text.slice(0, i) + letter + text.slice(i + 1)
      const lost = text.slice(0, i) + text.slice(i + 1)
      const cut = text.slice(0, -1)
      return (changed === text || refused(changed)) && refused(lost) && refused(cut)
    }),
    { numRuns: 300 }
  )
  for (const text of ['', 'brume-', 'hello', 'brume-yyyy', `brume-${'ä'.repeat(80)}`]) {
    t.ok(refused(text), JSON.stringify(text))
  }
})

test('mesh key - the topic depends on the mesh id alone, the join key on the secret alone', (t) => {
  const a = Buffer.alloc(32, 1)
  const b = Buffer.alloc(32, 2)
  t.alike(meshTopic(a), meshTopic(a))
  t.unlike(meshTopic(a), meshTopic(b))
  t.alike(joinKeyPair(a), joinKeyPair(a))
  t.unlike(joinKeyPair(a).publicKey, joinKeyPair(b).publicKey)
})
