import type { LockJson } from '../../api.ts'
import type { Verb } from '../verb.ts'

export const lock: Verb<null, LockJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.post('/lock', {}),

  print(_, { out }) {
    out.write('locked: the mesh key lets nobody in, invites do\n')
  }
}

export const unlock: Verb<null, LockJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.post('/unlock', {}),

  print(_, { out }) {
    out.write('unlocked: whoever has the mesh key can join\n')
  }
}
