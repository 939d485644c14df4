/** The only door to sodium. Keys are Buffers, ids their z-base-32 strings. */
import sodium from 'sodium-native'
import z32 from 'z32'

export interface KeyPair {
  /** Ed25519, 32 bytes. */
  publicKey: Buffer
  /** 64 bytes, as libsodium keeps it. */
  secretKey: Buffer
}

export function createKeyPair(seed?: Buffer): KeyPair {
  const publicKey = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES)
  const secretKey = Buffer.alloc(sodium.crypto_sign_SECRETKEYBYTES)
  if (seed) sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed)
  else sodium.crypto_sign_keypair(publicKey, secretKey)
  return { publicKey, secretKey }
}

export function sign(message: Buffer, secretKey: Buffer): Buffer {
  const signature = Buffer.alloc(64)
  sodium.crypto_sign_detached(signature, message, secretKey)
  return signature
}

/** False for a wrong signature and for keys or signatures of a wrong length; never throws. */
export function verify(signature: Buffer, message: Buffer, publicKey: Buffer): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}

export function randomBytes(length: number): Buffer {
  const out = Buffer.alloc(length)
  sodium.randombytes_buf(out)
  return out
}

/** BLAKE2b-256 of `input`, keyed by a purpose so that no two uses share a hash. */
export function hash(purpose: string, ...input: Buffer[]): Buffer {
  const out = Buffer.alloc(32)
  const key = Buffer.alloc(32)
  key.write(`brume ${purpose}`)
  sodium.crypto_generichash(out, Buffer.concat(input), key)
  return out
}

export function sha256(input: Buffer): Buffer {
  const out = Buffer.alloc(32)
  sodium.crypto_hash_sha256(out, input)
  return out
}

/** Nonce and secretbox in one Buffer. */
export function seal(plain: Buffer, key: Buffer): Buffer {
  const nonce = randomBytes(sodium.crypto_secretbox_NONCEBYTES)
  const out = Buffer.alloc(plain.length + sodium.crypto_secretbox_MACBYTES)
  sodium.crypto_secretbox_easy(out, plain, nonce, key)
  return Buffer.concat([nonce, out])
}

/** What `seal` sealed, or null where the key is another or a byte is. */
export function unseal(sealed: Buffer, key: Buffer): Buffer | null {
  const head = sodium.crypto_secretbox_NONCEBYTES
  const length = sealed.length - head - sodium.crypto_secretbox_MACBYTES
  if (length < 0) return null
  const out = Buffer.alloc(length)
  const ok = sodium.crypto_secretbox_open_easy(
    out,
    sealed.subarray(head),
    sealed.subarray(0, head),
    key
  )
  return ok ? out : null
}

/** A box only the holder of an Ed25519 key pair opens; who made it cannot be told from it. */
export function sealFor(publicKey: Buffer, plain: Buffer): Buffer {
  const curve = Buffer.alloc(sodium.crypto_box_PUBLICKEYBYTES)
  sodium.crypto_sign_ed25519_pk_to_curve25519(curve, publicKey)
  const out = Buffer.alloc(plain.length + sodium.crypto_box_SEALBYTES)
  sodium.crypto_box_seal(out, plain, curve)
  return out
}

/** What `sealFor` sealed for this key pair, or null. */
export function unsealOwn(sealed: Buffer, { publicKey, secretKey }: KeyPair): Buffer | null {
  const length = sealed.length - sodium.crypto_box_SEALBYTES
  if (length < 0) return null
  const curvePublic = Buffer.alloc(sodium.crypto_box_PUBLICKEYBYTES)
  const curveSecret = Buffer.alloc(sodium.crypto_box_SECRETKEYBYTES)
  sodium.crypto_sign_ed25519_pk_to_curve25519(curvePublic, publicKey)
  sodium.crypto_sign_ed25519_sk_to_curve25519(curveSecret, secretKey)
  const out = Buffer.alloc(length)
  return sodium.crypto_box_seal_open(out, sealed, curvePublic, curveSecret) ? out : null
}

/** JSON with its keys sorted at every depth: one value, one string. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(',')}}`
}

/** 16 hex digits that name a value by its content. */
export function contentHash(value: unknown): string {
  return hash('content', Buffer.from(canonical(value)))
    .toString('hex')
    .slice(0, 16)
}

export const toId = (key: Buffer): string => z32.encode(key)

/** The key of an id; null where the string is not 32 bytes of z-base-32. */
export function fromId(id: string): Buffer | null {
  try {
    const key = z32.decode(id)
    return key.length === 32 ? Buffer.from(key) : null
  } catch {
    return null
  }
}
