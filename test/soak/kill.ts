/**
 * Kills daemons at any moment while applications are deployed and scaled, and looks at what is left:
 * every daemon starts again, no acknowledged op is lost, all views are equal, and what ran healthily
 * and is still wanted has not been restarted.
 *
 * The seed brings back who is killed, when, and what is asked of whom; not how the machine schedules.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ApplicationJson,
  DeployRequest,
  DescribeJson,
  NodeJson,
  ReplicaJson
} from '../../apps/api.ts'
import { canonical } from '../../core/crypto.ts'
import { BrumeError, sentenceOf } from '../../core/errors.ts'
import type { MicroserviceSpec } from '../../core/state/microservices.ts'
import { dockerContainers, processes, type Containers, type Running } from './containers.ts'
import { startDaemons, type TestDaemon } from './daemons.ts'
import { random, type Random } from './random.ts'
import { specWith } from '../helpers/spec.ts'

export interface KillOptions {
  times: number
  seed: number
  engine: 'process' | 'docker'
  /** Of the one engine all nodes share. */
  dockerSocket: string | null
  /** There already, has `sleep`. */
  image: string | null
  say: (line: string) => void
}

export interface KillResult {
  soak: 'kill'
  seed: number
  engine: string
  kills: number
  /** Kills that came before the daemon answered again. */
  killsWhileStarting: number
  acknowledged: number
  /** Ops cut off by a kill: they may be in the order or not. */
  unanswered: number
  startMs: { p50: number; max: number }
  /** Containers that ran before a kill of their daemon and are still wanted there. */
  adopted: number
  moved: number
  /** What does not hold; empty is success. */
  broken: string[]
}

/** What the view may say of an application: more than one while ops were cut off. */
interface Expected {
  home: TestDaemon
  /** null: it is not there. */
  candidates: (DeployRequest['microservices'] | null)[]
}

const SLEEP = ['sleep', '1000000']
const SETTLE_MS = 90_000

export async function kill(options: KillOptions): Promise<KillResult> {
  const { times, seed, say } = options
  say(`seed ${seed}: ${times} kills, ${options.engine} engine`)
  const containers =
    options.dockerSocket === null ? processes : dockerContainers(options.dockerSocket)
  const env: Record<string, string> =
    options.dockerSocket === null ? {} : { DOCKER_HOST: `unix://${options.dockerSocket}` }
  const daemons = await startDaemons(3, { engine: options.engine, env })
  const { nodes } = daemons
  const broken: string[] = []
  try {
    const steady = await deploySteady(nodes, options)
    const before = await runningOf(nodes, containers)
    const work = startWork(nodes, options, random(seed))
    const killing = await killAll(nodes, containers, options, random(seed + 1), broken)
    await work.stop()
    broken.push(...work.broken)
    say('all killed, settling')
    const expected = new Map([...work.expected, ...steady])
    const dumps = await settled(nodes, expected, work.marks, broken)
    for (const said of new Set(dumps.flatMap((dump) => compare(dump, expected, work.marks)))) {
      broken.push(said)
    }
    const after = await runningOf(nodes, containers)
    const pinned = before.filter(({ slot }) => slot.startsWith('steady/'))
    if (pinned.length !== nodes.length * 2) broken.push(`only ${pinned.length} steady containers`)
    for (const one of pinned) {
      const now = after.find(({ slot }) => slot === one.slot)
      if (now?.start !== one.start)
        broken.push(`${one.slot} was restarted: ${one.start} is ${now?.start}`)
    }
    const { adopted, moved, startMs, killsWhileStarting } = killing
    return {
      soak: 'kill',
      seed,
      engine: options.engine,
      kills: times,
      killsWhileStarting,
      acknowledged: work.acknowledged(),
      unanswered: work.unanswered(),
      startMs,
      adopted,
      moved,
      broken
    }
  } finally {
    if (broken.length > 0)
      for (const node of nodes) say(`log of ${node.name}: ${await node.tail()}`)
    for (const node of nodes) await node.kill()
    await containers.endAll(nodes)
    await daemons.close()
  }
}

/** One microservice pinned to each node: what no kill may restart or move. */
async function deploySteady(
  nodes: TestDaemon[],
  options: KillOptions
): Promise<Map<string, Expected>> {
  const home = nodes[0] as TestDaemon
  const microservices = nodes.map(({ name }) => ({
    name: `on-${name}`,
    spec: specOf(options, { replicas: 2, node: name, generation: 0 })
  }))
  await home.client.post('/applications', { application: 'steady', microservices })
  await until(SETTLE_MS, async () => {
    const rows = await home.client.get<ReplicaJson[]>('/replicas?ref=steady')
    return rows.length === nodes.length * 2 && rows.every(({ state }) => state === 'running')
  })
  return new Map([['steady', { home, candidates: [microservices] }]])
}

interface Work {
  expected: Map<string, Expected>
  /** Applications that were acknowledged and never touched again. */
  marks: Set<string>
  broken: string[]
  acknowledged(): number
  unanswered(): number
  stop(): Promise<void>
}

