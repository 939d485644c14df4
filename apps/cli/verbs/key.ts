import type { KeyJson } from '../../api.ts'
import type { Context, Verb } from '../verb.ts'

export const key: Verb<null, KeyJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/key'),

  print
}

export const keyRotate: Verb<null, KeyJson> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.post('/key/rotate', {}),

  print(answer, context) {
    print(answer, context)
    context.err.write('the old key lets nobody in any more\n')
  }
}

function print({ key }: KeyJson, { out, err }: Context): void {
  out.write(`${key ?? ''}\n`)
  if (out.isTTY) err.write('whoever has this key can join: brume join KEY\n')
}
