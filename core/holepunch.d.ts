/** What brume uses of the Holepunch packages, which ship no types. Nothing more is declared. */

declare module 'sodium-native' {
  export const crypto_sign_PUBLICKEYBYTES: number
  export const crypto_sign_SECRETKEYBYTES: number
  export const crypto_secretbox_NONCEBYTES: number
  export const crypto_secretbox_MACBYTES: number
  export const crypto_secretbox_KEYBYTES: number
  export function crypto_sign_keypair(publicKey: Buffer, secretKey: Buffer): void
  export function crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void
  export function crypto_sign_detached(out: Buffer, message: Buffer, secretKey: Buffer): void
  export function crypto_sign_verify_detached(
    signature: Buffer,
    message: Buffer,
    publicKey: Buffer
  ): boolean
  export function crypto_generichash(out: Buffer, input: Buffer, key?: Buffer): void
  export function crypto_hash_sha256(out: Buffer, input: Buffer): void
  export function crypto_secretbox_easy(
    out: Buffer,
    message: Buffer,
    nonce: Buffer,
    key: Buffer
  ): void
  export function crypto_secretbox_open_easy(
    out: Buffer,
    cipher: Buffer,
    nonce: Buffer,
    key: Buffer
  ): boolean
  export function randombytes_buf(out: Buffer): void
}
