/** Who may be reached where: a pure function of what is placed and what nodes report. */
import type { StatusBody } from '../../core/gossip-records.ts'
import { slotKey, type State } from '../../core/state/state.ts'

/** A published port of a replica that runs. */
export interface Endpoint {
  application: string
  microservice: string
  slot: number
  /** Node id. */
  node: string
  /** The port inside the container. */
  container: number
  /** The port of the node. */
  host: number
  protocol: 'tcp' | 'udp'
  /** null where nobody checks. */
  healthy: boolean | null
}

/** Endpoints of running replicas on alive nodes, by slot; unhealthy ones last. */
export function directory(input: {
  state: State
  alive: ReadonlySet<string>
  status: ReadonlyMap<string, StatusBody>
}): Endpoint[] {
  const endpoints: Endpoint[] = []
  for (const node of input.alive) {
    for (const container of input.status.get(node)?.containers ?? []) {
      if (container.state !== 'running' && container.state !== 'retiring') continue
      if (input.state.placements.get(slotKey(container))?.node !== node) continue
      const { application, microservice, slot, healthy } = container
      for (const { container: inside, host, protocol } of container.ports) {
        endpoints.push({
          application,
          microservice,
          slot,
          node,
          container: inside,
          host,
          protocol,
          healthy
        })
      }
    }
  }
  return endpoints.sort(
    (a, b) =>
      Number(a.healthy === false) - Number(b.healthy === false) ||
      compare(slotKey(a), slotKey(b)) ||
      a.container - b.container
  )
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
