/** What happens to a fleet in one step: faults that end, and what people ask for meanwhile. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AvailabilityJson, NodeChange, ReplicaJson } from '../../apps/api.ts'
import { BrumeError } from '../../core/errors.ts'
import { waitUntil } from '../helpers/wait.ts'
import {
  applicationOf,
  badCommand,
  badHealth,
  good,
  noImage,
  type Member,
  type World
} from './fleet-world.ts'
import type { Random } from './random.ts'

/** What a step did, for what must hold after it. */
export interface Done {
  /** Engines that lost their power, and when (wall ms). */
  powerCuts: { socket: string; at: number }[]
  /** Engines whose node was drained, and by when it had to be empty, ms; null: no such time. */
  drained: Map<string, number | null>
  /** Something else than a deploy happened. */
  disturbed: boolean
  /** The revision that was deployed, and whether it can run. */
  deployed: { n: number; runs: boolean } | null
}

export interface Step {
  /** For people, the same for the same seed. */
  words: string
  /** Ends with everything healed, though not yet at rest. */
  run(world: World, done: Done): Promise<void>
}

export function drawStep(random: Random): Step {
  const fault = random.chance(0.75) ? drawFault(random) : null
  const act = fault === null || random.chance(0.5) ? drawAct(random) : null
  const delayMs = random.integer(4_000)
  if (fault === null) {
    return {
      words: act?.words ?? '',
      run: async (world, done) => act?.run(world, done, () => true)
    }
  }
  const also = act === null ? '' : `; after ${delayMs} ms ${act.words}`
  return {
    words: `${fault.words}${also}`,
    async run(world, done) {
      done.disturbed = true
      const acting = async (): Promise<void> => {
        await sleep(delayMs)
        await act?.run(world, done, ({ at }) => fault.answers(at))
      }
      await both(fault.run(world, done), acting())
    }
  }
}

