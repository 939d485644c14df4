import { mock } from 'node:test'
import test, { type Assert } from 'brittle'
import { createActor, SimulatedClock } from 'xstate'
import { emptyState } from '../../../core/state/read.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { Fault, OpenPort } from '../../../roles/connector/exposed.ts'
import {
  connectorMachine,
  type ConnectorActor,
  type ConnectorComponents
} from '../../../roles/connector/machine.ts'
import type { NameService } from '../../../roles/connector/name-service.ts'
import { microservice, node } from '../../sim/worlds.ts'

const FAILED = new BrumeError('NAMES_FAILED', 'iptables failed: it is locked')
const IMPOSSIBLE = new BrumeError('NAMES_IMPOSSIBLE', 'names in containers need `ip`')

test('connector - names are not opened before somebody needs them, and once', async (t) => {
  const { connector, names } = await start(t)
  await connector.pass(600_000)
  t.is(names.opened, 0)
  t.alike(connector.state(), 'unasked')
  connector.send({ type: 'names.needed' })
  await connector.pass(1)
  t.alike(connector.state(), 'serving')
  t.is(connector.context().names?.address, '10.214.128.1')
  connector.send({ type: 'names.needed' })
  await connector.pass(600_000)
  t.is(names.opened, 1)
  t.is(names.closed, 0)
})

test('connector - where they cannot be opened they are tried again, later each time, and told of once', async (t) => {
  const { connector, names, warnings } = await start(t)
  names.failure = FAILED
  connector.send({ type: 'names.needed' })
  await connector.pass(1)
  t.alike(connector.state(), 'resting')
  t.is(connector.context().problem?.code, 'NAMES_FAILED')
  const waits: number[] = []
  for (let i = 0; i < 9; i++) waits.push(await connector.untilOpened())
  for (const [i, wait] of waits.entries()) {
    const whole = Math.min(60_000, 500 * 2 ** i)
    t.ok(wait > whole * 0.74 && wait <= whole + 100, `after failure ${i + 1}: ${wait} ms`)
  }
  t.is(warnings.length, 1, 'told once')
  names.failure = IMPOSSIBLE
  await connector.untilOpened()
  t.is(connector.context().problem?.code, 'NAMES_IMPOSSIBLE')
  t.is(warnings.length, 2)
  names.failure = null
  await connector.untilOpened()
  t.alike(connector.state(), 'serving')
  t.is(connector.context().problem, null)
  t.is(names.closed, 0, 'there was nothing to close')
})

test('connector - what is no error of ours is told as one', async (t) => {
  const { connector, names } = await start(t)
  names.failure = new TypeError('it is undefined')
  connector.send({ type: 'names.needed' })
  await connector.pass(1)
  t.is(connector.context().problem?.code, 'NAMES_FAILED')
})

test('connector - a failure while names serve closes them, and opens them anew', async (t) => {
  const { connector, names, world } = await start(t)
  connector.send({ type: 'names.needed' })
  await connector.pass(1_000)
  names.updateFailure = FAILED
  world.change()
  connector.send({ type: 'view.changed' })
  await connector.pass(201)
  t.alike(connector.state(), 'resting')
  t.is(connector.context().names, null, 'nobody is told of them')
  t.is(connector.context().problem?.code, 'NAMES_FAILED')
  t.alike([names.opened, names.closed], [1, 1])
  await connector.untilOpened()
  t.alike([names.opened, names.closed], [2, 2], 'it fails as soon as it follows')
  t.ok((await connector.untilOpened()) > 740, 'then they rest longer')
  names.updateFailure = null
  await connector.untilOpened()
  await connector.pass(1)
  t.alike(connector.state(), 'serving')
  t.is(connector.context().problem, null)
  t.is(names.opened - names.closed, 1)
  t.ok(connector.context().attempts > 0, 'that they opened does not prove that they stay')
  await connector.pass(60_001)
  t.is(connector.context().attempts, 0, 'a minute does')
  names.updateFailure = FAILED
  connector.send({ type: 'view.changed' })
  await connector.pass(300)
  t.alike(connector.state(), 'resting')
  t.ok((await connector.untilOpened()) <= 510)
})

