/**
 * Every combination of policies. A mesh has one of what is done while a node is out of reach, and
 * in it a microservice of each kind for each order of an update.
 */
import type { Op } from '../../../core/state/index.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { DisconnectPolicy, UpdatePolicy } from '../../../core/state/policies.ts'
import type { State } from '../../../core/state/state.ts'
import { specWith } from '../../helpers/spec.ts'

export interface Combination {
  replace: DisconnectPolicy['replace']
  reconcile: DisconnectPolicy['reconcile']
  stopAfterMs: number | null
}

export const STOP_AFTER_MS = 8_000
const REPLACE = ['auto', 'always', 'never'] as const
const RECONCILE = ['bestScore', 'keepOriginal', 'keepReplacement'] as const

export const COMBINATIONS: readonly Combination[] = REPLACE.flatMap((replace) =>
  RECONCILE.flatMap((reconcile) =>
    [null, STOP_AFTER_MS].map((stopAfterMs) => ({ replace, reconcile, stopAfterMs }))
  )
)

/** Of `web` there are two, of `all` one on every node; one is pinned to a node, and of one a volume is there. */
export type Kind = 'web' | 'all' | 'pinned' | 'data'

export interface Kept {
  name: string
  kind: Kind
  order: UpdatePolicy['order']
}

const ORDERS = { auto: 'auto', start: 'startFirst', stop: 'stopFirst' } as const

/** As they are deployed, one after the other. What cannot be moved has the orders in common. */
export const MICROSERVICES: readonly Kept[] = [
  ...(['web', 'all'] as const).flatMap((kind) =>
    Object.entries(ORDERS).map(([word, order]) => ({ name: `${kind}-${word}`, kind, order }))
  ),
  { name: 'pinned', kind: 'pinned', order: 'startFirst' },
  { name: 'data', kind: 'data', order: 'startFirst' }
]

export const REPLICAS = 2

const kinds = new Map(MICROSERVICES.map((one) => [`app/${one.name}`, one]))

/** What a slot, by its key, is of. */
export function keptOf(key: string): Kept {
  const found = kinds.get(key.split('/').slice(0, 2).join('/'))
  if (found === undefined) throw new Error(`there is no ${key}`)
  return found
}

export const wordsOf = ({ replace, reconcile, stopAfterMs }: Combination): string =>
  `replace ${replace}, reconcile ${reconcile}, stopAfter ${stopAfterMs === null ? 'unset' : 'set'}`

const HEALTH = {
  ...{ command: ['true'], shell: false, intervalMs: 10_000, timeoutMs: 500, retries: 1 },
  startPeriodMs: 2_000
}

/** Before it has its policies. `home`: the name of the node for what is tied to one. */
export function specOf({ kind, name }: Kept, home: string): MicroserviceSpec {
  const spec = specWith({ env: { VERSION: '1' }, healthcheck: HEALTH })
  const beside = MICROSERVICES.find((other) => other.kind === 'web' && other.name !== name)
  switch (kind) {
    case 'web':
      return { ...{ ...spec, replicas: REPLICAS }, placing: { near: beside ? [beside.name] : [] } }
    case 'all':
      return { ...spec, replicas: 'all' }
    case 'pinned':
      return { ...spec, node: home }
    case 'data':
      return {
        ...{ ...spec, placing: { near: ['pinned'] } },
        volumes: [{ source: 'data', container: '/data', readOnly: false }]
      }
  }
}

export const withPolicies = (
  spec: MicroserviceSpec,
  { order }: Kept,
  { replace, reconcile, stopAfterMs }: Combination
): MicroserviceSpec => ({
  ...spec,
  update: { order, parallelism: 0, monitorMs: 500 },
  disconnect: { lostAfterMs: 3_000, replace, reconcile, stopAfterMs }
})

export type Change = (spec: MicroserviceSpec, of: Kept) => MicroserviceSpec

/** What a person sets of all of them, over what is there. */
export const edits = ({ microservices }: State, change: Change): Op[] =>
  [...microservices].map(([key, { name, spec, op }]): Op => {
    return { ...setOf(name, change(spec, keptOf(key))), over: op }
  })

export const setOf = (name: string, spec: MicroserviceSpec) => ({
  ...{ type: 'microservice.set' as const, application: 'app', name, spec, over: null, at: 1 }
})
