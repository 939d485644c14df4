/** The three ways to a Mesh: make one, join one, open the one this data directory is in. */
import { writeAdmission } from './admission.ts'
import { randomBytes, toId } from './crypto.ts'
import { BrumeError } from './errors.ts'
import { greet, type Greeting, type Welcome } from './join.ts'
import type { Refusal } from './judge.ts'
import { forgetMembership, loadMembership, saveMembership, type Membership } from './membership.ts'
import { checkOf, joinKeyPair, meshIdString, meshTopic, type MeshKey } from './mesh-key.ts'
import { loadKnownNodes, Mesh, openSwarm, type MeshComponents } from './mesh.ts'
import type { Role } from './state/state.ts'
import type { Connections } from './swarm.ts'
import { writerKeyOf } from './writer-key.ts'

export interface EnterOptions {
  name: string
  /** HOST:PORT of DHT nodes; empty for the public ones. */
  bootstrap: string[]
  /** HOST:PORT of members to try first. */
  peers: string[]
}

/** How long a newcomer looks for a member. */
const JOIN_MS = 60_000

/** Makes a mesh of one node, this one. */
export async function createMesh(
  components: MeshComponents,
  options: EnterOptions & { defaultRole: Role }
): Promise<Mesh> {
  const meshId = writerKeyOf(components.identity.keyPair.publicKey)
  const encryptionKey = randomBytes(32)
  const key: MeshKey = {
    kind: 'key',
    meshId,
    joinSecret: randomBytes(32),
    encryptionCheck: checkOf(encryptionKey),
    bootstrap: options.bootstrap
  }
  const membership: Membership = {
    ...membershipOf(components, key, options),
    encryptionKey: encryptionKey.toString('hex'),
    defaultRole: options.defaultRole
  }
  await saveMembership(components.dir, membership)
  const mesh = new Mesh(components, membership, null)
  await mesh.open()
  return mesh
}

/**
 * Lets a member take this node in.
 *
 * @throws BrumeError JOIN_REFUSED (the key is not, or no longer, right), JOIN_TIMEOUT (nobody met or
 * let it in), JOIN_NO_VIEW (let in by one whose view did not come).
 */
export async function joinMesh(
  components: MeshComponents,
  key: MeshKey,
  options: EnterOptions,
  onProgress: (message: string) => void
): Promise<Mesh> {
  const { identity, log } = components
  const bootstrap = options.bootstrap.length > 0 ? options.bootstrap : key.bootstrap
  const outside = membershipOf(components, { ...key, bootstrap }, { ...options, bootstrap })
  const swarm = openSwarm(components, {
    keyPair: identity.keyPair,
    topic: meshTopic(key.meshId),
    bootstrap,
    peers: options.peers,
    knownNodes: [],
    relay: components.relay ?? true,
    log
  })
  try {
    const { welcome, greetings } = await knock(swarm, key, outside, components, onProgress)
    const membership: Membership = { ...outside, ...welcome }
    await saveMembership(components.dir, membership)
    onProgress('a member let this node in, reading the view')
    swarm.removeAllListeners('connection')
    const mesh = new Mesh(components, membership, { swarm, greetings })
    const deadline = AbortSignal.timeout(JOIN_MS)
    try {
      // Who let it in may be gone before it gave the view: others need not take it.
      const entering = mesh.open().then(() => untilAdmitted(mesh))
      await Promise.race([entering, ended(deadline, noView)])
      return mesh
    } catch (error) {
      // Half in is not in: the next join starts anew, and the admission made now is not lost on it.
      await forgetMembership(components.dir)
      await mesh.close()
      throw error
    }
  } catch (error) {
    await swarm.close()
    throw error
  }
}

/** The mesh this data directory is in; null where it is in none. */
export async function openMesh(components: MeshComponents): Promise<Mesh | null> {
  const membership = await loadMembership(components.dir)
  if (membership === null) return null
  const mesh = new Mesh(components, membership, null, await loadKnownNodes(components.dir))
  await mesh.open()
  return mesh
}