test('connector - an update that fails late is of no names but its own', async (t) => {
  const { connector, names } = await start(t)
  let fail = (): void => undefined
  names.update = () => new Promise((_, reject) => (fail = () => reject(FAILED)))
  connector.send({ type: 'names.needed' })
  await connector.pass(1)
  const late = fail
  fail()
  await connector.pass(1)
  t.alike(connector.state(), 'resting')
  names.update = async () => undefined
  await connector.untilOpened()
  await connector.pass(1)
  late()
  await connector.pass(1)
  t.alike(connector.state(), 'serving')
})

test('connector - names follow each new directory, which is made at most once a moment', async (t) => {
  const { connector, names, world } = await start(t)
  connector.send({ type: 'names.needed' })
  await connector.pass(1_000)
  const updates = names.updates.length
  t.ok(updates >= 1, 'at once')
  world.change()
  for (const type of ['view.changed', 'gossip.changed', 'peers.changed'] as const) {
    for (let i = 0; i < 20; i++) connector.send({ type })
  }
  await connector.pass(150)
  t.is(names.updates.length, updates)
  t.is(connector.context().directory.size, 0)
  await connector.pass(51)
  t.is(names.updates.length, updates + 1)
  t.alike([...connector.context().directory.keys()], ['app/web'])
  t.is(names.updates.at(-1), 1, 'it was there before')
  await connector.pass(5_000)
  t.is(names.updates.length, updates + 1, 'without news there is nothing to follow')
  for (const type of ['gossip.changed', 'peers.changed'] as const) {
    connector.send({ type })
    await connector.pass(201)
  }
  t.is(names.updates.length, updates + 3)
})

test('connector - once a minute names put back what is missing, while they serve', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const { connector, names } = await start(t)
  connector.send({ type: 'names.needed' })
  await connector.pass(1_000)
  t.alike(names.again, 0)
  mock.timers.tick(60_000)
  t.is(names.again, 1)
  mock.timers.tick(60_000)
  t.is(names.again, 2)
  connector.stop()
  mock.timers.tick(600_000)
  t.is(names.again, 2)
})

test('connector - stopped, names are closed, also those that were opening', async (t) => {
  const { connector, names } = await start(t)
  connector.send({ type: 'names.needed' })
  await connector.pass(1_000)
  connector.stop()
  await turns()
  t.alike([names.opened, names.closed], [1, 1])

  const other = await start(t)
  let open = (): void => undefined
  other.names.gate = new Promise((resolve) => (open = resolve))
  other.connector.send({ type: 'names.needed' })
  await other.connector.pass(1_000)
  t.alike(other.connector.state(), 'opening')
  other.connector.stop()
  open()
  await turns()
  t.alike([other.names.opened, other.names.closed], [1, 1])
})

const exposing = (...ports: number[]): object => ({
  expose: ports.map((port) => ({ port, to: 80, protocol: 'tcp', on: 'all' }))
})

test('connector - ports that are exposed are opened, and set again only when that changes', async (t) => {
  const { connector, ports, world } = await start(t)
  await connector.pass(1_000)
  t.alike(ports.calls, [], 'none is exposed')
  for (const [wanted, over] of [
    [[8080], exposing(8080)],
    [[8080, 9090], exposing(8080, 9090)],
    [[], {}]
  ] as const) {
    world.change(over)
    connector.send({ type: 'view.changed' })
    connector.send({ type: 'gossip.changed' })
    await connector.pass(500)
    connector.send({ type: 'gossip.changed' })
    await connector.pass(500)
    t.alike(ports.calls.at(-1), [...wanted])
  }
  t.is(ports.calls.length, 3)
  t.is(connector.portState(), 'settled')
  t.alike(connector.context().opened, { from: { open: [], faults: [] }, faults: [] })
})

test('connector - a port that cannot be opened is tried again, later each time, until it can', async (t) => {
  const { connector, ports, world } = await start(t)
  ports.taken.add(8080)
  world.change(exposing(8080))
  connector.send({ type: 'view.changed' })
  await connector.pass(300)
  t.is(connector.portState(), 'resting')
  t.is(connector.context().opened.faults[0]?.problem, 'it is taken')
  await connector.pass(60_000)
  const tries = ports.calls.length
  t.ok(tries > 5 && tries < 15, `${tries} times in a minute`)
  ports.taken.clear()
  await connector.pass(10_000)
  t.is(connector.portState(), 'settled')
  t.alike(connector.context().opened.faults, [])
  t.is(connector.context().failures, 0)
})

test('connector - once a minute open ports are looked after, what is not exposed never', async (t) => {
  const { connector, ports, world } = await start(t)
  await connector.pass(200_000)
  t.is(ports.calls.length, 0)
  world.change(exposing(8080))
  connector.send({ type: 'view.changed' })
  await connector.pass(181_000)
  t.is(ports.calls.length, 4)
})

