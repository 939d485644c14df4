/**
 * A mesh of real daemons on the hosts of a lab, driven as people do: by the CLI.
 *
 *   const lab = await createLab(4, t)
 *   const fleet = await createFleet(t, lab)                       // n1, n2, n3; DHT on the last host
 *   const [one] = fleet.nodes
 *   await one.brume('deploy', '-f', 'app.yaml')                   // { code, stdout, stderr }
 *   const replicas = await one.json<ReplicaJson[]>('ps')          // throws unless exit code 0
 *   await one.until<ReplicaJson[]>(['ps'], (rows) => rows.every((row) => row.state === 'running'))
 *   await one.cut(); await one.heal(); await one.kill(); await one.start()
 */
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { InitResult, NodeJson, StatusJson } from '../../apps/api.ts'
import { builtCli, builtFile, cliEnv } from './cli.ts'
import { dockerApi } from './docker-api.ts'
import type { ExecOptions, Host, Lab, Output } from './lab.ts'
import { endProcessesOf, isThere } from './leftovers.ts'
import { waitUntil } from './wait.ts'

export interface FleetOptions {
  /** Default true: Docker on every host that has a node. Else the process engine. */
  engines?: boolean
  /** For each node the lab host it lives on; default: one on each but the last, which is the DHT's. */
  on?: number[]
  /** More arguments for `init` and `join` of node i. */
  args?: (i: number) => string[]
  /** Default true: waits until they see each other. */
  together?: boolean
  /** Default true. Else no DHT runs, and nodes ask the public one, which no lab leads to. */
  dht?: boolean
  /** So many join at a time; default all. */
  atOnce?: number
  /** More environment for the daemons. */
  env?: NodeJS.ProcessEnv
  /** Path of the CLI of node i, where it is not the one built here. */
  cli?: (i: number) => string | undefined
}

export interface Fleet {
  nodes: FleetNode[]
  lab: Lab
  /** HOST:PORT of its DHT, on the last host of the lab; empty where there is none. */
  bootstrap: string
  key: string
  /** A data directory more on host `at`, in no mesh yet; ends with the fleet. */
  guest(name: string, at: number): FleetNode
  /** Lets one more in, from host `at`; it is in once this resolves, others may not know yet. */
  add(at: number, ...args: string[]): Promise<FleetNode>
  /** A node more on host `at`, whose daemon runs and is in no mesh. */
  prepare(at: number): Promise<FleetNode>
  /** Ends every daemon, hard; engines and files go with the lab. May be called twice. */
  stop(): Promise<void>
}

export interface FleetNode {
  /** `n1`, `n2`, … */
  name: string
  /** Its key, as containers are labelled. */
  id: string
  host: Host
  dataDir: string
  /** Of the engine it uses; null with the process engine. */
  dockerSocket: string | null
  /** Path of the CLI and what it needs, for who runs it in another way. */
  command: { argv: string[]; env: NodeJS.ProcessEnv }
  /** Runs a verb on this node's host for its data directory. */
  brume(...args: string[]): Promise<Output>
  brumeWith(options: ExecOptions, ...args: string[]): Promise<Output>
  /** What a verb prints with `--json`. @throws its stderr, unless it ends with 0. */
  json<T>(...args: string[]): Promise<T>
  /** Asks again and again until it `holds`. @throws after `ms` with the last answer. */
  until<T>(args: string[], holds: (answer: T) => boolean, ms?: number): Promise<T>
  /** Of its daemon. @throws where none runs */
  pid(): Promise<number>
  /** SIGKILLs the daemon; resolves once it is gone. */
  kill(): Promise<void>
  /** `brume up`. */
  start(): Promise<void>
  /** Stops the daemon, and starts that of the CLI built here. */
  upgrade(): Promise<void>
  /** Of its host. */
  cut(): Promise<void>
  heal(): Promise<void>
  /** What of this node is in its engine, by container name; other nodes' containers are left out. */
  containers(): Promise<Container[]>
  /** An HTTP GET from its host to a port of it. @throws if nobody answers */
  get(port: number, path?: string): Promise<string>
}

