/** Makes an invite: its op for the view, and the string for who is invited. */
import { randomBytes, toId } from './crypto.ts'
import type { Identity } from './identity.ts'
import type { Membership } from './membership.ts'
import { checkOf, encodeMeshKey, joinKeyPair } from './mesh-key.ts'
import { writeProof } from './proof.ts'
import type { InviteSet } from './state/invites.ts'

export type InviteTerms = Pick<
  InviteSet,
  'role' | 'controller' | 'labels' | 'uses' | 'expiresAt' | 'at'
>

/** The secret is in the text alone: who loses it makes another. */
export function newInvite(
  identity: Identity,
  membership: Membership,
  terms: InviteTerms
): { op: InviteSet; text: string } {
  const joinSecret = randomBytes(32)
  const publicKey = toId(joinKeyPair(joinSecret).publicKey)
  const proof = writeProof(identity, membership.paper.mesh, 'invite', publicKey)
  const text = encodeMeshKey({
    kind: 'invite',
    meshId: Buffer.from(membership.mesh, 'hex'),
    joinSecret,
    encryptionCheck: checkOf(Buffer.from(membership.encryptionKey, 'hex')),
    bootstrap: membership.bootstrap
  })
  return { op: { type: 'invite.set', publicKey, proof, ...terms }, text }
}