/** Both to their ends, whatever becomes of one. */
async function both(...work: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((each) => each.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

interface Fault {
  words: string
  /** Whether the daemon on host `at` can be asked something meanwhile. */
  answers(at: number): boolean
  run(world: World, done: Done): Promise<void>
}

interface Act {
  words: string
  run(world: World, done: Done, answers: (member: Member) => boolean): Promise<void>
}

const member = ({ members }: World, at: number): Member => members[at] as Member

function drawFault(random: Random): Fault {
  const at = random.integer(5)
  const name = `n${at + 1}`
  const ms = 1_000 + random.integer(14_000)
  const other = (at + 1 + random.integer(4)) % 5
  const faults: (() => Fault)[] = [
    () => ({
      words: `${name} is cut off for ${ms} ms`,
      answers: () => true,
      async run(world) {
        await world.lab.cut(at)
        await sleep(ms)
        await world.lab.heal(at)
      }
    }),
    () => ({
      words: `${name} and n${other + 1} are parted from the others for ${ms} ms`,
      answers: () => true,
      async run({ lab }) {
        await lab.part([at, other])
        await sleep(ms)
        for (const each of [at, other]) await lab.heal(each)
      }
    }),
    () => ({
      words: `${name} and n${other + 1} are cut off, each alone, for ${ms} ms`,
      answers: () => true,
      async run({ lab }) {
        for (const each of [at, other]) await lab.cut(each)
        await sleep(ms)
        for (const each of [at, other]) await lab.heal(each)
      }
    }),
    () => ({
      words: `the daemon of ${name} is stopped for ${ms} ms (SIGSTOP)`,
      answers: (each) => each !== at,
      async run(world) {
        const pid = await member(world, at).node.pid()
        process.kill(pid, 'SIGSTOP')
        await sleep(ms)
        process.kill(pid, 'SIGCONT')
      }
    }),
    () => ({
      words: `the daemon of ${name} is killed, and up again after ${ms} ms`,
      answers: (each) => each !== at,
      async run(world) {
        await member(world, at).node.kill()
        await sleep(ms)
        await member(world, at).node.start()
      }
    }),
    () => ({
      words: `${name} loses its power for ${ms} ms`,
      answers: (each) => each !== at,
      run: (world, done) => cutPower(world, member(world, at), ms, done)
    }),
    () => {
      const times = Array.from({ length: 3 + random.integer(4) }, () => ({
        downMs: 200 + random.integer(6_000),
        upMs: 200 + random.integer(4_000)
      }))
      const list = times.map(({ downMs, upMs }) => `${downMs}/${upMs}`).join(' ')
      return {
        words: `the link of ${name} flaps, ms down/up: ${list}`,
        answers: () => true,
        async run({ lab }) {
          for (const { downMs, upMs } of times) {
            await lab.cut(at)
            await sleep(downMs)
            await lab.heal(at)
            await sleep(upMs)
          }
        }
      }
    }
  ]
  return random.pick(faults)()
}

/** Its disk keeps what was synced, its engine what it has on disk; nothing runs any more. */
async function cutPower(
  { lab, events }: World,
  { at, node, disk, socket }: Member,
  ms: number,
  done: Done
): Promise<void> {
  const pid = await node.pid()
  await lab.cut(at)
  const image = `${disk.path}.${Date.now()}.img`
  await disk.cut(image)
  process.kill(pid, 'SIGKILL')
  await lab.crashEngine(at)
  done.powerCuts.push({ socket, at: Date.now() })
  await disk.replace(image)
  await onAnotherBoot(node.dataDir)
  await sleep(ms)
  await lab.restartEngine(at)
  await events.listen(socket)
  await lab.heal(at)
  await node.start()
}

/** The machine that starts after a power cut has another boot id; this one is still the same. */
async function onAnotherBoot(dataDir: string): Promise<void> {
  const path = join(dataDir, 'run.json')
  const marker = JSON.parse(await readFile(path, 'utf8')) as object
  await writeFile(path, JSON.stringify({ ...marker, boot: 'before the cut' }))
}

const DRAIN_MS = 30_000

function drawAct(random: Random): Act {
  const by = random.integer(5)
  const acts: (() => Act)[] = [
    () => deploys(by, 'a revision that runs', true, good),
    () => deploys(by, 'a revision that runs', true, good),
    () => deploys(by, 'a revision whose image is nowhere', false, noImage),
    () => deploys(by, 'a revision that ends at once', false, badCommand),
    () => deploys(by, 'a revision that is never healthy', false, badHealth),
    () => {
      const replicas = 2 + random.integer(4)
      return {
        words: `n${by + 1} scales web to ${replicas}`,
        async run(world, _, answers) {
          const path = '/applications/shop/web/scale'
          await asker(world, by, answers).client.post(path, { replicas })
          world.wanted.replicas = replicas
        }
      }
    },
    () => {
      const at = random.integer(5)
      const deadlineMs = random.chance(0.5) ? null : 2_000
      const how = deadlineMs === null ? '' : ` with ${deadlineMs} ms for it`
      return {
        words: `n${by + 1} drains n${at + 1}${how}, then undrains it`,
        async run(world, done, answers) {
          const { client } = asker(world, by, answers)
          const { socket } = member(world, at)
          done.drained.set(socket, deadlineMs)
          const set = (availability: AvailabilityJson): Promise<unknown> => {
            const change: NodeChange = { availability }
            return client.post(`/nodes/n${at + 1}`, change)
          }
          await set({ mode: 'draining', reason: 'soak', deadlineMs })
          await waitUntil(async () => {
            const rows = await client.get<ReplicaJson[]>('/replicas')
            const stays = ['pinned', 'each']
            return rows.every((r) => r.node !== `n${at + 1}` || stays.includes(r.microservice))
          }, DRAIN_MS).catch(() => undefined)
          await set({ mode: 'active', reason: '', deadlineMs: null })
        }
      }
    }
  ]
  return random.pick(acts)()
}

function deploys(by: number, what: string, runs: boolean, specOf: typeof good): Act {
  return {
    words: `n${by + 1} deploys ${what}`,
    async run(world, done, answers) {
      const n = ++world.revisions
      const request = applicationOf(world.wanted.replicas, specOf(n))
      await asker(world, by, answers).client.post('/applications', request)
      done.deployed = { n, runs }
    }
  }
}

/** Who was drawn, or the next that answers. */
function asker({ members }: World, by: number, answers: (member: Member) => boolean): Member {
  const order = [...members.slice(by), ...members.slice(0, by)]
  const found = order.find(answers)
  if (found === undefined) throw new BrumeError('SOAK', 'No daemon answers.')
  return found
}
