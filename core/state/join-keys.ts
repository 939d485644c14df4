/**
 * Who may come in by what: the mesh key of now, the ones before it, and the lock. A change of the
 * key or the lock names the members its author saw: whoever came in by a mesh key and is not among
 * them (admitted on another side of a split) waits for an admin's word.
 */
import { proof, verifyProof, type Proof } from '../proof.ts'
import { declare, isAdmin, type ApplyContext, type ViewBatch } from './apply.ts'
import { keys } from './keys.ts'
import { nodeId } from './names.ts'
import { integer, list, literal, map, object, pattern, type Infer } from './shape.ts'
import type { JoinKeyRecord, MeshRecord, NodeRecord, SealedKeyRecord } from './state.ts'

const at = integer(0, Number.MAX_SAFE_INTEGER)
const saw = list(nodeId, 4096)

/** A new mesh key, as it stands in `key.rotate` and `node.rm`. */
export const rotation = object({
  joinPublicKey: nodeId,
  proof,
  epoch: integer(1, 65535),
  /** Members its author saw. */
  saw
})
export type Rotation = Infer<typeof rotation>

const rotate = object({ type: literal('key.rotate'), rotation, at })
export type KeyRotate = Infer<typeof rotate>

const seal = object({
  type: literal('key.seal'),
  joinPublicKey: nodeId,
  /** Node id → box, hex. */
  boxes: map(nodeId, pattern(/^[0-9a-f]{160}$/), 500),
  at
})
export type KeySeal = Infer<typeof seal>

const lock = object({ type: literal('mesh.lock'), saw, at })
export type MeshLock = Infer<typeof lock>

const unlock = object({ type: literal('mesh.unlock'), at })
export type MeshUnlock = Infer<typeof unlock>

export const joinKeyOps = {
  'key.rotate': declare<KeyRotate>({
    shape: rotate,
    audit: () => 'mesh key',
    async apply({ rotation }, context) {
      if (!isAdmin(context)) return 'only an admin changes the mesh key'
      return applyRotation(rotation, context)
    }
  }),

  'key.seal': declare<KeySeal>({
    shape: seal,
    async apply({ joinPublicKey, boxes }, context) {
      if (!isAdmin(context)) return 'only an admin hands out the mesh key'
      if ((await context.view.get(keys.joinKey(joinPublicKey))) === null) {
        return 'there is no such mesh key'
      }
      for (const [node, box] of Object.entries(boxes)) {
        const record: SealedKeyRecord = { node, publicKey: joinPublicKey, box }
        await context.view.put(keys.sealedKey(node), record)
      }
      return null
    }
  }),

  'mesh.lock': declare<MeshLock>({
    shape: lock,
    audit: () => 'mesh key',
    async apply(op, context) {
      if (!isAdmin(context)) return 'only an admin locks the mesh'
      const mesh = await context.view.get<MeshRecord>(keys.mesh)
      if (mesh === null) return 'there is no mesh yet'
      await context.view.put(keys.mesh, { ...mesh, locked: true })
      await suspendUnseen(op.saw, context)
      return null
    }
  }),

  'mesh.unlock': declare<MeshUnlock>({
    shape: unlock,
    audit: () => 'mesh key',
    async apply(_, context) {
      if (!isAdmin(context)) return 'only an admin unlocks the mesh'
      const mesh = await context.view.get<MeshRecord>(keys.mesh)
      if (mesh === null) return 'there is no mesh yet'
      await context.view.put(keys.mesh, { ...mesh, locked: false })
      return null
    }
  })
}

/**
 * The later in the order stands, whatever epoch its author knew: what one side of a split took from
 * a node the other side must not give back.
 */
export async function applyRotation(
  { joinPublicKey, proof, epoch, saw }: Rotation,
  context: ApplyContext
): Promise<string | null> {
  const mesh = await context.view.get<MeshRecord>(keys.mesh)
  if (mesh === null) return 'there is no mesh yet'
  const fault = faultOf(proof, 'join key', joinPublicKey, mesh.id, context)
  if (fault !== null) return fault
  if ((await context.view.get(keys.joinKey(joinPublicKey))) !== null) return 'the key is not new'
  const keyEpoch = Math.min(65_535, Math.max(mesh.keyEpoch + 1, epoch))
  const record: JoinKeyRecord = { publicKey: joinPublicKey, epoch: keyEpoch, proof }
  await context.view.put(keys.joinKey(joinPublicKey), record)
  await context.view.put(keys.mesh, { ...mesh, joinPublicKey, keyEpoch })
  await suspendUnseen(saw, context)
  return null
}

/** Whether a proof says this of that, by this op's author. */
export function faultOf(
  proof: Proof,
  what: Proof['what'],
  subject: string,
  mesh: string,
  { author }: ApplyContext
): string | null {
  const right = proof.what === what && proof.subject === subject && proof.by === author?.id
  return right && verifyProof(proof, mesh) ? null : 'its proof does not verify'
}

async function suspendUnseen(
  saw: string[],
  { view, author }: { view: ViewBatch; author: NodeRecord | null }
): Promise<void> {
  const seen = new Set(saw)
  for (const { key, value } of await view.list<NodeRecord>(keys.nodes)) {
    if (value.state !== 'member' || seen.has(value.id) || value.id === author?.id) continue
    if ((await view.get(keys.joinKey(value.admittedBy))) === null) continue
    await view.put(key, { ...value, state: 'pending' })
  }
}
