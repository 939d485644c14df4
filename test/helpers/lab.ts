/**
 * Several machines in one: a network namespace each, on one switch, with a Docker engine each; or
 * behind routers with NATs of every kind, on LANs of their own.
 * Nothing is made in the caller's own network; everything goes with `stop`, and what a killed test
 * left goes when the next lab is made.
 */
import { execFile, spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { installDocker } from './docker.ts'
import { startDockerd, type Dockerd } from './dockerd.ts'
import { copyData, engineTemplate } from './engine-template.ts'
import { endProcessesOf, isThere } from './leftovers.ts'

const run = promisify(execFile)
const NAMESPACES = '/run/netns'

export interface Host {
  /** `h1`, `h2`, … */
  name: string
  /** Its address on the switch, or on its LAN. */
  ip: string
  /** What those on the switch see it at: its router's, where it has one. */
  publicIp: string
  /** Path of its network namespace. */
  namespace: string
  /** A directory of its own for the test's data; gone with the lab. */
  dir: string
  /** Of its engine: answers after `engines()`. */
  dockerSocket: string
  /** Runs a program there to its end. Rejects only if it cannot be run. */
  exec(command: string, args?: string[], options?: ExecOptions): Promise<Output>
  /** Starts a program there; it is ended with the lab. Its pid is the program's own. */
  spawn(command: string, args?: string[], options?: SpawnOptions): ChildProcess
}

export interface ExecOptions {
  cwd?: string
  /** The whole environment; default is the caller's. */
  env?: NodeJS.ProcessEnv
  /** For stdin. */
  input?: string
  /** Then it is killed; default 60 s. */
  timeoutMs?: number
}

export interface Output {
  /** null if a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}

export interface Lab {
  hosts: Host[]
  /** Starts an engine on the first `count` hosts (all), with the tests' images, ids the same. */
  engines(count?: number): Promise<string[]>
  /** Ends the engine of host `i` with all it runs, as if the power went. */
  crashEngine(i: number): Promise<void>
  /** Starts it again, with what is on its disk. */
  restartEngine(i: number): Promise<void>
  /** Pulls the plug: what host `i` sends or should get is lost; it sees no sign of that. */
  cut(i: number): Promise<void>
  heal(i: number): Promise<void>
  /** Splits the switch: these reach each other and nobody else, until each is healed. */
  part(hosts: number[]): Promise<void>
  /** A firewall on host `i` that lets nothing in but answers. */
  deny(i: number): Promise<void>
  /** Makes the leaky router of LAN `i` an easy one. */
  mend(i: number): Promise<void>
  /** So much of what host `i` gets is lost, 0 to 1. */
  lose(i: number, share: number): Promise<void>
  /** What host `i` sends and gets goes at so many Mbit a second each way; null: as it can. */
  shape(i: number, mbitPerS: number | null): Promise<void>
  /** May be called twice. */
  stop(): Promise<void>
}

/**
 * What a router makes of its LAN's packets. `easy` keeps the port, `symmetric` draws one for each
 * peer, `leaky` is easy and answers strangers itself, which spoils punching. `none`: its uplink is
 * down, a LAN with no internet.
 */
export type RouterKind = 'easy' | 'symmetric' | 'leaky' | 'none'

export interface LabPlan {
  /** LANs behind routers, and how many hosts each has: the first hosts of the lab. */
  lans?: { router: RouterKind; hosts: number }[]
  /** Hosts on the switch itself, which is the internet where there are LANs: the last of the lab. */
  open: number
}

let labs = 0

/** Hosts on one switch, or as planned, that reach each other. Needs root. Give `t`, or call `stop`. */
export async function createLab(
  plan: number | LabPlan,
  t?: { teardown(fn: () => unknown, options?: { force?: boolean }): void }
): Promise<Lab> {
  if (process.getuid?.() !== 0) throw new Error('a lab of network namespaces needs root')
  await installDocker()
  await cleanLeftovers()

  const number = ++labs
  const prefix = `${PREFIX}${process.pid}-${number}-`
  const dir = join(tmpdir(), `${DIR_PREFIX}${process.pid}-${number}`)
  const { lans = [], open } = typeof plan === 'number' ? { open: plan } : plan
  const n = lans.reduce((sum, { hosts }) => sum + hosts, open)
  const names = Array.from({ length: n }, (_, i) => `h${i + 1}`)
  const children = new Set<ChildProcess>()
  /** By number of the host. */
  const dockerds = new Map<number, Dockerd>()
  const shaped = new Set<number>()
  let parts = 0

  const switchNamespace = `${prefix}sw`
  const places = placesOf(number, switchNamespace, prefix, lans, n)
  let stopped: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all([...dockerds.values()].map((each) => each.stop()))
    await removeLab(prefix, dir)
  }
  const stopOnce = async (): Promise<void> => (stopped ??= stop())
  t?.teardown(stopOnce, { force: true })

  try {
    await mkdir(dir, { recursive: true })
    await Promise.all([switchNamespace, ...names.map((name) => prefix + name)].map(addNamespace))
    await ip(switchNamespace, ['link add br0 type bridge forward_delay 0', 'link set br0 up'])
    await Promise.all(lans.map(({ router }, i) => addRouter(prefix, number, i, router)))
    await Promise.all(names.map((name, i) => plugIn(prefix, name, places[i] as Place)))
  } catch (error) {
    await stopOnce()
    throw error
  }

  const hosts = names.map((name, i): Host => {
    const namespace = join(NAMESPACES, prefix + name)
    const enter = [`--net=${namespace}`, '--']
    const start: Host['spawn'] = (command, args = [], options = {}) => {
      const child = spawn('nsenter', [...enter, command, ...args], options)
      children.add(child)
      child.once('exit', () => children.delete(child))
      return child
    }
    return {
      name,
      ip: (places[i] as Place).ip,
      publicIp: (places[i] as Place).publicIp,
      namespace,
      dir: join(dir, name),
      dockerSocket: join(dir, `${name}-docker`, 'docker.sock'),
      exec: (command, args, options) => toEnd(start, command, args, options),
      spawn: start
    }
  })
  await Promise.all(hosts.map((host) => mkdir(host.dir)))

  const engineHome = (i: number): string => join(dir, `${names[i]}-docker`)
  const startEngine = async (i: number): Promise<void> => {
    const { namespace } = hosts[i] as Host
    const args = ['--bip', `172.${20 + i}.0.1/16`]
    dockerds.set(i, await startDockerd(engineHome(i), { namespace, args }))
  }

  return {
    hosts,
    async engines(count = n) {
      const template = await engineTemplate()
      const started = await Promise.allSettled(
        hosts.slice(0, count).map(async (_, i) => {
          await copyData(template, join(engineHome(i), 'data'))
          await startEngine(i)
        })
      )
      const failed = started.find((each) => each.status === 'rejected')
      if (failed) throw failed.reason
      return hosts.slice(0, count).map((host) => host.dockerSocket)
    },
    async crashEngine(i) {
      await dockerds.get(i)?.crash()
    },
    restartEngine: startEngine,
    async cut(i) {
      await ip((places[i] as Place).at, [`link set p${i + 1} nomaster`])
    },
    async heal(i) {
      await ip((places[i] as Place).at, [`link set p${i + 1} master br0`])
    },
    async part(some) {
      const more = (parts += 1)
      await ip(switchNamespace, [
        `link add part${more} type bridge forward_delay 0`,
        `link set part${more} up`,
        ...some.map((i) => `link set p${i + 1} master part${more}`)
      ])
    },
    async deny(i) {
      await iptables(prefix + (names[i] as string), [
        '-P INPUT DROP',
        '-A INPUT -i lo -j ACCEPT',
        '-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT'
      ])
    },
    async mend(i) {
      await iptables(`${prefix}r${i + 1}`, [`-A INPUT ${FOREIGN}`])
    },
    async lose(i, share) {
      const at = prefix + (names[i] as string)
      await iptables(at, ['-F INPUT'])
      const rule = `-A INPUT -i eth0 -m statistic --mode random --probability ${share} -j DROP`
      if (share > 0) await iptables(at, [rule])
    },
    async shape(i, mbitPerS) {
      const { at } = places[i] as Place
      const ends = [
        { namespace: prefix + (names[i] as string), device: 'eth0' },
        { namespace: at, device: `p${i + 1}` }
      ]
      for (const { namespace, device } of ends) {
        const had = shaped.has(i) ? 'replace' : 'add'
        const rule =
          mbitPerS === null
            ? `qdisc del dev ${device} root`
            : `qdisc ${had} dev ${device} root tbf rate ${mbitPerS}mbit ${BUCKET}`
        if (mbitPerS !== null || shaped.has(i)) await inside(namespace, 'tc', words(rule))
      }
      if (mbitPerS === null) shaped.delete(i)
      else shaped.add(i)
    },
    stop: stopOnce
  }
}

