/**
 * Whether a paper lets its holder through, by what this node knows now: a pure function. What the
 * oplog will say of the same paper is `core/state/nodes.ts`; this is the word at the door.
 */
import type { Admission } from './admission.ts'
import { verifyProof, type Proof } from './proof.ts'
import type { InviteRecord, State } from './state/state.ts'

export interface Refusal {
  code: string
  /** A clause that follows "a member refused this node: ". */
  message: string
  next?: string | undefined
  /** With NODE_REMOVED: by whom. */
  proof?: Proof | undefined
}

export interface JudgeInput {
  state: State
  mesh: string
  /** The join key this node came in by: what it knows before it has read the view. */
  joinPublicKey: string
  /** A member by what this node heard before it stopped. */
  remembers: (node: string) => boolean
  /** Wall ms: the end of an invite is a date. */
  now: number
}

/** What a peer shows: who it is, and why the key it came by should be believed. */
export interface Shown {
  paper: Admission
  proof: Proof | null
  /** It is not in the mesh yet and asks to be let in. */
  wants: boolean
}

/** null where it may pass; a newcomer is then to be admitted. */
export function judge({ paper, proof, wants }: Shown, input: JudgeInput): Refusal | null {
  const { state, mesh } = input
  if (paper.mesh !== mesh) return KEY_UNKNOWN
  // Who lacks blocks of its view knows nobody, and has to take them from somebody.
  if (state.mesh === null && input.remembers(paper.node)) return null
  const known = state.nodes.get(paper.node)
  if (known?.state === 'member') return null
  if (known?.state === 'pending') {
    return {
      code: 'NODE_PENDING',
      message: `the mesh key "${known.name}" came by was changed meanwhile, an admin has to let it in`,
      next: `brume node approve ${known.displayName}, on an admin node`
    }
  }
  if (known?.state === 'removed') {
    return {
      code: 'NODE_REMOVED',
      message: 'it was removed from the mesh, and its key never returns',
      next: 'brume leave --purge, then join as a new node',
      ...(known.removal === null ? {} : { proof: known.removal })
    }
  }
  const refusal = judgeKey(paper, proof, input)
  if (refusal !== null || !wants) return refusal
  return judgeName(paper.name, state)
}

function judgeKey(
  { joinPublicKey }: Admission,
  proof: Proof | null,
  input: JudgeInput
): Refusal | null {
  const { state, mesh } = input
  const invite = state.invites.get(joinPublicKey)
  if (invite !== undefined) return judgeInvite(invite, input.now)
  const current = state.mesh?.joinPublicKey ?? input.joinPublicKey
  if (joinPublicKey === current) {
    return state.mesh?.locked === true
      ? {
          code: 'MESH_LOCKED',
          message: 'the mesh is locked, its key lets nobody in',
          next: 'ask an admin for an invite (`brume invite new`), or for `brume unlock`'
        }
      : null
  }
  if (state.joinKeys.has(joinPublicKey)) {
    return {
      code: 'KEY_OLD',
      message: 'this mesh key is an old one, it was changed since',
      next: 'run `brume key` on a member and join with what it prints'
    }
  }
  return isProven(proof, joinPublicKey, state, mesh) ? null : KEY_UNKNOWN
}

function judgeInvite(invite: InviteRecord, now: number): Refusal | null {
  const next = 'ask an admin for a new one: brume invite new'
  if (invite.revoked) return { code: 'INVITE_REVOKED', message: 'the invite was revoked', next }
  if (invite.used.length >= invite.uses) {
    const times = invite.uses === 1 ? 'was used already' : `was used ${invite.uses} times already`
    return { code: 'INVITE_USED', message: `the invite ${times}`, next }
  }
  if (invite.expiresAt <= now) {
    const at = new Date(invite.expiresAt).toISOString()
    return { code: 'INVITE_EXPIRED', message: `the invite expired at ${at}`, next }
  }
  return null
}

/** A key that was made while this node was away, by an admin it knows. */
function isProven(proof: Proof | null, key: string, state: State, mesh: string): boolean {
  if (proof === null || proof.what === 'removal' || proof.subject !== key) return false
  const author = state.nodes.get(proof.by)
  return author?.state === 'member' && author.role === 'admin' && verifyProof(proof, mesh)
}

function judgeName(name: string, state: State): Refusal | null {
  const taken = new Set(
    [...state.nodes.values()].filter((n) => n.state !== 'removed').map((n) => n.name)
  )
  if (!taken.has(name)) return null
  let n = 2
  while (taken.has(`${name}-${n}`)) n++
  return {
    code: 'NAME_TAKEN',
    message: `a node is called "${name}" already`,
    next: `join again with --name ${name.slice(0, 58)}-${n}`
  }
}

const KEY_UNKNOWN: Refusal = {
  code: 'KEY_UNKNOWN',
  message: 'it came by no key and no invite of this mesh',
  next: 'run `brume key` or `brume invite new` on a member and join with what it prints'
}
