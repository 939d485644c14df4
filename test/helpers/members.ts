/** Identities with their admissions, for tests below the mesh. */
import { writeAdmission, type Admission } from '../../core/admission.ts'
import { createKeyPair, hash, toId } from '../../core/crypto.ts'
import type { Identity } from '../../core/identity.ts'
import { joinKeyPair, meshIdString } from '../../core/mesh-key.ts'
import { writerKeyOf } from '../../core/writer-key.ts'

export interface Member {
  identity: Identity
  id: string
  writer: Buffer
  paper: Admission
}

/** Same names, same keys. The first is the one the mesh is named after. */
export function members(secret: string, ...names: string[]): Member[] {
  const join = joinKeyPair(hash('test', Buffer.from(secret)))
  const identities = names.map((name): Identity => {
    const keyPair = createKeyPair(hash('test', Buffer.from(`node ${name}`)))
    return { id: toId(keyPair.publicKey), keyPair }
  })
  const [first] = identities as [Identity]
  const mesh = meshIdString(writerKeyOf(first.keyPair.publicKey))
  return identities.map((identity, i) => ({
    identity,
    id: identity.id,
    writer: writerKeyOf(identity.keyPair.publicKey),
    paper: writeAdmission(identity, join, {
      mesh,
      name: (names[i] as string).replace(/\d+$/, ''),
      joinPublicKey: toId(join.publicKey)
    })
  }))
}
