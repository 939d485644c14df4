/** Ways into the mesh. */
import { at, type Operation } from './operation.ts'

/** As many as a simulation may grow to. */
const MOST_HOSTS = 7

export const doors: Operation[] = [
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
  }
]
