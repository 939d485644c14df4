/** Five daemons with an engine each, on disks of their own, and the application they run. */
import type { DeployRequest } from '../../apps/api.ts'
import { createClient, type Client } from '../../apps/client.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import { createDisk, type Disk } from '../helpers/disk.ts'
import { BUSYBOX } from '../helpers/docker.ts'
import { EngineEvents } from '../helpers/engine-events.ts'
import { createFleet, type Fleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab, type Lab } from '../helpers/lab.ts'
import { specWith } from '../helpers/spec.ts'

export const NODES = 5
export const APPLICATION = 'shop'
const DISK_BYTES = 192 * 1024 * 1024

export interface Member {
  /** Number of its host in the lab. */
  at: number
  node: FleetNode
  client: Client
  disk: Disk
  /** Of its engine. */
  socket: string
}

export interface World {
  lab: Lab
  fleet: Fleet
  members: Member[]
  events: EngineEvents
  /** What was asked for last, and the number of that revision of `web`. */
  wanted: { web: number; replicas: number }
  /** Numbers of `web` that were used. */
  revisions: number
}

type Teardown = (fn: () => unknown) => void

export async function startWorld(teardown: Teardown): Promise<World> {
  const lab = await createLab(NODES + 1, { teardown })
  const disks = await Promise.all(
    lab.hosts.slice(0, NODES).map(({ dir }) => createDisk({ teardown }, dir, DISK_BYTES))
  )
  const fleet = await createFleet({ teardown }, lab)
  const members = fleet.nodes.map((node, at): Member => {
    const socket = node.dockerSocket as string
    return { at, node, client: createClient(node.dataDir), disk: disks[at] as Disk, socket }
  })
  const sockets = members.map(({ socket }) => socket)
  const events = await EngineEvents.watch(sockets, { teardown }, ['start', 'kill', 'die'])
  const wanted = { web: 1, replicas: 3 }
  const world: World = { lab, fleet, members, events, wanted, revisions: 1 }
  await members[0]?.client.post('/applications', applicationOf(wanted.replicas, good(1)))
  return world
}

const RUN = ['sh', '-c', 'trap "exit 0" TERM; sleep 0.5; touch /tmp/up; sleep 1000000 & wait']
const idle = (over: Partial<MicroserviceSpec>): MicroserviceSpec =>
  specWith({ image: BUSYBOX, command: RUN, ...over })

/** One of every kind of rule for what is done while nodes cannot be reached. */
export function applicationOf(replicas: number, web: Partial<MicroserviceSpec>): DeployRequest {
  const specs: Record<string, MicroserviceSpec> = {
    web: idle({
      replicas,
      healthcheck: {
        ...{ command: ['test', '-f', '/tmp/up'], shell: false },
        // A machine that is busy must not look like a container that is sick.
        ...{ intervalMs: 500, timeoutMs: 10_000, retries: 3, startPeriodMs: 5_000 }
      },
      update: { monitorMs: 500 },
      ...web
    }),
    always: idle({ replicas: 2, disconnect: { replace: 'always', reconcile: 'keepReplacement' } }),
    quick: idle({ replicas: 2, disconnect: { lostAfterMs: 3_000, reconcile: 'keepOriginal' } }),
    never: idle({ replicas: 2, disconnect: { replace: 'never' } }),
    each: idle({ replicas: 'all' }),
    pinned: idle({ node: 'n3' }),
    alone: idle({ disconnect: { stopAfterMs: 4_000 } })
  }
  const microservices = Object.entries(specs).map(([name, spec]) => ({ name, spec }))
  return { application: APPLICATION, microservices }
}

/** The label tells the revisions apart at the engines. */
export const good = (n: number): Partial<MicroserviceSpec> => ({ labels: { of: String(n) } })

export const noImage = (n: number): Partial<MicroserviceSpec> => ({
  ...good(n),
  image: 'local/none:1'
})

export const badCommand = (n: number): Partial<MicroserviceSpec> => ({
  ...good(n),
  command: ['sh', '-c', 'echo no database; exit 3']
})

export const badHealth = (n: number): Partial<MicroserviceSpec> => ({
  ...good(n),
  healthcheck: {
    ...{ command: ['false'], shell: false },
    ...{ intervalMs: 500, timeoutMs: 5_000, retries: 2, startPeriodMs: 500 }
  }
})