/**
 * One loop a node deploys, scales and removes applications through its socket. An application is
 * only ever asked for at one node: ops of one writer have an order, so the last one must show.
 */
function startWork(nodes: TestDaemon[], options: KillOptions, rnd: Random): Work {
  const expected = new Map<string, Expected>()
  const marks = new Set<string>()
  const broken: string[] = []
  let acknowledged = 0
  let unanswered = 0
  let generation = 0
  let stopped = false

  const ask = async (
    name: string,
    wanted: Expected['candidates'][0],
    act: () => Promise<unknown>
  ) => {
    const entry = expected.get(name)
    try {
      await act()
      acknowledged++
      if (entry !== undefined) entry.candidates = [wanted]
      else marks.add(name)
    } catch (error) {
      if (!(error instanceof BrumeError) || !isCutOff(error)) {
        // A daemon that answers an error here has lost what it acknowledged.
        if (entry === undefined || entry.candidates.length === 1) {
          broken.push(`${name}: ${sentenceOf(error)}`)
        }
        return
      }
      unanswered++
      entry?.candidates.push(wanted)
      await sleep(50)
    }
  }

  const step = async (home: TestDaemon, own: string[]): Promise<void> => {
    const { client } = home
    const kind = rnd.integer(10)
    generation++
    if (kind < 3) {
      const name = `mark-${generation}`
      const spec = specOf(options, { replicas: 0, node: null, generation })
      const microservices = [{ name: 'none', spec }]
      await ask(name, microservices, () =>
        client.post('/applications', { application: name, microservices })
      )
      return
    }
    const name = rnd.pick(own)
    const entry = expected.get(name) as Expected
    const [now] = entry.candidates
    const sure = entry.candidates.length === 1
    if (kind < 6 || !sure || now === null || now === undefined) {
      const names = ['web', 'db'].slice(0, 1 + rnd.integer(2))
      const microservices = names.map((each) => ({
        name: each,
        spec: specOf(options, { replicas: 1 + rnd.integer(2), node: null, generation })
      }))
      await ask(name, microservices, () =>
        client.post('/applications', { application: name, microservices })
      )
    } else if (kind < 9) {
      const chosen = rnd.pick(now)
      const replicas = rnd.integer(4)
      const next = now.map((each) =>
        each === chosen ? { ...each, spec: { ...each.spec, replicas } } : each
      )
      await ask(name, next, () =>
        client.post(`/applications/${name}/${chosen.name}/scale`, { replicas })
      )
    } else {
      await ask(name, null, () => client.delete(`/applications/${name}`))
    }
  }

  const loops = nodes.map(async (home, i) => {
    const own = [`churn-${i}-a`, `churn-${i}-b`]
    for (const name of own) expected.set(name, { home, candidates: [null] })
    while (!stopped) {
      await step(home, own)
      await sleep(rnd.integer(400))
    }
  })
  return {
    expected,
    marks,
    broken,
    acknowledged: () => acknowledged,
    unanswered: () => unanswered,
    async stop() {
      stopped = true
      await Promise.all(loops)
    }
  }
}

/** No daemon there, or gone before it answered. */
const isCutOff = ({ code }: BrumeError): boolean =>
  ['DAEMON_NOT_RUNNING', 'DAEMON_LOST', 'DAEMON_GARBLED'].includes(code)

async function killAll(
  nodes: TestDaemon[],
  containers: Containers,
  { times, say }: KillOptions,
  rnd: Random,
  broken: string[]
): Promise<Pick<KillResult, 'adopted' | 'moved' | 'startMs' | 'killsWhileStarting'>> {
  const starts: number[] = []
  let adopted = 0
  let moved = 0
  let killsWhileStarting = 0
  for (let n = 1; n <= times; n++) {
    await sleep(rnd.integer(2_500))
    const victim = rnd.pick(nodes)
    const whileStarting = n < times && rnd.chance(0.2)
    // Longer than a lost node is waited for: its replicas move meanwhile.
    const away = rnd.chance(0.1) ? 6_000 + rnd.integer(4_000) : rnd.integer(500)
    const before = await containers.running(victim)
    await victim.kill()
    await sleep(away)
    victim.start()
    if (whileStarting) {
      n++
      killsWhileStarting++
      await sleep(rnd.integer(1_500))
      await victim.kill()
      victim.start()
    }
    const began = performance.now()
    try {
      await victim.ready(60_000)
    } catch (error) {
      broken.push(`kill ${n}: ${victim.name} does not start again: ${sentenceOf(error)}`)
      break
    }
    starts.push(Math.round(performance.now() - began))
    const kept = await judge(victim, before, containers, broken)
    adopted += kept.adopted
    moved += kept.moved
    say(
      `kill ${n} of ${times}: ${victim.name} back after ${starts.at(-1)} ms, ${kept.adopted} adopted`
    )
  }
  starts.sort((a, b) => a - b)
  const startMs = { p50: starts[starts.length >> 1] ?? 0, max: starts.at(-1) ?? 0 }
  return { adopted, moved, startMs, killsWhileStarting }
}

