/** Docker Swarm on the engines of a lab, all managers; asked over their sockets, as its CLI does. */
import type { Host } from '../test/helpers/lab.ts'
import { dockerApi } from '../test/helpers/docker-api.ts'
import { waitUntil } from '../test/helpers/wait.ts'
import { BUSYBOX } from '../test/helpers/docker.ts'
import { IDLE_COMMAND } from './three-nodes.ts'

export const SERVICE_LABEL = 'com.docker.swarm.service.name'

export interface DockerSwarm {
  /** `docker service create`: resolves when it is accepted. */
  create(name: string, replicas: number, how?: SwarmService): Promise<void>
  /** `docker service update`: resolves when the swarm says that it is over. @throws if it failed */
  update(name: string, how: SwarmService): Promise<void>
  /** All replicas run. */
  untilRuns(name: string): Promise<void>
  /** Removes a service and waits until its containers are gone everywhere. */
  remove(name: string): Promise<void>
  /** Every member answers every other. */
  untilWhole(): Promise<void>
}

export interface SwarmService {
  command: string[]
  env: string[]
  /** As the Docker API has it. */
  healthcheck: object
  updateConfig: object
}

export async function startDockerSwarm(hosts: Host[]): Promise<DockerSwarm> {
  const [first, ...others] = hosts
  if (first === undefined) throw new Error('a swarm needs hosts')
  await ask(first, 'POST', '/swarm/init', {
    ListenAddr: `${first.ip}:2377`,
    AdvertiseAddr: first.ip
  })
  const swarm = (await ask(first, 'GET', '/swarm')) as { JoinTokens: { Manager: string } }
  for (const host of others) {
    await ask(host, 'POST', '/swarm/join', {
      ListenAddr: `${host.ip}:2377`,
      AdvertiseAddr: host.ip,
      RemoteAddrs: [`${first.ip}:2377`],
      JoinToken: swarm.JoinTokens.Manager
    })
  }
  // By id: a tag is looked up at a registry first, and where there is none that takes 20 s.
  const image = (await ask(first, 'GET', `/images/${BUSYBOX}/json`)) as { Id: string }
  const untilWhole = (): Promise<void> =>
    waitUntil(async () => {
      const seen = await Promise.all(hosts.map((host) => members(host)))
      return seen.every((ready) => ready === hosts.length)
    }, 180_000)
  await untilWhole()
  return {
    untilWhole,
    async create(name, replicas, how) {
      await ask(first, 'POST', '/services/create', serviceOf(name, replicas, image.Id, how))
    },
    async update(name, how) {
      const { Version, Spec } = (await ask(first, 'GET', `/services/${name}`)) as Service
      const { Replicas } = Spec.Mode.Replicated
      const path = `/services/${name}/update?version=${Version.Index}`
      await ask(first, 'POST', path, serviceOf(name, Replicas, image.Id, how))
      await waitUntil(async () => {
        const { UpdateStatus } = (await ask(first, 'GET', `/services/${name}`)) as Service
        const state = UpdateStatus?.State ?? 'updating'
        if (state.startsWith('rollback') || state === 'paused') throw new Error(`it is ${state}`)
        return state === 'completed'
      }, 180_000)
    },
    async untilRuns(name) {
      await waitUntil(async () => {
        const filters = encodeURIComponent(
          JSON.stringify({ service: [name], 'desired-state': ['running'] })
        )
        const tasks = (await ask(first, 'GET', `/tasks?filters=${filters}`)) as Task[]
        return tasks.length > 0 && tasks.every(({ Status }) => Status.State === 'running')
      }, 180_000)
    },
    async remove(name) {
      await ask(first, 'DELETE', `/services/${name}`)
      await untilGone(hosts, SERVICE_LABEL, name)
    }
  }
}

interface Service {
  Version: { Index: number }
  Spec: { Mode: { Replicated: { Replicas: number } } }
  UpdateStatus?: { State: string }
}

interface Task {
  Status: { State: string }
}

function serviceOf(name: string, replicas: number, image: string, how?: SwarmService): object {
  const { command = IDLE_COMMAND, env = [], healthcheck, updateConfig } = how ?? {}
  const container = {
    ...{ Image: image, Command: command, Env: env },
    ...(healthcheck && { Healthcheck: healthcheck })
  }
  return {
    Name: name,
    TaskTemplate: { ContainerSpec: container },
    Mode: { Replicated: { Replicas: replicas } },
    ...(updateConfig && { UpdateConfig: updateConfig })
  }
}

/** No engine has a container with the label any more, in any state. */
export async function untilGone(hosts: Host[], label: string, value: string): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${label}=${value}`] }))
  await waitUntil(async () => {
    const left = await Promise.all(
      hosts.map((host) => ask(host, 'GET', `/containers/json?all=true&filters=${filters}`))
    )
    return left.flat().length === 0
  }, 120_000)
}

/** @throws what Docker says */
export async function ask(
  { name, dockerSocket }: Host,
  method: string,
  path: string,
  body?: unknown
): Promise<unknown> {
  const answer = await dockerApi(dockerSocket, method, path, body)
  if (answer.status < 400) return answer.body
  throw new Error(`${method} ${path} on ${name}: ${answer.status} ${JSON.stringify(answer.body)}`)
}

/** Members in reach, as a host sees it; none while the swarm has no leader. */
async function members({ dockerSocket }: Host): Promise<number> {
  const { status, body } = await dockerApi(dockerSocket, 'GET', '/nodes')
  if (status !== 200) return 0
  const nodes = body as { Status: { State: string }; ManagerStatus?: { Reachability: string } }[]
  return nodes.filter(
    ({ Status, ManagerStatus }) =>
      Status.State === 'ready' && ManagerStatus?.Reachability === 'reachable'
  ).length
}