/** Two segments as they leave a host, and what a switch holds back before it drops. */
const BUCKET = 'burst 128kb latency 10ms'

const PREFIX = 'brl'
const DIR_PREFIX = 'brume-lab-'

interface Place {
  ip: string
  publicIp: string
  /** Namespace of the bridge it is plugged into. */
  at: string
  gateway: string | null
}

/** Hosts of LANs first, each beside its router; the others on the switch. */
function placesOf(
  lab: number,
  switchNamespace: string,
  prefix: string,
  lans: { hosts: number }[],
  n: number
): Place[] {
  const places = lans.flatMap(({ hosts }, i) =>
    Array.from({ length: hosts }, (_, k): Place => {
      const gateway = `192.168.${50 + i}.1`
      const publicIp = openAddress(lab, true, 200 + i)
      return { ip: `192.168.${50 + i}.${11 + k}`, publicIp, at: `${prefix}r${i + 1}`, gateway }
    })
  )
  while (places.length < n) {
    const ip = openAddress(lab, lans.length > 0, places.length)
    places.push({ ip, publicIp: ip, at: switchNamespace, gateway: null })
  }
  return places
}

/** Where there are routers the switch is the internet, and must not look like a LAN. */
function openAddress(lab: number, isInternet: boolean, i: number): string {
  return `${isInternet ? '203.0.113' : `10.77.${lab % 250}`}.${11 + i}`
}

