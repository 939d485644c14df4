/** Where ports are open for microservices, and what nodes tell of them. Pure. */
import { BrumeError } from '../../core/errors.ts'
import type { ExposedBody } from '../../core/gossip-records.ts'
import { exposuresOf, isOpenOn, type Exposure } from '../../core/state/exposures.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import type { State } from '../../core/state/state.ts'
import { exposed, ruleKey, type ExposedWorld } from '../../roles/connector/exposed.ts'
import type { ExposedJson, ReplicaJson } from '../api.ts'
import { nodeName } from './world.ts'

export interface ToldWorld {
  state: State
  alive: ReadonlySet<string>
  /** What each node tells of its ports. */
  exposed: ReadonlyMap<string, ExposedBody>
}

/** Every node that is to open a port for it, by port and name. */
export function exposedRows(key: string, world: ToldWorld): ExposedJson[] {
  const spec = world.state.microservices.get(key)?.spec
  if (spec === undefined) return []
  return exposuresOf(spec).flatMap((exposure) =>
    [...world.state.nodes.values()]
      .filter((node) => isOpenOn(exposure, node))
      .map(({ id }) => rowOf(key, exposure, id, world))
      .sort((a, b) => (a.node < b.node ? -1 : 1))
  )
}

/** The same for a line of `ps`: each port once, with the first of what is wrong with it. */
export function exposedBrief(key: string, world: ToldWorld): ReplicaJson['exposed'] {
  const ports = new Map<string, ReplicaJson['exposed'][number]>()
  for (const { node, port, to, protocol, open, reason } of exposedRows(key, world)) {
    const id = `${port} ${to}`
    const known = ports.get(id) ?? { port, to, protocol, problem: null }
    const isWrong = open === false && known.problem === null
    ports.set(id, isWrong ? { ...known, problem: `not open on ${node}: ${reason}` } : known)
  }
  return [...ports.values()]
}

/**
 * @param asked an application as it would be after a deploy
 * @throws BrumeError PORT_IN_USE where a node cannot open a port of it beside those of others
 */
export function mustBeFree(
  { nodes, microservices }: State,
  application: string,
  asked: readonly { name: string; spec: MicroserviceSpec }[]
): void {
  if (asked.every(({ spec }) => exposuresOf(spec).length === 0)) return
  const others = [...microservices].filter(([, record]) => record.application !== application)
  const own = asked.map(
    ({ name, spec }) => [`${application}/${name}`, { application, name, spec }] as const
  )
  const world: ExposedWorld = {
    nodes,
    microservices: new Map([...others, ...own]),
    // What a replica publishes is in the way of a node, not of a deploy.
    placements: new Map()
  }
  const isOwn = (key: string): boolean => key.startsWith(`${application}/`)
  const clashes = [...nodes.values()].flatMap((node) =>
    exposed(world, node.id).faults.flatMap(({ port, rule, rival }) => {
      const [key, other] = [ruleKey(rule), rival ?? '']
      if (!isOwn(key) && !isOwn(other)) return []
      const [mine, theirs] = isOwn(key) ? [key, other] : [other, key]
      return [{ node: node.displayName, port, mine, theirs }]
    })
  )
  const [first] = clashes
  if (first === undefined) return
  const { port, mine, theirs } = first
  const same = clashes.filter((one) => one.port === port && one.theirs === theirs)
  const on = [...new Set(same.map(({ node }) => node))].sort().join(', ')
  throw new BrumeError(
    'PORT_IN_USE',
    `${mine} cannot have port ${port} on ${on}: it is exposed for ${theirs}`,
    { next: 'take another `port`, other nodes (`on`), or with http another `host` or `path`' }
  )
}

function rowOf(
  key: string,
  exposure: Exposure,
  id: string,
  { state, alive, exposed: told }: ToldWorld
): ExposedJson {
  const { port, to, protocol, on, tls } = exposure
  const [host, path] = [exposure.host ?? null, exposure.path ?? null]
  const node = nodeName(state, id)
  const row = { node, port, to, protocol, on, host, path, tls: tls !== undefined }
  if (!alive.has(id)) return { ...row, open: null, reason: `${node} is not in reach` }
  const found = told
    .get(id)
    ?.ports.find(
      (one) =>
        one.microservice === key && one.port === port && one.host === host && one.path === path
    )
  if (found === undefined) return { ...row, open: null, reason: `${node} has not told yet` }
  return { ...row, open: found.open, reason: found.problem }
}
