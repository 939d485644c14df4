/**
 * What the benches with engines run on: three hosts of a lab with a Docker engine and a brume
 * daemon each, started by the built CLI, and a fourth for their DHT. All clocks are this machine's.
 */
import type { StatusJson } from '../apps/api.ts'
import { createClient, type Client } from '../apps/client.ts'
import type { MicroserviceSpec } from '../core/state/microservices.ts'
import { BUSYBOX } from '../test/helpers/docker.ts'
import { createFleet, untilTogether, type FleetNode } from '../test/helpers/fleet.ts'
import { createLab, type Host } from '../test/helpers/lab.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import type { During } from './bench.ts'

export interface BenchNode {
  host: Host
  fleet: FleetNode
  /** Talks to its daemon over the unix socket, as the CLI does. */
  client: Client
  pid: number
}

export async function startThreeNodes({ say, teardown }: During): Promise<BenchNode[]> {
  say('three hosts with an engine and a daemon each')
  const lab = await createLab(4)
  teardown(() => lab.stop())
  const fleet = await createFleet({ teardown }, lab)
  const nodes = await Promise.all(
    fleet.nodes.map(async (node) => ({
      host: node.host,
      fleet: node,
      client: createClient(node.dataDir),
      pid: await node.pid()
    }))
  )
  await untilWhole(nodes)
  return nodes
}

/** Every node sees every other alive, and all see the same leader. */
export async function untilWhole(nodes: BenchNode[]): Promise<void> {
  await untilTogether(
    nodes.map(({ fleet }) => fleet),
    180_000
  )
  await waitUntil(async () => {
    const all = await Promise.all(nodes.map(({ client }) => client.get<StatusJson>('/status')))
    return all.every(({ leader }) => leader !== null && leader === all[0]?.leader)
  }, 60_000)
}

/** Something that runs, and ends at once when asked to. */
export const IDLE_COMMAND = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait']

export function idleSpec(replicas: number): MicroserviceSpec {
  return {
    image: BUSYBOX,
    images: {},
    files: null,
    command: IDLE_COMMAND,
    env: {},
    labels: {},
    ports: [],
    resources: { cpus: null, memoryBytes: null },
    replicas,
    node: null,
    constraints: [],
    restart: 'always',
    healthcheck: null
  }
}
