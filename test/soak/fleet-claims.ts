/** What must hold of a fleet after each step: once all is at rest, and of the way there. */
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ApplicationJson,
  ConflictsJson,
  NodeJson,
  ReplicaJson,
  RolloutJson,
  StatusJson
} from '../../apps/api.ts'
import { sentenceOf } from '../../core/errors.ts'
import { containersIn, type Container } from '../helpers/fleet.ts'
import type { EngineEvent } from '../helpers/engine-events.ts'
import type { Done } from './fleet-faults.ts'
import type { Member, World } from './fleet-world.ts'

const REST_MS = 90_000
/** Nothing more happens for so long. */
const CALM_MS = 1_500
const LOOK_MS = 150
/** What was called off as it came up was never relied on. */
const RELIED_MS = 1_000

/** A container, and what it is of. */
export interface Copy {
  socket: string
  id: string
  slot: string
  /** Of `web`, the number of its revision; else empty. */
  of: string
  /** Wall ms. */
  startedAt: number
}

/** What runs when all is at rest, and how many events came before. */
export interface Rest {
  copies: Copy[]
  seen: number
  rolledBack: boolean
}

/** Until all holds that must hold at rest. @throws what does not, after 90 s */
export async function untilAtRest(world: World, done: Done): Promise<Rest> {
  const until = performance.now() + REST_MS
  for (;;) {
    const broken = await lookAtRest(world, done)
    if (broken.length === 0) {
      const seen = world.events.seen.length
      await sleep(CALM_MS)
      if (world.events.seen.length === seen) return restOf(world, done, seen)
    }
    if (performance.now() > until) throw new Error(`not at rest after 90 s: ${broken.join('; ')}`)
    await sleep(LOOK_MS)
  }
}

/** What was rolled out is what is wanted from now on. */
async function restOf(world: World, done: Done, seen: number): Promise<Rest> {
  const [first] = world.members as [Member]
  const { rollouts } = await viewOf(first)
  world.wanted.web = webOf(world, rollouts, done)
  const rolledBack = rollouts.some(({ state }) => state === 'rolledBack')
  return { copies: await copies(world), seen, rolledBack }
}

async function lookAtRest(world: World, done: Done): Promise<string[]> {
  try {
    const views = await Promise.all(world.members.map(viewOf))
    return [
      ...unequal(world, views),
      ...(await notAsked(world, views[0] as View, done)),
      ...unfinished(views[0] as View, done)
    ]
  } catch (error) {
    return [sentenceOf(error)]
  }
}

interface View {
  nodes: NodeJson[]
  applications: Omit<ApplicationJson, 'updatedAt'>[]
  replicas: Omit<ReplicaJson, 'since'>[]
  rollouts: RolloutJson[]
  conflicts: ConflictsJson
  leader: string
}

async function viewOf({ client }: Member): Promise<View> {
  const [nodes, applications, replicas, rollouts, conflicts, status] = await Promise.all([
    client.get<NodeJson[]>('/nodes'),
    client.get<ApplicationJson[]>('/applications'),
    client.get<ReplicaJson[]>('/replicas'),
    client.get<RolloutJson[]>('/rollouts'),
    client.get<ConflictsJson>('/conflicts'),
    client.get<StatusJson>('/status')
  ])
  return {
    nodes: nodes.map((node) => ({ ...node, lastHeardMs: null })),
    applications,
    replicas: replicas.map(({ since: _, ...replica }) => replica),
    rollouts: rollouts.map((rollout) => ({ ...rollout, log: [] })),
    conflicts,
    leader: status.leader === null ? 'nobody leads' : `${status.leader} ${status.term}`
  }
}

function unequal({ members }: World, views: View[]): string[] {
  const [first] = views as [View]
  const keys = Object.keys(first) as (keyof View)[]
  const broken = keys.flatMap((key) => {
    const says = views.map((view) => JSON.stringify(view[key]))
    const other = says.findIndex((each) => each !== says[0])
    if (other === -1) return []
    const names = [members[0], members[other]].map((each) => each?.node.name)
    return [`${key} of ${names.join(' and ')} differ: ${says[0]} and ${says[other]}`]
  })
  if (first.leader === 'nobody leads') broken.push(first.leader)
  for (const { name, state } of first.nodes) {
    if (state !== 'alive') broken.push(`${name} is ${state}`)
  }
  if (first.conflicts.conflicts.length > 0) broken.push('there are conflicts')
  return broken
}

/** One copy for each slot that is asked for, where the view says, and no other container. */
async function notAsked(
  world: World,
  { replicas, nodes, rollouts }: View,
  done: Done
): Promise<string[]> {
  const broken: string[] = []
  for (const r of replicas) {
    const isUp = r.state === 'running' && (r.microservice !== 'web' || r.healthy === true)
    if (!isUp) broken.push(`${slotOf(r)} on ${r.node} is ${r.state}: ${r.reason}`)
  }
  const asked = [
    ...slots('web', world.wanted.replicas),
    ...['always', 'quick', 'never'].flatMap((name) => slots(name, 2)),
    ...['pinned', 'alone'].flatMap((name) => slots(name, 1))
  ]
  const wanted = replicas.filter(({ microservice }) => microservice !== 'each')
  differ('asked for', asked, 'in the view', wanted.map(slotOf), broken)
  const each = replicas.filter(({ microservice }) => microservice === 'each')
  const everywhere = nodes.map(({ name }) => name)
  differ(
    'nodes',
    everywhere,
    'with `each`',
    each.map(({ node }) => String(node)),
    broken
  )

  const there = await copies(world)
  const placed = replicas.map((r) => `${slotOf(r)} on ${r.node}`)
  const run = there.map(({ socket, slot }) => `${slot} on ${nameOf(world, socket)}`)
  differ('placed', placed, 'in the engines', run, broken)
  const web = webOf(world, rollouts, done)
  for (const { slot, of } of there) {
    if (slot.startsWith('web/') && of !== String(web))
      broken.push(`${slot} is of ${of}, not ${web}`)
  }
  return broken
}