/** Of what ran before the kill: the same start, unless it is placed elsewhere or is another revision. */
async function judge(
  victim: TestDaemon,
  before: Running[],
  containers: Containers,
  broken: string[]
): Promise<{ adopted: number; moved: number }> {
  let adopted = 0
  let moved = 0
  const after = await containers.running(victim)
  for (const one of before) {
    const same = after.find(({ start }) => start === one.start)
    if (same !== undefined) adopted++
    else if (await isWanted(victim, one)) broken.push(`${victim.name}: ${one.slot} was restarted`)
    else moved++
  }
  return { adopted, moved }
}

async function isWanted(victim: TestDaemon, { slot, revision }: Running): Promise<boolean> {
  const [application = '', name, nth] = slot.split('/')
  try {
    const { microservices } = await victim.client.get<DescribeJson>(`/describe?ref=${application}`)
    const found = microservices.find((each) => each.name === name)
    const row = found?.replicas.find((each) => each.slot === Number(nth))
    return found?.revision === revision && row?.node === victim.name
  } catch (error) {
    if (error instanceof BrumeError && error.code === 'UNKNOWN_REFERENCE') return false
    throw error
  }
}

interface Dump {
  node: string
  /** Canonical: equal strings are equal views. */
  text: string
  applications: Map<string, DescribeJson>
  replicas: ReplicaJson[]
}

/** All a socket says of the view, of one node. */
async function dump({ name, client }: TestDaemon): Promise<Dump> {
  const nodes = await client.get<NodeJson[]>('/nodes')
  const list = await client.get<ApplicationJson[]>('/applications')
  const applications = new Map<string, DescribeJson>()
  for (const { name: each, microservices } of list) {
    if (microservices === 0) continue
    applications.set(each, await client.get<DescribeJson>(`/describe?ref=${each}`))
  }
  const replicas = await client.get<ReplicaJson[]>('/replicas')
  const { leader, term } = await client.get<{ leader: string | null; term: number }>('/status')
  const text = canonical({
    leader,
    term,
    nodes: nodes.map(({ lastHeardMs: _age, ...node }) => node),
    applications: list,
    described: [...applications].map(([each, { microservices }]) => [
      each,
      microservices.map(({ replicas: _rows, ...microservice }) => microservice)
    ]),
    // Why a slot waits is the leader's to know.
    replicas: replicas.map(({ reason: _reason, ...row }) => row)
  })
  return { node: name, text, applications, replicas }
}

/** Dumps of all nodes once they are equal, nothing is missing, and all that is wanted runs. */
async function settled(
  nodes: TestDaemon[],
  expected: Map<string, Expected>,
  marks: Set<string>,
  broken: string[]
): Promise<Dump[]> {
  let dumps: Dump[] = []
  const problems = (): string[] => {
    const found = dumps.flatMap((each) => compare(each, expected, marks))
    const [first, ...others] = dumps
    for (const other of others) {
      if (first?.text === other.text) continue
      found.push(
        `the views of ${first?.node} and ${other.node} differ: ${difference(first?.text ?? '', other.text)}`
      )
    }
    for (const { node, replicas } of dumps) {
      const idle = replicas.filter(({ state }) => state !== 'running')
      for (const { application, microservice, slot, state, reason } of idle) {
        found.push(`${node}: ${application}/${microservice}/${slot} is ${state} (${reason})`)
      }
    }
    return found
  }
  try {
    await until(SETTLE_MS, async () => {
      dumps = await Promise.all(nodes.map(dump))
      return problems().length === 0
    })
  } catch {
    broken.push(`not settled within ${SETTLE_MS / 1000} s`, ...problems())
  }
  return dumps
}

function compare(
  { node, applications }: Dump,
  expected: Map<string, Expected>,
  marks: Set<string>
): string[] {
  const said: string[] = []
  for (const mark of marks) {
    if (!applications.has(mark)) said.push(`${node}: ${mark} was acknowledged and is lost`)
  }
  for (const [name, { candidates }] of expected) {
    const found = applications.get(name)
    const now = canonical(specs(found?.microservices ?? null))
    if (!candidates.some((each) => canonical(specs(each)) === now)) {
      said.push(`${node}: ${name} is not what was acknowledged last: ${now}`)
    }
  }
  return said
}

const specs = (list: { name: string; spec: MicroserviceSpec }[] | null) =>
  list === null
    ? null
    : list
        .map(({ name, spec }) => [name, spec.env, spec.replicas] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1))

const runningOf = async (nodes: TestDaemon[], containers: Containers): Promise<Running[]> =>
  (await Promise.all(nodes.map((node) => containers.running(node)))).flat()

function specOf(
  { image }: KillOptions,
  { replicas, node, generation }: { replicas: number; node: string | null; generation: number }
): MicroserviceSpec {
  return specWith({
    image,
    command: SLEEP,
    env: { GENERATION: String(generation) },
    replicas,
    node
  })
}

async function until(ms: number, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not so within ${ms / 1000} s`)
    await sleep(100)
  }
}

function difference(a: string, b: string): string {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return `${a.slice(Math.max(0, i - 80), i + 80)} | ${b.slice(Math.max(0, i - 80), i + 80)}`
}
