/** The door of a mesh: hears the papers of strangers, and lets in whom the mesh wants. */
import type { Admission } from './admission.ts'
import { bootNow } from './clock.ts'
import { BrumeError } from './errors.ts'
import type { Welcome } from './join.ts'
import { judge, type Refusal, type Shown } from './judge.ts'
import type { Membership } from './membership.ts'
import type { Op } from './state/index.ts'
import type { Proof } from './proof.ts'
import type { State } from './state/state.ts'

export interface DoorComponents {
  membership: Membership
  state(): State
  /** Whether a node was a member by what was heard of it before this node stopped. */
  remembers(node: string): boolean
  /** Key of this node's system core, z-base-32; null while nothing of it is confirmed. */
  system(): string | null
  append(ops: Op[]): Promise<unknown>
  /** Resolves once this node may write, false where that does not come. */
  writable(): Promise<boolean>
  /** This node's own word, as an admin, that a node is removed; null where it is none. */
  removal(node: string): Proof | null
}

/** Papers of strangers a second; a burst of five seconds is heard. */
const MAX_RATE = 10
const BURST_S = 5

export class Door {
  readonly #components: DoorComponents
  #budget = { tokens: MAX_RATE * BURST_S, at: bootNow() }
  /** One after the other: the last use of an invite is spent once. */
  #admitting: Promise<unknown> = Promise.resolve()

  constructor(components: DoorComponents) {
    this.#components = components
  }

  judge(shown: Shown): Refusal | null {
    const it = this.#components
    const state = it.state()
    if (!state.nodes.has(shown.paper.node) && !this.#mayHear()) return BUSY
    const { mesh, joinPublicKey } = it.membership.paper
    const remembers = (node: string): boolean => it.remembers(node)
    const refusal = judge(shown, { state, mesh, joinPublicKey, remembers, now: Date.now() })
    if (refusal?.code !== 'NODE_REMOVED' || refusal.proof === undefined) return refusal
    // Who removed it may have come while it was away; it believes admins it knows.
    return { ...refusal, proof: it.removal(shown.paper.node) ?? refusal.proof }
  }

  /** What a newcomer needs; null while this node is outside itself. @throws why not, for its eyes */
  admit(paper: Admission): Promise<Welcome | null> {
    const mine = this.#admitting.then(() => this.#admit(paper))
    this.#admitting = mine.catch(() => {})
    return mine
  }

  async #admit(paper: Admission): Promise<Welcome | null> {
    const it = this.#components
    const { membership } = it
    if (!it.state().nodes.has(paper.node)) {
      // A newcomer itself a moment ago: its own admission may still be on its way here.
      if (!(await it.writable())) return null
      // Others came in since this one was heard.
      const refusal = this.judge({ paper, proof: membership.proof, wants: true })
      if (refusal !== null) throw asError(refusal)
      await it.append([{ type: 'node.admit', admission: paper, at: Date.now() }])
    }
    const { nodes, joinKeys, invites } = it.state()
    if (nodes.get(paper.node)?.state !== 'member') {
      throw new BrumeError('NODE_PENDING', 'an admin has to let it in', {
        next: `brume node approve ${paper.name}, on an admin node`
      })
    }
    const { joinPublicKey } = paper
    const { proof = null } = joinKeys.get(joinPublicKey) ?? invites.get(joinPublicKey) ?? {}
    const system = it.system()
    const welcome = { encryptionKey: membership.encryptionKey, proof }
    return system === null ? welcome : { ...welcome, system }
  }

  #mayHear(): boolean {
    const now = bootNow()
    const grown = this.#budget.tokens + ((now - this.#budget.at) / 1000) * MAX_RATE
    const tokens = Math.min(MAX_RATE * BURST_S, grown)
    this.#budget = { tokens: Math.max(0, tokens - 1), at: now }
    return tokens >= 1
  }
}

const asError = ({ code, message, next }: Refusal): BrumeError =>
  new BrumeError(code, message, next === undefined ? {} : { next })

const BUSY: Refusal = {
  code: 'BUSY',
  message: 'too many ask to be let in at once',
  next: 'try again in a moment'
}
