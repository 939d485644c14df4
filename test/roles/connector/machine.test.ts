import { mock } from 'node:test'
import test, { type Assert } from 'brittle'
import { createActor, SimulatedClock } from 'xstate'
import { emptyState } from '../../../core/state/read.ts'
import { BrumeError } from '../../../core/errors.ts'
import type { DirectoryInput } from '../../../roles/connector/directory.ts'
import { connectorMachine, type ConnectorActor } from '../../../roles/connector/machine.ts'
import type { NameService } from '../../../roles/connector/name-service.ts'
import { microservice } from '../../sim/worlds.ts'

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

async function start(t: Assert) {
  const clock = new SimulatedClock()
  const names = new FakeNames()
  const warnings: string[] = []
  let random = 1
  let world: DirectoryInput = {
    state: emptyState(),
    alive: new Set(),
    status: new Map()
  }
  const services = (): number => actor.getSnapshot().context.directory.size
  const actor: ConnectorActor = createActor(connectorMachine, {
    clock,
    input: {
      readWorld: () => world,
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
  const change = (): void => {
    const microservices = new Map([['app/web', microservice('web')]])
    world = { ...world, state: { ...world.state, microservices } }
  }
  return { connector, names, warnings, world: { change } }
}
