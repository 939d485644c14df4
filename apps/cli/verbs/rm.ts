import { setTimeout as delay } from 'node:timers/promises'
import { BrumeError } from '../../../core/errors.ts'
import type { RefJson, RemoveResult, ReplicaJson } from '../../api.ts'
import { commandFor, withQuery } from '../../client.ts'
import { tellOffline } from '../offline.ts'
import { addWaiting, usage, type Waiting, waiting } from '../options.ts'
import { replicaName } from '../print.ts'
import type { Context, Verb } from '../verb.ts'

interface Input extends Waiting {
  ref: string
}

export const rm: Verb<Input, RemoveResult> = {
  describe(command) {
    command.argument('<ref>', 'APP, APP/MICROSERVICE, or MICROSERVICE where there is one')
    addWaiting(command, 'it is gone')
  },

  parse([ref = ''], options) {
    return { ref, ...waiting(options) }
  },

  async request({ ref, detach, timeoutMs }, context) {
    const { client } = context
    const found = await client.get<RefJson>(withQuery('/resolve', { ref }))
    const { application, microservice, slot } = found
    if (slot !== null) {
      throw usage(
        `rm: ${ref} is one replica; fewer of them come by scaling`,
        `brume scale ${application}/${microservice}=N`
      )
    }
    const path = `/applications/${application}${microservice === null ? '' : `/${microservice}`}`
    const result = await client.delete<RemoveResult>(path)
    if (!detach) await gone(found, result.offline, timeoutMs, context)
    tellOffline(result.offline, context)
    return result
  },

  print({ removed }, { out }) {
    for (const name of removed) out.write(`${name}\n`)
  },

  exitCode: ({ offline }) => (offline.length > 0 ? 4 : 0)
}

const LOOK_MS = 100

/** Until /replicas has nothing of it, but for what offline nodes cannot tell or let go of yet. */
async function gone(
  { application, microservice }: RefJson,
  offline: string[],
  timeoutMs: number,
  context: Context
): Promise<void> {
  const { client, dataDir, err } = context
  const interrupt = context.interrupt()
  const what = microservice === null ? application : `${application}/${microservice}`
  let seen = ''
  let changedMs = performance.now()
  for (;;) {
    // All, and not by reference: one that is removed is a reference to nothing.
    const all = await client.get<ReplicaJson[]>('/replicas')
    const left = all.filter(
      (r) =>
        r.application === application &&
        (microservice === null || r.microservice === microservice) &&
        !(r.node !== null && offline.includes(r.node))
    )
    if (left.length === 0) return
    const now = left.map((r) => `${replicaName(r)} on ${r.node ?? 'no node'} is ${r.state}`)
    if (now.join() !== seen) {
      seen = now.join()
      changedMs = performance.now()
      if (err.isTTY) err.write(`${left.length} left: ${now[0]}\n`)
    }
    if (performance.now() - changedMs > timeoutMs) {
      throw new BrumeError(
        'TIMEOUT',
        `${what}: nothing has changed for ${timeoutMs / 1000} s: ${now.slice(0, 3).join(', ')}`,
        { next: commandFor(dataDir, 'ps'), exitCode: 3 }
      )
    }
    if (interrupt.aborted) {
      throw new BrumeError('INTERRUPTED', `still removing; ${commandFor(dataDir, 'ps')}`, {
        exitCode: 130
      })
    }
    await delay(LOOK_MS)
  }
}