export interface Container {
  id: string
  name: string
  running: boolean
  startedAt: string
  labels: Record<string, string>
}

/** Nodes `n1`… that all see each other alive. The lab needs one host more than nodes have. */
export async function createFleet(
  t: { teardown(fn: () => unknown, options?: { order?: number; force?: boolean }): void },
  lab: Lab,
  {
    engines = true,
    on,
    args = () => [],
    together = true,
    dht = true,
    atOnce = Infinity,
    env = {},
    cli: cliOf = () => undefined
  }: FleetOptions = {}
): Promise<Fleet> {
  const last = lab.hosts.length - 1
  const homes = on ?? lab.hosts.map((_, i) => i).slice(0, dht ? last : last + 1)
  const cli = await builtCli()
  const nodes = homes.map((at, i) =>
    createNode(`n${i + 1}`, lab, at, cliOf(i) ?? cli, engines, env)
  )

  const guests: FleetNode[] = []
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= endAll([...nodes, ...guests]))
  // Before the lab's own: a daemon would start again what the lab ends.
  t.teardown(stop, { order: -1, force: true })

  const [bootstrap] = await Promise.all([
    dht ? startDht(lab.hosts[last] as Host) : '',
    engines ? lab.engines(Math.max(...homes) + 1) : []
  ])
  const common = ['--engine', engines ? 'docker' : 'process']
  if (dht) common.push('--bootstrap', bootstrap)
  const enter = async (node: FleetNode, i: number, ...verb: string[]): Promise<InitResult> => {
    const told = ['--name', node.name, ...common, ...args(i)]
    const result = await node.json<InitResult>(...verb, ...told)
    node.id = result.id
    return result
  }

  const [first, ...others] = nodes
  if (first === undefined) throw new Error('a fleet needs a node')
  const { key } = await enter(first, 0, 'init')
  if (key === null) throw new Error('the first node shows no mesh key')
  const wave = Math.min(atOnce, Math.max(others.length, 1))
  for (let from = 0; from < others.length; from += wave) {
    const some = others.slice(from, from + wave)
    await Promise.all(some.map((node, i) => enter(node, from + i + 1, 'join', key)))
  }
  if (together) await untilTogether(nodes)
  const guest = (name: string, at: number): FleetNode => {
    const node = createNode(name, lab, at, cli, engines, env)
    guests.push(node)
    return node
  }
  const add: Fleet['add'] = async (at, ...more) => {
    const node = createNode(`n${nodes.length + 1}`, lab, at, cli, engines, env)
    nodes.push(node)
    await enter(node, nodes.length - 1, 'join', key, ...more)
    return node
  }
  const prepare: Fleet['prepare'] = async (at) => {
    const node = createNode(`n${nodes.length + 1}`, lab, at, cli, engines, env)
    nodes.push(node)
    await node.json('up')
    return node
  }
  return { nodes, lab, bootstrap, key, guest, add, prepare, stop }
}

/** Until each of these sees each alive, with an engine that can be used. */
export async function untilTogether(nodes: FleetNode[], ms = 60_000): Promise<void> {
  const names = nodes.map(({ name }) => name)
  await Promise.all(
    nodes.map(async (node) => {
      await node.until<NodeJson[]>(
        ['nodes'],
        (seen) =>
          names.every((name) =>
            seen.some((n) => n.name === name && n.state === 'alive' && n.engine !== null)
          ),
        ms
      )
    })
  )
}

