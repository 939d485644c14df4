/** What is to run: edits that may be made on two sides at once. */
import { conflictsOf } from '../../../../core/state/conflicts.ts'
import type { MicroserviceSpec } from '../../../../core/state/microservices.ts'
import { putBack } from '../../../../core/state/put-back.ts'
import type { Random } from '../../../soak/random.ts'
import { at, ZONES, type Operation } from './operation.ts'
import { specWith } from '../../../helpers/spec.ts'

const APPLICATIONS = ['shop', 'office']
const MICROSERVICES = ['web', 'db', 'job']

export const applications: Operation[] = [
  {
    name: 'deploy',
    weight: 6,
    act(world, host, random) {
      const application = random.pick(APPLICATIONS)
      const { state } = host.mesh
      const name = random.pick(MICROSERVICES)
      const spec = randomSpec(random)
      const over = state.microservices.get(`${application}/${name}`)?.op ?? null
      const known = state.applications.get(application)?.op ?? null
      world.administer(host, `deploy ${application}/${name} ×${spec.replicas}`, [
        { type: 'application.set', name: application, over: known, at: at() },
        { type: 'microservice.set', application, name, spec, over, at: at() }
      ])
      return true
    }
  },
  {
    name: 'scale',
    weight: 4,
    act(world, host, random) {
      const of = [...host.mesh.state.microservices.values()]
      if (of.length === 0) return false
      const { application, name, spec, op } = random.pick(of)
      const replicas = random.integer(4)
      world.administer(host, `scale ${application}/${name} to ${replicas}`, [
        {
          type: 'microservice.set',
          application,
          name,
          spec: { ...spec, replicas },
          over: op,
          at: at()
        }
      ])
      return true
    }
  },
  {
    name: 'rm microservice',
    weight: 1,
    act(world, host, random) {
      const of = [...host.mesh.state.microservices.values()]
      if (of.length === 0) return false
      const { application, name, op } = random.pick(of)
      world.administer(host, `rm ${application}/${name}`, [
        { type: 'microservice.rm', application, name, over: op, at: at() }
      ])
      return true
    }
  },
  {
    name: 'rm application',
    weight: 1,
    act(world, host, random) {
      const { applications, microservices } = host.mesh.state
      const of = [...applications.values()]
      if (of.length === 0) return false
      const { name, op } = random.pick(of)
      const under = [...microservices.values()].filter(({ application }) => application === name)
      world.administer(host, `rm ${name}`, [
        {
          type: 'application.rm',
          name,
          over: op,
          under: Object.fromEntries(under.map((record) => [record.name, [record.op]])),
          at: at()
        }
      ])
      return true
    }
  },
  {
    name: 'keep',
    weight: 2,
    act(world, host, random) {
      const which = random.pick(['standing', 'rival'] as const)
      const nth = random.integer(3)
      const { oplog } = host.mesh
      world.administer(host, `keep the ${which} edit of a conflict, if there is one`, () =>
        oplog.look(async (view) => {
          const { conflicts } = await conflictsOf(view)
          const conflict = conflicts[nth % Math.max(1, conflicts.length)]
          const ops = conflict === undefined ? [] : await putBack(view, conflict, which, at())
          return typeof ops === 'string' ? [] : ops
        })
      )
      return true
    }
  },
  {
    name: 'many at once',
    weight: 1,
    act(world, host, random) {
      for (const other of world.awake) {
        const application = random.pick(APPLICATIONS)
        const over = other.mesh.state.applications.get(application)?.op ?? null
        world.administer(other, `application ${application}, as all others`, [
          { type: 'application.set', name: application, over, at: at() }
        ])
      }
      return host.up
    }
  }
]

const randomSpec = (random: Random): MicroserviceSpec =>
  specWith({
    command: [],
    env: { VERSION: String(random.integer(3)) },
    replicas: random.chance(0.15) ? 'all' : random.integer(4),
    constraints: random.chance(0.3) ? [`zone=${random.pick(ZONES)}`] : []
  })