test('connector - what changes while ports are set is set next, and never two at a time', async (t) => {
  const { connector, ports, world } = await start(t)
  let open = (): void => undefined
  ports.gate = new Promise((resolve) => (open = resolve))
  world.change(exposing(1))
  connector.send({ type: 'view.changed' })
  await connector.pass(500)
  world.change(exposing(2))
  connector.send({ type: 'view.changed' })
  await connector.pass(500)
  t.alike(ports.calls, [[1]])
  ports.gate = Promise.resolve()
  open()
  await connector.pass(10)
  t.alike(ports.calls, [[1], [2]])
  t.is(connector.portState(), 'settled')
  t.is(ports.closed, 0)
  connector.stop()
  t.is(ports.closed, 1, 'stopped, they are closed')
})

/** Some turns of the event loop, in which promises settle. */
async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

class FakeNames {
  opened = 0
  closed = 0
  /** Of opening. */
  failure: Error | null = null
  updateFailure: Error | null = null
  gate: Promise<void> = Promise.resolve()
  /** Services in the directory at each update. */
  updates: number[] = []
  /** Updates that put back. */
  again = 0

  update = async (): Promise<void> => {
    if (this.updateFailure !== null) throw this.updateFailure
  }

  async open(services: () => number): Promise<NameService> {
    this.opened++
    await this.gate
    if (this.failure !== null) throw this.failure
    return {
      address: '10.214.128.1',
      update: async (again) => {
        if (again) this.again++
        this.updates.push(services())
        await this.update()
      },
      close: async () => {
        this.closed++
      }
    }
  }
}

class FakePorts {
  /** Ports of each call. */
  calls: number[][] = []
  /** Ports that cannot be opened. */
  taken = new Set<number>()
  closed = 0
  gate: Promise<void> = Promise.resolve()

  async set(wanted: readonly OpenPort[]): Promise<Fault[]> {
    this.calls.push(wanted.map(({ port }) => port))
    await this.gate
    return wanted.flatMap(({ port, rules }) =>
      rules.flatMap((rule) => {
        if (!this.taken.has(port)) return []
        return [{ port, rule, open: false, problem: 'it is taken', rival: null }]
      })
    )
  }

  close(): void {
    this.closed++
  }
}

async function start(t: Assert) {
  const clock = new SimulatedClock()
  const names = new FakeNames()
  const warnings: string[] = []
  let random = 1
  const ports = new FakePorts()
  let world: ReturnType<ConnectorComponents['readWorld']> = {
    state: { ...emptyState(), nodes: new Map([['n', node('n')]]) },
    alive: new Set(),
    status: new Map()
  }
  const services = (): number => actor.getSnapshot().context.directory.size
  const actor: ConnectorActor = createActor(connectorMachine, {
    clock,
    input: {
      self: 'n',
      readWorld: () => world,
      ports,
      openNames: () => names.open(services),
      random: () => (random = (random * 16807) % 2147483647) / 2147483647,
      log: { warn: (_, message) => warnings.push(message) }
    }
  })
  t.teardown(() => actor.stop())
  actor.start()
  /** Lets `ms` go by, with all that happens meanwhile. */
  const pass = async (ms: number): Promise<void> => {
    const end = clock.now() + ms
    await turns()
    while (clock.now() < end) {
      clock.increment(Math.min(end - clock.now(), ms > 20_000 ? 1_000 : 10))
      await turns(3)
    }
    await turns()
  }
  const connector = {
    pass,
    send: actor.send.bind(actor),
    stop: () => actor.stop(),
    context: () => actor.getSnapshot().context,
    state: () => actor.getSnapshot().value.names,
    portState: () => actor.getSnapshot().value.ports,
    /** The ms until names are opened once more. */
    async untilOpened(): Promise<number> {
      const [before, since] = [names.opened, clock.now()]
      while (names.opened === before) {
        if (clock.now() - since > 100_000) throw new Error('they are not opened')
        clock.increment(10)
        await turns(3)
      }
      await turns()
      return clock.now() - since
    }
  }
  const change = (over: Parameters<typeof microservice>[1] = {}): void => {
    const microservices = new Map([['app/web', microservice('web', over)]])
    world = { ...world, state: { ...world.state, microservices } }
  }
  return { connector, names, ports, warnings, world: { change } }
}
