/**
 * What a name in a container means, and which addresses answer to it: pure.
 *
 *   [WHICH.]MICROSERVICE                       of the application that asks
 *   [WHICH.]MICROSERVICE.APPLICATION[.brume]   of any; with `brume` nobody else is ever asked for it
 *
 * WHICH is a slot, `nearest` or `all`. A name that can be read in two ways is the one without it.
 */
import type { Replica, Service } from './directory.ts'

/** A microservice, or one slot of it: what has a virtual address. */
export interface Target {
  application: string
  microservice: string
  /** null for any replica. */
  slot: number | null
}

export interface Named {
  application: string
  microservice: string
  which: 'any' | 'nearest' | 'all' | number
}

/** `nobody`: a name of ours that stands for nothing. `elsewhere`: none of ours. */
export type Reading = Named | 'nobody' | 'elsewhere'

export const TOP = 'brume'

/**
 * `from`: the application that asks. `has`: whether there is such a microservice that who asks may
 * reach.
 */
export function readName(
  name: string,
  from: string,
  has: (application: string, microservice: string) => boolean
): Reading {
  const labels = name.toLowerCase().replace(/\.$/, '').split('.')
  const isOurs = labels.at(-1) === TOP
  if (isOurs) labels.pop()
  const candidates = [...readWhole(labels), ...(isOurs ? [] : readWhole([...labels, from]))]
  const found = candidates.find(({ application, microservice }) => has(application, microservice))
  return found ?? (isOurs ? 'nobody' : 'elsewhere')
}

/** Of the labels [WHICH, ] MICROSERVICE, APPLICATION. */
function readWhole(labels: readonly string[]): Named[] {
  const [application, microservice, first, ...more] = labels.toReversed()
  if (application === undefined || microservice === undefined || more.length > 0) return []
  const which = first === undefined ? 'any' : whichOf(first)
  return which === null ? [] : [{ application, microservice, which }]
}

function whichOf(label: string): Named['which'] | null {
  if (label === 'nearest' || label === 'all') return label
  return /^(?:0|[1-9]\d{0,4})$/.test(label) ? Number(label) : null
}

export interface Here {
  /** Node id. */
  self: string
  /** Of the container of this node that runs it; null where none has an address of its own. */
  addressOf: (replica: Replica) => string | null
}

/** A container of this node, or what the Connector listens for at a virtual address. */
export type End = { address: string } | { virtual: Target }

/**
 * Where who asks is sent; nowhere where no replica serves. Containers of this node and of the asker's
 * application are reached as they are, all else by the Connector.
 */
export function endsOf(named: Named, service: Service, from: string, here: Here): End[] {
  const { application, microservice, which } = named
  const fit = service.replicas.filter(({ slot }) => typeof which !== 'number' || slot === which)
  // Who is about to end is in an answer only where there is nobody else.
  const staying = fit.filter(({ leaving }) => !leaving)
  const replicas = staying.length > 0 ? staying : fit
  if (replicas.length === 0) return []
  const target = { application, microservice }
  const native = replicas.map((replica): End | null => {
    const near = replica.node === here.self && application === from
    const address = near ? here.addressOf(replica) : null
    return address === null ? null : { address }
  })
  const isHere = (end: End | null): end is End => end !== null
  if (which === 'all') {
    return onceEach(
      native.map((end, i) => end ?? { virtual: { ...target, slot: replicas[i]?.slot ?? 0 } })
    )
  }
  if (which === 'nearest') return [native.find(isHere) ?? { virtual: { ...target, slot: null } }]
  if (native.every(isHere)) return onceEach(native)
  return [{ virtual: { ...target, slot: which === 'any' ? null : which } }]
}

/** A slot can have two copies that are about to end. */
function onceEach(ends: readonly End[]): End[] {
  const keyed = ends.map((end) => ['address' in end ? end.address : end.virtual.slot, end] as const)
  return [...new Map(keyed).values()]
}
