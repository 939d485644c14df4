/**
 * What an admin signs so that a node that was away can believe it before its own oplog says so: a
 * key that lets newcomers in, or that a node was removed. Kept in the view beside what it proves.
 */
import { canonical, fromId, hash, sign, verify } from './crypto.ts'
import type { Identity } from './identity.ts'
import { nodeId } from './state/names.ts'
import { literal, object, pattern, type Infer } from './state/shape.ts'

export const proof = object({
  what: literal('join key', 'invite', 'removal'),
  /** The join public key, or the node that is removed; z-base-32. */
  subject: nodeId,
  /** Node id of the admin. */
  by: nodeId,
  signature: pattern(/^[0-9a-f]{128}$/)
})
export type Proof = Infer<typeof proof>

export function writeProof(
  identity: Identity,
  mesh: string,
  what: Proof['what'],
  subject: string
): Proof {
  const unsigned = { what, subject, by: identity.id }
  const signature = sign(signable(mesh, unsigned), identity.keyPair.secretKey)
  return { ...unsigned, signature: signature.toString('hex') }
}

/** Whether `by` signed it for this mesh. Says nothing of what `by` may. */
export function verifyProof(proof: Proof, mesh: string): boolean {
  const key = fromId(proof.by)
  if (key === null) return false
  return verify(Buffer.from(proof.signature, 'hex'), signable(mesh, proof), key)
}

function signable(mesh: string, { what, subject, by }: Omit<Proof, 'signature'>): Buffer {
  return hash('proof', Buffer.from(canonical({ mesh, what, subject, by })))
}
