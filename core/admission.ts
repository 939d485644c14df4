/**
 * The paper a newcomer hands over: who it is, signed by itself and with the key pair derived from
 * the join secret. Any member can check it against the join public key in its view.
 */
import { canonical, fromId, hash, sign, verify, type KeyPair } from './crypto.ts'
import { name, nodeId } from './state/names.ts'
import { object, pattern, type Infer } from './state/shape.ts'
import type { Identity } from './identity.ts'

const signature = pattern(/^[0-9a-f]{128}$/)

export const admission = object({
  /** Mesh id. */
  mesh: nodeId,
  node: nodeId,
  name,
  /** Of a mesh key or an invite, z-base-32. */
  joinPublicKey: nodeId,
  joinSignature: signature,
  nodeSignature: signature
})
export type Admission = Infer<typeof admission>

export function writeAdmission(
  identity: Identity,
  join: KeyPair,
  fields: Pick<Admission, 'mesh' | 'name' | 'joinPublicKey'>
): Admission {
  const paper = { ...fields, node: identity.id }
  const message = signable(paper)
  return {
    ...paper,
    joinSignature: sign(message, join.secretKey).toString('hex'),
    nodeSignature: sign(message, identity.keyPair.secretKey).toString('hex')
  }
}

/** The node's key if both signatures hold, else null. Says nothing of whether the join key is ours. */
export function verifyAdmission(paper: Admission): Buffer | null {
  const node = fromId(paper.node)
  const join = fromId(paper.joinPublicKey)
  if (node === null || join === null) return null
  const message = signable(paper)
  const holds =
    verify(Buffer.from(paper.joinSignature, 'hex'), message, join) &&
    verify(Buffer.from(paper.nodeSignature, 'hex'), message, node)
  return holds ? node : null
}

function signable(paper: Omit<Admission, 'joinSignature' | 'nodeSignature'>): Buffer {
  const { mesh, node, name, joinPublicKey } = paper
  return hash('admission', Buffer.from(canonical({ mesh, node, name, joinPublicKey })))
}