function createNode(
  name: string,
  lab: Lab,
  at: number,
  cli: string,
  engines: boolean,
  more: NodeJS.ProcessEnv
): FleetNode {
  const host = lab.hosts[at] as Host
  const dataDir = join(host.dir, name)
  const dockerSocket = engines ? host.dockerSocket : null
  const docker = engines ? { DOCKER_HOST: `unix://${host.dockerSocket}` } : {}
  const env = cliEnv({ ...docker, ...more })
  const argv = [process.execPath, cli, '--data', dataDir]
  const [program = process.execPath, ...given] = argv

  const node: FleetNode = {
    name,
    id: '',
    host,
    dataDir,
    dockerSocket,
    command: { argv, env },
    brume: (...args) => node.brumeWith({}, ...args),
    brumeWith: (options, ...args) =>
      host.exec(program, [...given, ...args], { timeoutMs: 120_000, env, ...options }),
    async json<T>(...args: string[]) {
      const { code, stdout, stderr } = await node.brume(...args, '--json')
      if (code === 0) return JSON.parse(stdout) as T
      throw new Error(`${name}: brume ${args[0]} ended with ${code}: ${stderr.trim()}`)
    },
    async until<T>(args: string[], holds: (answer: T) => boolean, ms = 30_000) {
      const end = performance.now() + ms
      for (;;) {
        const answer = await node.json<T>(...args)
        if (holds(answer)) return answer
        if (performance.now() > end) {
          const what = `brume ${args.join(' ')}: not so within ${ms} ms: ${holds.toString()}`
          throw new Error(`${name}: ${what}: ${JSON.stringify(answer)}`)
        }
        await sleep(50)
      }
    },
    async pid() {
      return (await node.json<StatusJson>('status')).pid
    },
    async kill() {
      await killDaemon(await node.pid())
    },
    async start() {
      await node.json('up')
    },
    async upgrade() {
      await node.json('down')
      given[0] = await builtCli()
      argv[1] = given[0]
      await node.start()
    },
    cut: () => lab.cut(at),
    heal: () => lab.heal(at),
    async containers() {
      if (dockerSocket === null) throw new Error(`${name} has no containers: no Docker engine`)
      return (await containersIn(dockerSocket)).filter(
        ({ labels }) => labels['brume.node'] === node.id
      )
    },
    async get(port, path = '/') {
      const url = `http://127.0.0.1:${port}${path}`
      const { code, stdout, stderr } = await host.exec('curl', ['-sS', '-m', '10', '-f', url])
      if (code === 0) return stdout
      throw new Error(`${name}: ${url}: ${stderr.trim()}`)
    }
  }
  return node
}

/** All containers of an engine, running or not. */
export async function containersIn(socketPath: string): Promise<Container[]> {
  const { body } = await dockerApi(socketPath, 'GET', '/containers/json?all=true')
  const found = await Promise.all(
    (body as { Id: string }[]).map(({ Id }) =>
      dockerApi(socketPath, 'GET', `/containers/${Id}/json`)
    )
  )
  return found
    .filter(({ status }) => status === 200)
    .map(({ body: it }) => {
      const { Id, Name, State, Config } = it as {
        Id: string
        Name: string
        State: { Running: boolean; StartedAt: string }
        Config: { Labels: Record<string, string> | null }
      }
      return {
        id: Id,
        name: Name.slice(1),
        running: State.Running,
        startedAt: State.StartedAt,
        labels: Config.Labels ?? {}
      }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** A DHT of its own: hosts of a lab reach nothing else. */
async function startDht(host: Host): Promise<string> {
  await builtCli()
  const script =
    `const { startBootstrapNode } = await import(${JSON.stringify(builtFile('core/swarm.js'))});` +
    'console.log((await startBootstrapNode(process.argv[1], undefined, 6)).address)'
  const args = ['--input-type=module', '-e', script, host.ip]
  const child = host.spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit').then(() => {
    throw new Error('the DHT of the fleet ended')
  })
  ended.catch(() => undefined)
  if (child.stdout === null) throw new Error('the DHT has no stdout')
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer]
  return line.toString().trim()
}

/** And what they started: children of the process engine. */
async function endAll(nodes: FleetNode[]): Promise<void> {
  for (const { dataDir } of nodes) await endProcessesOf(dataDir)
}

async function killDaemon(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
  await waitUntil(async () => !(await isThere(pid)))
}
