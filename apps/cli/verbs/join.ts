import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import { NAME } from '../../../core/state/names.ts'
import type { InitResult, JoinRequest } from '../../api.ts'
import { commandFor } from '../../client.ts'
import {
  describeMembership,
  parseMembership,
  printMembership,
  requestMembership
} from '../membership.ts'
import { ask, mayAsk } from '../ask.ts'
import { usage } from '../options.ts'
import type { Context, Verb, World } from '../verb.ts'

export const join: Verb<JoinRequest, InitResult> = {
  describe(command) {
    command.argument('<key>', 'the mesh key or an invite; - reads it from stdin, @FILE from a file')
    describeMembership(command)
  },

  async parse([given = ''], options, world) {
    const membership = parseMembership(options)
    const key = (await readKey(given, world)).trim()
    const { decodeMeshKey } = await import('../../../core/mesh-key.ts')
    // Thrown away: a key with a letter lost must not start a daemon.
    decodeMeshKey(key)
    return { ...membership, key }
  },

  async request(input, context) {
    for (let name = input.name; ;) {
      try {
        return await requestMembership('/join', { ...input, name }, context)
      } catch (error) {
        const taken = error instanceof BrumeError && error.code === 'NAME_TAKEN'
        if (!taken || !mayAsk(context)) throw error
        name = await anotherName(name, error, context)
      }
    }
  },

  print(result, context) {
    printMembership(result, context)
    context.err.write(`next: ${commandFor(context.dataDir, 'nodes')}\n`)
  }
}

/** The one the member proposed where nothing is typed. */
async function anotherName(taken: string, error: BrumeError, context: Context): Promise<string> {
  const proposed = /--name (\S+)/.exec(error.next ?? '')?.[1] ?? ''
  const typed = await ask(
    `a node is called "${taken}" already; another name [${proposed}]: `,
    context
  )
  const name = typed === '' ? proposed : typed
  if (NAME.test(name)) return name
  throw usage(`expected lower-case letters, digits and dashes, got "${name}"`)
}

async function readKey(given: string, { stdin }: World): Promise<string> {
  if (given === '-') return await text(stdin)
  if (!given.startsWith('@')) return given
  try {
    return readFileSync(given.slice(1), 'utf8')
  } catch (cause) {
    throw new BrumeError('BAD_KEY', `cannot read the mesh key: ${sentenceOf(cause)}`, { cause })
  }
}