function membershipOf(
  { identity }: MeshComponents,
  key: MeshKey,
  options: EnterOptions
): Omit<Membership, 'encryptionKey'> {
  const join = joinKeyPair(key.joinSecret)
  return {
    mesh: key.meshId.toString('hex'),
    joinSecret: key.kind === 'key' ? key.joinSecret.toString('hex') : null,
    proof: null,
    removal: null,
    name: options.name,
    paper: writeAdmission(identity, join, {
      mesh: meshIdString(key.meshId),
      name: options.name,
      joinPublicKey: toId(join.publicKey)
    }),
    bootstrap: options.bootstrap,
    peers: options.peers
  }
}

/** Hardly another member knows better; but a stranger may have said it. */
const LAST_WORD_MS = 1_000
const FINAL = new Set([
  'NODE_REMOVED',
  'NODE_PENDING',
  'KEY_OLD',
  'MESH_LOCKED',
  'NAME_TAKEN',
  'INVITE_REVOKED',
  'INVITE_USED',
  'INVITE_EXPIRED'
])
/** Another member may have heard of a key, an invite or a name this one has not: so long it may say. */
const SECOND_OPINION_MS = 4_000

/** Greets whoever is on the topic until one member lets this node in, or it is clear that none will. */
function knock(
  swarm: Connections,
  { encryptionCheck }: MeshKey,
  { paper }: Omit<Membership, 'encryptionKey'>,
  { log }: MeshComponents,
  onProgress: (message: string) => void
): Promise<{ welcome: Welcome; greetings: Greeting[] }> {
  const greetings: Greeting[] = []
  let first: Refusal | null = null
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      clearTimeout(second)
      act()
    }
    const giveUp = (): void =>
      settle(() => reject(first === null ? nobody(greetings.length) : refused(first)))
    const timer = setTimeout(giveUp, JOIN_MS)
    let second: NodeJS.Timeout | undefined
    const onRefused = (refusal: Refusal): void => {
      first ??= refusal
      const ms = FINAL.has(refusal.code) ? LAST_WORD_MS : SECOND_OPINION_MS
      second ??= setTimeout(giveUp, ms)
    }
    const onWelcome = (welcome: Welcome): void => {
      const check = checkOf(Buffer.from(welcome.encryptionKey, 'hex'))
      if (check.equals(encryptionCheck)) return settle(() => resolve({ welcome, greetings }))
      log.warn({}, 'a stranger posed as a member')
    }
    onProgress('looking for a member of the mesh')
    swarm.on('connection', (connection, id) => {
      onProgress(`found ${id.slice(0, 8)}, asking to be let in`)
      const greeting = greet(connection, {
        inside: false,
        shows: () => ({ paper, proof: null, wants: true }),
        // Who is no member of the mesh this paper is for has nothing to say of it.
        judge: (theirs) =>
          theirs.paper.mesh === paper.mesh
            ? null
            : { code: 'JOIN_REFUSED', message: 'it is of another mesh' },
        admit: () => Promise.resolve(null),
        onPeer: () => {},
        onWelcome,
        onRefused,
        log
      })
      greetings.push(greeting)
    })
    swarm.start()
  })
}

const refused = ({ code, message, next }: Refusal): BrumeError =>
  new BrumeError(code, `a member refused this node: ${message}`, next === undefined ? {} : { next })

/** Rejects once the signal is aborted. */
const ended = (signal: AbortSignal, why: () => Error): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(why())
    else signal.addEventListener('abort', () => reject(why()), { once: true })
  })

async function untilAdmitted(mesh: Mesh): Promise<void> {
  while (!mesh.oplog.writable || mesh.me === null) {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        mesh.off('view', done)
        mesh.oplog.off('writable', done)
        resolve()
      }
      mesh.once('view', done)
      mesh.oplog.once('writable', done)
    })
  }
}

const noView = (): BrumeError =>
  new BrumeError(
    'JOIN_NO_VIEW',
    `a member let this node in, and its view did not come in ${JOIN_MS / 1000} s`,
    {
      next: 'run the same join again: the machines or the link between them are too busy',
      exitCode: 3
    }
  )

const nobody = (met: number): BrumeError =>
  new BrumeError(
    'JOIN_TIMEOUT',
    met === 0
      ? `no member of the mesh was found in ${JOIN_MS / 1000} s`
      : `no member let this node in within ${JOIN_MS / 1000} s`,
    {
      next: 'check that a member is up and reachable (`brume status` there), or name one with --peer HOST:PORT',
      exitCode: 3
    }
  )
