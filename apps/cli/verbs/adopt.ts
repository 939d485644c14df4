import { BrumeError } from '../../../core/errors.ts'
import type { InitResult, JoinRequest } from '../../api.ts'
import { commandFor } from '../../client.ts'
import { putAside } from '../aside.ts'
import {
  describeMembership,
  parseMembership,
  printMembership,
  requestMembership
} from '../membership.ts'
import type { Verb } from '../verb.ts'

type Wish = Omit<JoinRequest, 'key'> & { key: string | null }

/** A cloned data directory becomes a node of its own: another identity that joins the same mesh. */
export const adopt: Verb<Wish, InitResult & { before: string }> = {
  describe(command) {
    command.argument('[key]', 'a mesh key or an invite, where this node holds none that opens')
    describeMembership(command)
  },

  parse: ([key = null], options) => ({ ...parseMembership(options), key }),

  async request({ key: given, ...wish }, context) {
    const { client, dataDir } = context
    if ((await client.hello()) !== null) {
      throw new BrumeError('ALREADY_RUNNING', `a daemon runs on ${dataDir}: it has its identity`, {
        next: commandFor(dataDir, 'status')
      })
    }
    const { loadMembership } = await import('../../../core/membership.ts')
    const membership = await loadMembership(dataDir)
    if (membership === null) {
      throw new BrumeError('NO_MESH', `${dataDir} is of no mesh: there is nothing to adopt`, {
        next: commandFor(dataDir, 'join KEY')
      })
    }
    const key = given ?? (await keyOf(membership))
    const aside = putAside(dataDir)
    try {
      const { bootstrap, peers } = membership
      const where = {
        bootstrap: wish.bootstrap.length > 0 ? wish.bootstrap : bootstrap,
        peers: wish.peers.length > 0 ? wish.peers : peers
      }
      const result = await requestMembership('/join', { ...wish, ...where, key }, context)
      return { ...result, before: aside.path }
    } catch (error) {
      aside.putBack()
      throw error
    }
  },

  print(result, context) {
    printMembership(result, context)
    context.err.write(
      `the identity of before is in ${result.before}; remove that once nothing of it is missed, and the node, if it is gone: brume node rm NAME\n`
    )
  }
}

async function keyOf(membership: {
  mesh: string
  encryptionKey: string
  joinSecret: string | null
  bootstrap: string[]
}): Promise<string> {
  const { mesh, encryptionKey, joinSecret, bootstrap } = membership
  if (joinSecret === null) {
    throw new BrumeError('NO_KEY', 'this node never held the mesh key', {
      next: 'brume adopt KEY, with what `brume key` or `brume invite new` prints on a member'
    })
  }
  const { checkOf, encodeMeshKey } = await import('../../../core/mesh-key.ts')
  return encodeMeshKey({
    kind: 'key',
    meshId: Buffer.from(mesh, 'hex'),
    joinSecret: Buffer.from(joinSecret, 'hex'),
    encryptionCheck: checkOf(Buffer.from(encryptionKey, 'hex')),
    bootstrap
  })
}
