/** The three ways to a Mesh: make one, join one, open the one this data directory is in. */
import { writeAdmission } from './admission.ts'
import { randomBytes, toId } from './crypto.ts'
import { BrumeError } from './errors.ts'
import { greet, type Greeting } from './join.ts'
import { forgetMembership, loadMembership, saveMembership, type Membership } from './membership.ts'
import { joinKeyPair, meshIdString, meshTopic, type MeshKey } from './mesh-key.ts'
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
  const key = { meshId, joinSecret: randomBytes(32), keyEpoch: 0, bootstrap: options.bootstrap }
  const membership: Membership = {
    ...membershipOf(components, key, options),
    encryptionKey: randomBytes(32).toString('hex'),
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
 * @throws BrumeError JOIN_REFUSED (the key is not, or no longer, right), JOIN_TIMEOUT (nobody met).
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
    const { encryptionKey, greetings } = await knock(swarm, outside, components, onProgress)
    const membership: Membership = { ...outside, encryptionKey }
    await saveMembership(components.dir, membership)
    onProgress('a member let this node in, reading the view')
    swarm.removeAllListeners('connection')
    const mesh = new Mesh(components, membership, { swarm, greetings })
    try {
      await mesh.open()
      await untilAdmitted(mesh)
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
    joinSecret: key.joinSecret.toString('hex'),
    keyEpoch: key.keyEpoch,
    name: options.name,
    paper: writeAdmission(identity, join, {
      mesh: meshIdString(key.meshId),
      epoch: key.keyEpoch,
      name: options.name,
      joinPublicKey: toId(join.publicKey)
    }),
    bootstrap: options.bootstrap,
    peers: options.peers
  }
}

/** Greets whoever is on the topic until one member answers with the encryption key. */
function knock(
  swarm: Connections,
  outside: Omit<Membership, 'encryptionKey'>,
  { log }: MeshComponents,
  onProgress: (message: string) => void
): Promise<{ encryptionKey: string; greetings: Greeting[] }> {
  const greetings: Greeting[] = []
  const { paper } = outside
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(nobody(greetings.length)), JOIN_MS)
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      act()
    }
    onProgress('looking for a member of the mesh')
    swarm.on('connection', (connection, id) => {
      onProgress(`found ${id.slice(0, 8)}, asking to be let in`)
      const greeting = greet(connection, {
        inside: false,
        paper: () => paper,
        wants: () => true,
        judge: (theirs) =>
          theirs.mesh === paper.mesh && theirs.joinPublicKey === paper.joinPublicKey
            ? null
            : { code: 'JOIN_REFUSED', message: 'its mesh key is another one' },
        admit: () => Promise.resolve(null),
        onPeer: () => {},
        onWelcome: ({ encryptionKey }) => settle(() => resolve({ encryptionKey, greetings })),
        onRefused: ({ code, message }) =>
          settle(() =>
            reject(
              new BrumeError(code, `a member refused this node: ${message}`, {
                next: 'run `brume key` on a member and join with what it prints'
              })
            )
          ),
        log
      })
      greetings.push(greeting)
    })
    swarm.start()
  })
}

async function untilAdmitted(mesh: Mesh): Promise<void> {
  const deadline = AbortSignal.timeout(JOIN_MS)
  while (!mesh.oplog.writable || mesh.me === null) {
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        mesh.off('view', done)
        mesh.oplog.off('writable', done)
        resolve()
      }
      mesh.once('view', done)
      mesh.oplog.once('writable', done)
      deadline.addEventListener('abort', () => reject(nobody(mesh.links.ids.length)), {
        once: true
      })
    })
  }
}

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
