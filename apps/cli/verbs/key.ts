import type { Verb } from '../verb.ts'

export const key: Verb<null, { key: string }> = {
  describe() {},

  parse: () => null,

  request: (_, { client }) => client.get('/key'),

  print(answer, { out, err }) {
    out.write(`${answer.key}\n`)
    if (out.isTTY) err.write('whoever has this key can join: brume join KEY\n')
  }
}
