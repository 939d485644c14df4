import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { BrumeError, sentenceOf } from '../../../core/errors.ts'
import type { InitResult, JoinRequest } from '../../api.ts'
import { commandFor } from '../../client.ts'
import {
  describeMembership,
  parseMembership,
  printMembership,
  requestMembership
} from '../membership.ts'
import type { Verb, World } from '../verb.ts'

export const join: Verb<JoinRequest, InitResult> = {
  describe(command) {
    command.argument('<key>', 'the mesh key; - reads it from stdin, @FILE from a file')
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

  request: (input, context) => requestMembership('/join', input, context),

  print(result, context) {
    printMembership(result, context)
    context.err.write(`next: ${commandFor(context.dataDir, 'nodes')}\n`)
  }
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
