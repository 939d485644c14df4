/**
 * One Ed25519 key pair a node: its id, the key it holds connections with, and (through the
 * writer's manifest) the key of its oplog core.
 */
import { join } from 'node:path'
import { createKeyPair, randomBytes, toId, type KeyPair } from './crypto.ts'
import { BrumeError } from './errors.ts'
import { readIfThere, writeWhole } from './files.ts'

export interface Identity {
  id: string
  keyPair: KeyPair
}

/** Reads `<dir>/identity` (0600), or makes it. */
export async function loadIdentity(dir: string): Promise<Identity> {
  const path = join(dir, 'identity')
  let seed = await readIfThere(path)
  if (seed === null) {
    seed = randomBytes(32)
    await writeWhole(path, seed)
  }
  if (seed.length !== 32) {
    throw new BrumeError(
      'IDENTITY_DAMAGED',
      `${path}: expected 32 bytes of key seed, found ${seed.length}`,
      { next: 'restore the file from a backup, or remove the data directory and join again' }
    )
  }
  const keyPair = createKeyPair(seed)
  return { id: toId(keyPair.publicKey), keyPair }
}
