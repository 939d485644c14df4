/**
 * The secret behind the mesh key: which one this node holds, how a changed one reaches it, and how
 * it is changed. The view has its public half and, in boxes, the secret for members whose role is at
 * least the mesh's default role; nobody else can show the key.
 */
import type { Channel } from './channel.ts'
import { fromId, randomBytes, sealFor, toId, unsealOwn } from './crypto.ts'
import { BrumeError, sentenceOf } from './errors.ts'
import type { Identity } from './identity.ts'
import type { Logger } from './logger.ts'
import { saveMembership, type Membership } from './membership.ts'
import { checkOf, encodeMeshKey, joinKeyPair } from './mesh-key.ts'
import { writeProof } from './proof.ts'
import type { Op } from './state/index.ts'
import type { Rotation } from './state/join-keys.ts'
import { atLeast, type State } from './state/state.ts'

export interface KeyRingComponents {
  /** Data directory. */
  dir: string
  identity: Identity
  membership: Membership
  channel: Channel
  state(): State
  alive(): ReadonlySet<string>
  log: Logger
}

/** A box holds 500 of these in one op; more members get theirs in another. */
const BOXES_AN_OP = 500

export class KeyRing {
  readonly #components: KeyRingComponents
  /** Box that was opened last. */
  #opened = ''

  constructor(components: KeyRingComponents) {
    this.#components = components
    components.channel.answer('join-secret', async (from) => {
      const { nodes, mesh } = components.state()
      const role = nodes.get(from)?.role ?? 'viewer'
      if (mesh === null || !atLeast(role, mesh.defaultRole))
        throw forbidden(role, mesh?.defaultRole)
      return { secret: this.#secret()?.toString('hex') ?? null }
    })
  }

  /** Opens what was sealed for this node since; a secret that became worthless is let go. */
  async onView({ mesh, sealedKeys }: State): Promise<void> {
    const { membership, identity, dir, log } = this.#components
    if (mesh === null || this.#secret() !== null) return
    const sealed = sealedKeys.get(identity.id)
    const fresh = sealed?.publicKey === mesh.joinPublicKey && sealed.box !== this.#opened
    if (!fresh && membership.joinSecret === null) return
    if (fresh) this.#opened = sealed.box
    const secret = fresh ? unsealOwn(Buffer.from(sealed.box, 'hex'), identity.keyPair) : null
    if (fresh && secret === null) log.warn({}, 'the mesh key sealed for this node cannot be opened')
    membership.joinSecret = secret !== null && this.#fits(secret) ? secret.toString('hex') : null
    await saveMembership(dir, membership)
  }

  /** The mesh key. @throws BrumeError FORBIDDEN where the role may not show it, KEY_ELSEWHERE. */
  async show(): Promise<string> {
    const { mesh, nodes } = this.#components.state()
    const { identity, membership } = this.#components
    const role = nodes.get(identity.id)?.role ?? 'viewer'
    if (mesh !== null && !atLeast(role, mesh.defaultRole)) throw forbidden(role, mesh.defaultRole)
    const joinSecret = this.#secret() ?? (await this.#ask())
    if (joinSecret === null) throw elsewhere()
    return encodeMeshKey({
      kind: 'key',
      meshId: Buffer.from(membership.mesh, 'hex'),
      joinSecret,
      encryptionCheck: checkOf(Buffer.from(membership.encryptionKey, 'hex')),
      bootstrap: membership.bootstrap
    })
  }

  /**
   * Another mesh key: the change, to be put into an op, and the ops that hand its secret to those
   * who may have it but for `without`.
   */
  rotation(without: string | null = null): { rotation: Rotation; seals: Op[] } {
    const { identity, membership } = this.#components
    const { mesh, nodes } = this.#components.state()
    if (mesh === null) throw new BrumeError('NOT_READY', 'this node has not read the mesh yet')
    const secret = randomBytes(32)
    const joinPublicKey = toId(joinKeyPair(secret).publicKey)
    const members = [...nodes.values()].filter((n) => n.state === 'member' && n.id !== without)
    const boxes: [string, string][] = []
    for (const { id, role } of members) {
      const key = fromId(id)
      if (key === null || !atLeast(role, mesh.defaultRole)) continue
      boxes.push([id, sealFor(key, secret).toString('hex')])
    }
    const seals: Op[] = []
    for (let i = 0; i < boxes.length; i += BOXES_AN_OP) {
      const some = Object.fromEntries(boxes.slice(i, i + BOXES_AN_OP))
      seals.push({ type: 'key.seal', joinPublicKey, boxes: some, at: Date.now() })
    }
    const proof = writeProof(identity, membership.paper.mesh, 'join key', joinPublicKey)
    const saw = members.map(({ id }) => id)
    return { rotation: { joinPublicKey, proof, epoch: mesh.keyEpoch + 1, saw }, seals }
  }

  /** Asks members that may have it. */
  async #ask(): Promise<Buffer | null> {
    const { channel, identity, log } = this.#components
    const { mesh, nodes } = this.#components.state()
    for (const node of this.#components.alive()) {
      const record = nodes.get(node)
      if (node === identity.id || record === undefined || mesh === null) continue
      if (!atLeast(record.role, mesh.defaultRole)) continue
      try {
        const { secret } = await channel.ask<{ secret: string | null }>(node, 'join-secret', null)
        const bytes = secret === null ? null : Buffer.from(secret, 'hex')
        if (bytes !== null && this.#fits(bytes)) return bytes
      } catch (error) {
        log.debug({ node, error: sentenceOf(error) }, 'a member did not tell the mesh key')
      }
    }
    return null
  }

  #secret(): Buffer | null {
    const { joinSecret } = this.#components.membership
    const secret = joinSecret === null ? null : Buffer.from(joinSecret, 'hex')
    return secret !== null && this.#fits(secret) ? secret : null
  }

  #fits(secret: Buffer): boolean {
    const { membership } = this.#components
    const current = this.#components.state().mesh?.joinPublicKey ?? membership.paper.joinPublicKey
    return toId(joinKeyPair(secret).publicKey) === current
  }
}

const forbidden = (role: string, least = 'admin'): BrumeError =>
  new BrumeError(
    'FORBIDDEN',
    `this node is ${role === 'admin' || role === 'operator' ? 'an' : 'a'} ${role}: only a node that is at least ${least} may show the mesh key`,
    { next: 'run `brume key` on an admin node (see `brume nodes`)' }
  )

const elsewhere = (): BrumeError =>
  new BrumeError(
    'KEY_ELSEWHERE',
    'this node never had the mesh key of now, and no member in reach has told it',
    { next: 'run `brume key` on a node that joined by it, or `brume key rotate` for another one' }
  )