const slots = (name: string, n: number): string[] =>
  Array.from({ length: n }, (_, slot) => `${name}/${slot}`)

const slotOf = (r: Pick<ReplicaJson, 'microservice' | 'slot'>): string =>
  `${r.microservice}/${r.slot}`

function differ(a: string, these: string[], b: string, those: string[], broken: string[]): void {
  const [left, right] = [these, those].map((all) => all.toSorted().join(' '))
  if (left !== right) broken.push(`${a}: ${left}; ${b}: ${right}`)
}

/** The number of the revision of `web` that should run. */
function webOf({ wanted }: World, rollouts: RolloutJson[], { deployed }: Done): number {
  const isDone = rollouts.some((r) => r.microservice === 'web' && r.state === 'done')
  return deployed !== null && isDone ? deployed.n : wanted.web
}

function unfinished({ rollouts }: View, { deployed, disturbed }: Done): string[] {
  const rollout = rollouts.find(({ microservice }) => microservice === 'web')
  if (rollout === undefined) return deployed === null ? [] : ['there is no rollout of web']
  const { state, reason } = rollout
  if (state !== 'done' && state !== 'rolledBack') return [`the rollout is ${state}`]
  if (state === 'rolledBack' && (reason === null || reason === '')) {
    return ['it was rolled back and does not say why']
  }
  if (deployed === null) return []
  if (!deployed.runs && state === 'done') return ['a revision that cannot run was rolled out']
  if (deployed.runs && state === 'rolledBack' && !disturbed) {
    return [`a revision that runs was rolled back: ${reason}`]
  }
  return []
}

/** All containers of the mesh, also those that do not run. */
export async function copies({ members }: World): Promise<Copy[]> {
  const found = await Promise.all(
    members.map(async ({ socket }) =>
      (await containersIn(socket)).map((container) => copyOf(socket, container))
    )
  )
  return found.flat()
}

function copyOf(socket: string, { id, labels, startedAt }: Container): Copy {
  return { socket, id, ...placeOf(labels), startedAt: Date.parse(startedAt) }
}

const placeOf = (labels: Record<string, string>): { slot: string; of: string } => ({
  slot: `${labels['brume.microservice']}/${labels['brume.slot']}`,
  of: labels['of'] ?? ''
})

const nameOf = ({ members }: World, socket: string): string =>
  members.find((member) => member.socket === socket)?.node.name ?? socket

/**
 * What was done on the way that should not have been: a copy started again where it ran, or the only
 * copy of a slot told to stop. `before` is what ran when the step began.
 */
export function disturbances(
  world: World,
  before: Copy[],
  events: readonly EngineEvent[],
  done: Done,
  after: Rest
): string[] {
  const broken: string[] = []
  const hadPower = (socket: string): boolean => done.powerCuts.every((cut) => cut.socket !== socket)
  /** By id. */
  const runs = new Map(before.map((copy) => [copy.id, copy]))
  // A replacement that a flapping link calls off and asks for again is no restart.
  const belong = new Set(before.map(({ socket, slot, of }) => `${socket} ${slot} ${of}`))
  const cuts = [...done.powerCuts]
  for (const event of [...events].sort((a, b) => a.at - b.at)) {
    for (const cut of cuts.filter(({ at }) => at <= event.at)) {
      for (const [id, { socket }] of runs) if (socket === cut.socket) runs.delete(id)
      cuts.splice(cuts.indexOf(cut), 1)
    }
    const { socket, id, action } = event
    const copy = { socket, id, ...placeOf(event.attributes), startedAt: event.at }
    const place = `${socket} ${copy.slot} ${copy.of}`
    const where = `${copy.slot} on ${nameOf(world, socket)}`
    if (action === 'die') runs.delete(id)
    if (action === 'start') {
      const isExcused = done.drained.has(socket) || !hadPower(socket)
      if (belong.has(place) && !isExcused && isToStay(copy, done, after)) {
        broken.push(`${where} was started again, ${sinceFirst(events, event)}`)
      }
      runs.set(id, copy)
    }
    const ranMs = event.at - (runs.get(id)?.startedAt ?? event.at)
    if (action === 'kill' && ranMs >= RELIED_MS && isToStay(copy, done, after)) {
      const others = [...runs.values()].filter((each) => each.slot === copy.slot && each.id !== id)
      if (others.length === 0) {
        broken.push(`${where} was told to stop, the only copy, ${sinceFirst(events, event)}`)
      }
      // Its end is on its way.
      runs.delete(id)
    }
  }
  return broken
}

/** Whether nobody asked for its end, and no rule of its own has it stopped. */
function isToStay(
  { socket, slot, of }: Copy,
  { drained, deployed }: Done,
  { rolledBack }: Rest
): boolean {
  const [microservice, number] = slot.split('/')
  if (microservice === 'alone') return false
  // What cannot be on another node first.
  const deadlineMs = drained.get(socket)
  if (deadlineMs !== undefined && (deadlineMs !== null || microservice === 'each')) return false
  if (microservice !== 'web') return true
  if (Number(number) >= 2) return false
  // What does not run is started again, and what comes back is made anew.
  if (deployed !== null && !deployed.runs && of === String(deployed.n)) return false
  return !(deployed?.runs === true && rolledBack)
}

function sinceFirst(events: readonly EngineEvent[], { at }: EngineEvent): string {
  const first = Math.min(...events.map((event) => event.at))
  return `${Math.round(at - first)} ms after the first event`
}