async function addNamespace(name: string): Promise<void> {
  await run('ip', ['netns', 'add', name])
}

/** A router `r1`… between the switch and a bridge of its own, with the NAT of its kind. */
async function addRouter(prefix: string, lab: number, i: number, kind: RouterKind): Promise<void> {
  const name = `${prefix}r${i + 1}`
  const port = `r${i + 1}`
  await addNamespace(name)
  await run(
    'ip',
    words(`link add pub0 netns ${name} type veth peer name ${port} netns ${prefix}sw`)
  )
  const up = kind === 'none' ? 'down' : 'up'
  await ip(`${prefix}sw`, [`link set ${port} master br0`, `link set ${port} ${up}`])
  await ip(name, [
    'link set lo up',
    `addr add ${openAddress(lab, true, 200 + i)}/24 dev pub0`,
    'link set pub0 up',
    'link add br0 type bridge forward_delay 0',
    `addr add 192.168.${50 + i}.1/24 dev br0`,
    'link set br0 up'
  ])
  await inside(name, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1'])
  await iptables(name, [
    `-t nat -A POSTROUTING -o pub0 -j MASQUERADE${kind === 'symmetric' ? ' --random-fully' : ''}`,
    `-A FORWARD ${FOREIGN}`,
    // Without it the kernel takes a first punch for its own, and gives the answer another port.
    ...(kind === 'leaky' ? [] : [`-A INPUT ${FOREIGN}`])
  ])
}

const FOREIGN = '-i pub0 -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP'

async function plugIn(prefix: string, name: string, place: Place): Promise<void> {
  const port = `p${name.slice(1)}`
  const far = `netns ${place.at}`
  await run('ip', words(`link add eth0 netns ${prefix}${name} type veth peer name ${port} ${far}`))
  const route = place.gateway === null ? [] : [`route add default via ${place.gateway}`]
  await Promise.all([
    ip(prefix + name, [
      'link set lo up',
      `addr add ${place.ip}/24 dev eth0`,
      'link set eth0 up',
      ...route
    ]),
    ip(place.at, [`link set ${port} master br0`, `link set ${port} up`])
  ])
}

async function iptables(namespace: string, rules: string[]): Promise<void> {
  for (const rule of rules) await inside(namespace, 'iptables', ['-w', ...words(rule)])
}

async function inside(namespace: string, command: string, args: string[]): Promise<void> {
  await run('nsenter', [`--net=${join(NAMESPACES, namespace)}`, '--', command, ...args])
}

/** Commands for `ip` inside a namespace, in one process. */
async function ip(namespace: string, commands: string[]): Promise<void> {
  const sent = run('ip', ['-n', namespace, '-batch', '-'])
  sent.child.stdin?.end(`${commands.join('\n')}\n`)
  await sent
}

function words(line: string): string[] {
  return line.split(' ')
}

async function toEnd(
  start: Host['spawn'],
  command: string,
  args: string[] = [],
  { cwd, env, input, timeoutMs = 60_000 }: ExecOptions = {}
): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = start(command, args, { cwd, env, stdio: 'pipe' })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    let stdout = ''
    let stderr = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
    // It may end without reading it all.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input ?? '')
  })
}

/** Of labs whose process is gone. */
async function cleanLeftovers(): Promise<void> {
  const gone = new Map<string, string>()
  for (const entry of [...(await namespaces()), ...(await readdir(tmpdir()))]) {
    const [, pid, number] = LEFTOVER.exec(entry) ?? []
    if (pid === undefined || Number(pid) === process.pid || (await isThere(Number(pid)))) continue
    gone.set(`${PREFIX}${pid}-${number}-`, join(tmpdir(), `${DIR_PREFIX}${pid}-${number}`))
  }
  for (const [prefix, dir] of gone) await removeLab(prefix, dir)
}

const LEFTOVER = new RegExp(`^(?:${PREFIX}|${DIR_PREFIX})(\\d+)-(\\d+)(?:-|$)`)

async function removeLab(prefix: string, dir: string): Promise<void> {
  const mine = (await namespaces()).filter((name) => name.startsWith(prefix))
  const inside: number[] = []
  for (const name of mine) {
    const { stdout } = await run('ip', ['netns', 'pids', name])
    inside.push(...stdout.split('\n').filter(Boolean).map(Number))
  }
  await endProcessesOf(`${dir}/`, inside)
  await unmountUnder(dir)
  // The wires go with the namespaces at their ends.
  for (const name of mine) await run('ip', ['netns', 'del', name])
  await rm(dir, { recursive: true, force: true })
}

/** Disks of a test that was killed. */
async function unmountUnder(dir: string): Promise<void> {
  const lines = (await readFile('/proc/mounts', 'utf8')).split('\n')
  const mounts = lines.map((line) => line.split(' ')[1] ?? '')
  for (const path of mounts.filter((path) => path.startsWith(`${dir}/`)).reverse()) {
    await run('umount', [path])
  }
}

async function namespaces(): Promise<string[]> {
  try {
    return await readdir(NAMESPACES)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
