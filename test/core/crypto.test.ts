import test from 'brittle'
import {
  canonical,
  contentHash,
  createKeyPair,
  fromId,
  hash,
  randomBytes,
  seal,
  sign,
  toId,
  unseal,
  verify
} from '../../core/crypto.ts'

test('crypto - a signature holds for its message and key, and for no other', (t) => {
  const { publicKey, secretKey } = createKeyPair()
  const message = Buffer.from('message')
  const signature = sign(message, secretKey)
  t.ok(verify(signature, message, publicKey))
  t.absent(verify(signature, Buffer.from('massage'), publicKey))
  t.absent(verify(signature, message, createKeyPair().publicKey))
  t.absent(verify(signature.subarray(1), message, publicKey), 'a cut signature is no error')
  t.absent(verify(signature, message, publicKey.subarray(1)), 'a cut key is no error')
})

test('crypto - what is sealed opens with its key only, and not changed', (t) => {
  const key = randomBytes(32)
  const sealed = seal(Buffer.from('secret'), key)
  t.is(unseal(sealed, key)?.toString(), 'secret')
  t.is(unseal(sealed, randomBytes(32)), null)
  const changed = Buffer.from(sealed)
  changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1
  t.is(unseal(changed, key), null)
  t.is(unseal(Buffer.alloc(3), key), null)
})

test('crypto - one content has one hash, whatever the order of its keys', (t) => {
  t.is(contentHash({ a: 1, b: [{ c: 2, d: null }] }), contentHash({ b: [{ d: null, c: 2 }], a: 1 }))
  t.not(contentHash({ a: 1 }), contentHash({ a: '1' }))
  t.not(contentHash([1, 2]), contentHash([2, 1]))
  t.is(canonical({ a: undefined, b: 1 }), '{"b":1}')
  t.is(contentHash({}).length, 16)
})

test('crypto - hashes of two purposes differ', (t) => {
  t.unlike(hash('a', Buffer.from('x')), hash('b', Buffer.from('x')))
})

test('crypto - an id is its key, and nothing else is an id', (t) => {
  const { publicKey } = createKeyPair()
  t.alike(fromId(toId(publicKey)), publicKey)
  for (const text of ['', 'short', 'l'.repeat(52), 'y'.repeat(60)]) t.is(fromId(text), null)
})
