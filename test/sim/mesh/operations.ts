/** What administrators do, on any side of a split. One more is one entry. */
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import type { NodeField, NodeRecord } from '../../../core/state/state.ts'
import type { Random } from '../../soak/random.ts'
import type { Host } from './host.ts'
import type { World } from './world.ts'

export interface Operation {
  name: string
  /** How often it is chosen, against the others. */
  weight: number
  /** Does it on one host; false where there is nothing to do it to. */
  act(world: World, host: Host, random: Random): boolean
}

const APPLICATIONS = ['shop', 'office']
const MICROSERVICES = ['web', 'db', 'job']
const ZONES = ['north', 'south']

/** As many as a simulation may grow to. */
const MOST_HOSTS = 7

const at = (): number => Date.now()

export const OPERATIONS: Operation[] = [
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
    name: 'label',
    weight: 2,
    act(world, host, random) {
      const node = random.pick([...host.mesh.state.nodes.values()])
      const labels: Record<string, string> = random.chance(0.7) ? { zone: random.pick(ZONES) } : {}
      world.administer(host, `label ${node.name} ${JSON.stringify(labels)}`, [
        { type: 'node.set', node: node.id, labels, ...seen(node, 'labels'), at: at() }
      ])
      return true
    }
  },
  {
    name: 'role',
    weight: 1,
    act(world, host, random) {
      const node = random.pick([...host.mesh.state.nodes.values()])
      const role = random.pick(['admin', 'admin', 'operator', 'node'] as const)
      const controller = random.chance(0.8)
      world.administer(host, `${node.name} is ${role}${controller ? ', may lead' : ''}`, [
        {
          type: 'node.set',
          node: node.id,
          role,
          controller,
          ...seen(node, 'role', 'controller'),
          at: at()
        }
      ])
      return true
    }
  },
  {
    name: 'lost',
    weight: 1,
    act(world, host, random) {
      const { mesh } = host
      const alive = mesh.alive()
      const silent = [...mesh.state.nodes.values()].filter(
        ({ id, state, lost }) => state === 'member' && !lost && !alive.has(id)
      )
      if (silent.length === 0) return false
      const node = random.pick(silent)
      world.administer(host, `${node.name} is lost`, [
        { type: 'node.set', node: node.id, lost: true, ...seen(node, 'lost'), at: at() }
      ])
      return true
    }
  },
  {
    name: 'join by the key',
    weight: 2,
    act(world, host) {
      if (world.hosts.length >= MOST_HOSTS) return false
      const { mesh } = host
      world.join(world.addBeside(host), `the key of ${host.name}`, () => mesh.keyRing.show())
      return true
    }
  },
  {
    name: 'join by invite',
    weight: 1,
    act(world, host, random) {
      if (world.hosts.length >= MOST_HOSTS || host.mesh.me?.role !== 'admin') return false
      const { mesh } = host
      const made = host.as(() =>
        mesh.invite({
          role: random.pick(['admin', 'operator', 'node'] as const),
          controller: random.chance(0.5),
          labels: {},
          uses: 1 + random.integer(2),
          expiresAt: at() + 3_600_000,
          at: at()
        })
      )
      world.join(world.addBeside(host), `an invite of ${host.name}`, async () => {
        await host.as(() => mesh.append([made.op]))
        return made.text
      })
      return true
    }
  },
  {
    name: 'rotate the key',
    weight: 1,
    act(world, host) {
      if (host.mesh.me?.role !== 'admin') return false
      const { rotation, seals } = host.as(() => host.mesh.keyRing.rotation())
      world.administer(host, 'another mesh key', [
        { type: 'key.rotate', rotation, at: at() },
        ...seals
      ])
      return true
    }
  },
  {
    name: 'lock',
    weight: 1,
    act(world, host) {
      const { mesh, nodes } = host.mesh.state
      const saw = [...nodes.values()].filter((n) => n.state === 'member').map(({ id }) => id)
      if (mesh?.locked === true) {
        world.administer(host, 'unlock', [{ type: 'mesh.unlock', at: at() }])
      } else world.administer(host, 'lock', [{ type: 'mesh.lock', saw, at: at() }])
      return true
    }
  },
  {
    name: 'approve',
    weight: 3,
    act(world, host, random) {
      const pending = [...host.mesh.state.nodes.values()].filter((n) => n.state === 'pending')
      if (pending.length === 0) return false
      const { id, name, op } = random.pick(pending)
      world.administer(host, `approve ${name}`, [
        { type: 'node.approve', node: id, over: op, at: at() }
      ])
      return true
    }
  },
  {
    name: 'rm node',
    weight: 1,
    act(world, host, random) {
      const { mesh } = host
      if (mesh.me?.role !== 'admin') return false
      const others = [...mesh.state.nodes.values()].filter(
        ({ id, state }) => id !== host.id && state === 'member'
      )
      // Two at the least are left on every side.
      if (others.length < 3) return false
      const { id, name } = random.pick(others)
      const keepKey = random.chance(0.3)
      const ops = host.as(() => mesh.removal(id, keepKey))
      world.administer(host, `rm node ${name}${keepKey ? ', keeping the key' : ''}`, ops)
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

/** Without rivals: nobody here looks at conflicts before an order. */
function seen(
  { edits }: NodeRecord,
  ...fields: NodeField[]
): { over: string | null; beside: string[] } {
  const [over = null, ...beside] = fields.flatMap((field) => edits[field]?.op ?? [])
  return { over, beside }
}

function randomSpec(random: Random): MicroserviceSpec {
  return {
    image: 'local/node:20',
    images: {},
    files: null,
    command: [],
    env: { VERSION: String(random.integer(3)) },
    labels: {},
    ports: [],
    resources: { cpus: null, memoryBytes: null },
    replicas: random.chance(0.15) ? 'all' : random.integer(4),
    node: null,
    constraints: random.chance(0.3) ? [`zone=${random.pick(ZONES)}`] : [],
    restart: 'always',
    healthcheck: null
  }
}
