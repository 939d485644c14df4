/** What befalls nodes and the paths between them. One more is one entry. */
import { random as seeded, type Random } from '../../soak/random.ts'
import { isTried } from './unsettled.ts'
import type { World } from './world.ts'

export interface Fault {
  name: string
  weight: number
  /** Begins it; false where it cannot be now. All faults end at `mend`. */
  act(world: World, random: Random): boolean
}

export const FAULTS: Fault[] = [
  {
    name: 'split',
    weight: 6,
    act(world, random) {
      const sides = random.chance(0.8) ? 2 : 3
      const of = new Map(world.hosts.map(({ id }) => [id, random.integer(sides)]))
      const names = Array.from({ length: sides }, (_, side) =>
        world.hosts.filter(({ id }) => of.get(id) === side).map(({ name }) => name)
      )
      world.say(`split ${names.map((side) => side.join(' ')).join(' | ')}`)
      world.network.split(of)
      return true
    }
  },
  {
    name: 'cut',
    weight: 2,
    act(world, random) {
      const a = random.pick(world.hosts)
      const b = random.pick(world.hosts)
      if (a === b) return false
      world.say(`cut ${a.name} - ${b.name}`)
      world.network.cut(a.id, b.id)
      return true
    }
  },
  {
    name: 'bad weather',
    weight: 2,
    act(world, random) {
      const conditions = {
        delayMs: random.pick([20, 80, 150]),
        jitterMs: random.pick([10, 100, 300]),
        loss: random.pick([0.01, 0.03, 0.1])
      }
      world.say(`weather ${JSON.stringify(conditions)}`)
      world.network.conditions = conditions
      return true
    }
  },
  {
    name: 'pause',
    weight: 3,
    act(world, random) {
      if (world.awake.length < 2) return false
      const host = random.pick(world.awake)
      const ms = random.pick([500, 2_500, 6_000, 20_000])
      world.say(`${host.name} stands still for ${ms} ms`)
      host.pause()
      world.time.after(ms, null, () => host.resume())
      return true
    }
  },
  {
    name: 'kill',
    weight: 3,
    act(world, random) {
      if (world.awake.length < 2) return false
      const host = random.pick(world.awake)
      world.begin(`kill -9 ${host.name}`, () => host.crash('all'))
      return true
    }
  },
  {
    name: 'power cut',
    weight: isTried('power') ? 2 : 0,
    act(world, random) {
      if (world.awake.length < 2) return false
      const host = random.pick(world.awake)
      // Of what was not flushed, as many writes are left as chance says.
      const own = seeded(random.integer(2 ** 31))
      world.begin(`power cut at ${host.name}`, () => host.crash((below) => own.integer(below)))
      return true
    }
  },
  {
    name: 'stop',
    weight: 1,
    act(world, random) {
      if (world.awake.length < 2) return false
      const host = random.pick(world.awake)
      world.begin(`stop ${host.name}`, () => host.stop())
      return true
    }
  },
  {
    name: 'slow disk',
    weight: 1,
    act(world, random) {
      if (world.awake.length === 0) return false
      const host = random.pick(world.awake)
      const most = random.pick([2, 10, 40])
      world.say(`writes of ${host.name} take up to ${most} ms`)
      const own = seeded(random.integer(2 ** 31))
      host.slowDisk(() => own.integer(most + 1))
      return true
    }
  },
  {
    name: 'clock',
    weight: 1,
    act(world, random) {
      const host = random.pick(world.hosts)
      const skewMs = random.pick([-86_400_000, -3_600_000, 0, 5_000, 86_400_000])
      world.say(`the clock of ${host.name} is off by ${skewMs / 1000} s`)
      host.setClock(skewMs)
      return true
    }
  },
  {
    name: 'return',
    weight: 3,
    act(world, random) {
      const down = world.hosts.filter((host) => !host.up && host.inside && !host.changing)
      if (down.length === 0) return false
      const host = random.pick(down)
      world.begin(`${host.name} is back`, () => host.reopen())
      return true
    }
  }
]

/** Ends all faults: paths are whole, everyone is up and awake. */
export async function mend(world: World): Promise<void> {
  world.say('heal')
  world.network.heal()
  world.network.conditions = { delayMs: 5, jitterMs: 2, loss: 0 }
  await wake(world)
  // Whoever said goodbye and was not heard says it again.
  for (const host of world.hosts) {
    const me = host.up ? host.mesh.me : null
    if (me?.state === 'removed' && me.removal === null) world.leave(host, false)
  }
  await world.finish()
}

/** Everyone is up and awake; the network stays as it is. */
export async function wake(world: World): Promise<void> {
  for (const host of world.hosts) host.resume()
  await world.finish()
  for (const host of world.hosts) {
    if (!host.up && host.inside) world.begin(`${host.name} is back`, () => host.reopen())
  }
  await world.finish()
}
