/** New revisions of what runs, good and bad ones, and what people do about them meanwhile. */
import type { MicroserviceSpec } from '../../../../core/state/microservices.ts'
import { isUnderWay } from '../../../../core/state/rollouts.ts'
import type { Random } from '../../../soak/random.ts'
import { specWith } from '../../../helpers/spec.ts'
import type { Host } from '../host.ts'
import { moodsToEnv } from '../moody-engine.ts'
import type { World } from '../world.ts'
import { at, type Operation } from './operation.ts'

const APPLICATION = 'shop'

export const rollouts: Operation[] = [
  {
    name: 'roll out',
    weight: 6,
    act(world, host, random) {
      const of = [...host.mesh.state.microservices.values()]
      if (of.length === 0) return false
      const { name, spec, op } = random.pick(of)
      const isGood = random.chance(0.6)
      const next = { ...spec, ...content(random, isGood), update: policy(random) }
      world.administer(host, `${isGood ? 'good' : 'bad'} revision of ${name}: ${words(next)}`, [
        { type: 'microservice.set', application: APPLICATION, name, spec: next, over: op, at: at() }
      ])
      return true
    }
  },
  {
    name: 'pause or resume',
    weight: 1,
    act(world, host, random) {
      const of = [...host.mesh.state.rollouts.values()].filter(isUnderWay)
      if (of.length === 0) return false
      const { application, microservice, of: op, state } = random.pick(of)
      const paused = state === 'running'
      world.administer(host, `${paused ? 'pause' : 'resume'} ${microservice}`, [
        { type: 'rollout.set', application, microservice, of: op, paused, at: at() }
      ])
      return true
    }
  },
  {
    name: 'scale',
    weight: 1,
    act(world, host, random) {
      const of = [...host.mesh.state.microservices.values()]
      if (of.length === 0) return false
      const { name, spec, op } = random.pick(of)
      const replicas = 1 + random.integer(4)
      world.administer(host, `scale ${name} to ${replicas}`, [
        {
          ...{ type: 'microservice.set', application: APPLICATION, name, over: op, at: at() },
          spec: { ...spec, replicas }
        }
      ])
      return true
    }
  }
]

/** What is there before anything changes: all of it runs. */
export function deployAll(world: World, host: Host, random: Random): void {
  const names = ['web', 'db', 'job'].slice(0, 1 + random.integer(3))
  world.administer(host, `deploy ${names.join(', ')}`, [
    { type: 'application.set', name: APPLICATION, over: null, at: at() },
    ...names.map((name) => ({
      ...{
        type: 'microservice.set' as const,
        application: APPLICATION,
        name,
        over: null,
        at: at()
      },
      spec: specWith({
        ...content(random, true),
        command: [],
        replicas: 1 + random.integer(4),
        healthcheck: random.chance(0.6) ? HEALTH : null,
        update: policy(random)
      })
    }))
  ])
}

const HEALTH = {
  ...{ command: ['true'], shell: false, intervalMs: 500, timeoutMs: 500, retries: 1 },
  startPeriodMs: 2_000
}

function content(random: Random, isGood: boolean): Pick<MicroserviceSpec, 'env'> {
  const startsAfter = random.pick([0, 0, 200, 1_500, 8_000])
  const bad = random.pick([{ diesAfter: 300 }, { diesAfter: 0 }, { sick: true }])
  const moods = { startsAfter, ...(!isGood && bad) }
  return { env: { VERSION: String(random.integer(2 ** 30)), ...moodsToEnv(moods) } }
}

const policy = (random: Random): NonNullable<MicroserviceSpec['update']> => ({
  parallelism: random.pick([0, 1, 1, 2]),
  order: random.pick(['auto', 'startFirst', 'stopFirst'] as const),
  delayMs: random.pick([0, 0, 500]),
  monitorMs: random.pick([0, 500, 2_000]),
  failureAction: random.pick(['rollback', 'rollback', 'rollback', 'pause', 'continue'] as const)
})

const words = ({ env, update }: MicroserviceSpec): string => JSON.stringify({ ...env, ...update })
