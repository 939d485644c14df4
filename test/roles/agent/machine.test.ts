import test, { type Assert } from 'brittle'
import { createActor, SimulatedClock } from 'xstate'
import { BrumeError } from '../../../core/errors.ts'
import type { ContainerStatus, StatusBody } from '../../../core/gossip-records.ts'
import type { State } from '../../../core/state/state.ts'
import type { AgentComponents } from '../../../roles/agent/components.ts'
import { SEARCH_MS } from '../../../roles/agent/alone.ts'
import { ALONE } from '../../../roles/agent/duty.ts'
import { agentMachine } from '../../../roles/agent/machine.ts'
import { agentRuns } from '../../../roles/agent/machine/context.ts'
import type { SavedMemory } from '../../../roles/agent/memory.ts'
import { FakeEngine } from '../../sim/fake-engine.ts'
import { HEALTHCHECK, nodeRecord, SELF, view } from './views.ts'

const A = { revision: 'a' }

test('agent - a placed slot is made and started with one call each', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  t.alike(engine.calls, ['create demo/web/0@a', 'start demo/web/0@a'])
  const status = agent.status('web/0')
  t.is(status?.state, 'running')
  t.is(status?.placement, 'place-self-a')
  t.is(status?.healthy, null)
})

test('agent - a process is told where microservices are, in variables that its own go over; a container is not', async (t) => {
  const env = { BRUME_SERVICE_DB: 'mine', A: '1' }
  const state = view({ web: { ...A, env } }, { 'web/0': A })
  const told = {
    BRUME_SERVICE_DB: '127.0.0.1:20000',
    BRUME_SERVICE_DB_PORT_5432: '127.0.0.1:20000'
  }
  const askers: string[] = []
  const serviceEnv: AgentComponents['serviceEnv'] = async ({ application, microservice }) => {
    askers.push(`${application}/${microservice}`)
    return told
  }
  const process = new FakeEngine(undefined, 'process')
  await start(t, state, { engine: process, serviceEnv })
  t.alike(
    [...process.specs.values()].map((spec) => spec.env),
    [{ ...told, ...env }]
  )
  t.alike(askers, ['demo/web'])
  const { engine } = await start(t, state, { serviceEnv })
  t.alike(
    [...engine.specs.values()].map((spec) => spec.env),
    [env]
  )
})

test('agent - what runs already is adopted and not touched', async (t) => {
  const engine = new FakeEngine()
  engine.put({ ...slot('web', 0, 'a'), id: 'old', state: 'running', startedAt: 1 })
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  t.alike(engine.calls, [])
  t.is(agent.status('web/0')?.state, 'running')
})

test('agent - nothing is removed before the view is there', async (t) => {
  const engine = new FakeEngine()
  engine.put({ ...slot('web', 0, 'a'), id: 'old', state: 'running' })
  const { agent } = await start(t, null, { engine })
  await agent.pass(120_000)
  agent.send({ type: 'view.changed', state: { ...view({}, {}), mesh: null } })
  await agent.pass(1000)
  t.alike(engine.calls, [])
  agent.send({ type: 'view.changed', state: view({}, {}) })
  await agent.pass(1000)
  t.alike(engine.calls, ['stop demo/web/0@a', 'remove demo/web/0@a'])
})

test('agent - a node removed from the mesh stops what it ran for it', async (t) => {
  const state = view({ web: A }, { 'web/0': A })
  const { engine, agent } = await start(t, state)
  const nodes = new Map(state.nodes).set(SELF, { ...nodeRecord(SELF), state: 'removed' })
  agent.send({ type: 'view.changed', state: { ...state, nodes } })
  await agent.pass(1000)
  t.alike(engine.running(), [])
})

test('agent - after a power cut all that is placed here starts, eight at a time', async (t) => {
  const engine = new FakeEngine()
  const placements: Record<string, { revision: string }> = {}
  for (let i = 0; i < 20; i++) {
    placements[`web/${i}`] = A
    engine.put({ ...slot('web', i, 'a'), id: `old${i}`, state: 'exited', exitCode: 255 })
  }
  engine.gate.start = () => turns(3)
  await start(t, view({ web: { ...A, replicas: 20 } }, placements), { engine })
  t.is(engine.running().length, 20)
  t.is(engine.busiest, 8)
})

test('agent - what dies starts again, later each time, and at once after a steady run', async (t) => {
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }))
  const waits: number[] = []
  for (let i = 0; i < 9; i++) waits.push(await agent.untilBackAfterDeath(1))
  for (const [i, wait] of waits.entries()) {
    const whole = Math.min(60_000, 500 * 2 ** i)
    t.ok(wait > whole * 0.74 && wait <= whole + 100, `death ${i + 1} waits ${wait} ms`)
  }
  t.is(agent.status('web/0')?.restarts, 9)
  t.alike(agent.body().failing, ['demo/web@a'])
  await agent.pass(31_000)
  t.ok((await agent.untilBackAfterDeath(1)) <= 600)
  await agent.pass(3_700_000)
  t.alike(agent.body().failing, [], 'an hour later it may be tried again')
})

test('agent - a restart policy is kept', async (t) => {
  const { engine, agent } = await start(
    t,
    view(
      {
        once: { ...A, restart: 'no' },
        broken: { ...A, restart: 'no' },
        retry: { ...A, restart: 'on-failure' },
        done: { ...A, restart: 'on-failure' }
      },
      { 'once/0': A, 'broken/0': A, 'retry/0': A, 'done/0': A }
    )
  )
  for (const [name, code] of [
    ['once', 0],
    ['broken', 3],
    ['retry', 3],
    ['done', 0]
  ] as const)
    engine.die(idOf(engine, name), code)
  await agent.pass(100)
  t.is(agent.status('retry/0')?.state, 'restarting')
  t.is(agent.status('retry/0')?.reason, 'ended with exit code 3')
  await agent.pass(120_000)
  t.alike(engine.running(), ['demo/retry/0@a'])
  t.is(agent.status('once/0')?.state, 'stopped')
  t.is(agent.status('done/0')?.state, 'stopped')
  t.is(agent.status('broken/0')?.state, 'failed')
  t.is(agent.status('broken/0')?.reason, 'ended with exit code 3')
})

test('agent - a new revision starts beside the old one, which ends when it is up', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  engine.calls = []
  const B = { revision: 'b' }
  agent.send({ type: 'view.changed', state: view({ web: B }, { 'web/0': B }) })
  await agent.pass(500)
  t.alike(engine.calls, ['create demo/web/0@b', 'start demo/web/0@b'])
  t.alike(engine.running(), ['demo/web/0@a', 'demo/web/0@b'])
  await agent.pass(1000)
  t.alike(engine.calls.slice(2), ['stop demo/web/0@a', 'remove demo/web/0@a'])
  t.is(agent.status('web/0')?.restarts, 0)
})

test('agent - a new revision, stopFirst: its container is made, the old stops, it starts', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  engine.calls = []
  const B = { revision: 'b', update: { order: 'stopFirst' as const } }
  agent.send({ type: 'view.changed', state: view({ web: B }, { 'web/0': A }) })
  await agent.pass(60_000)
  t.alike(engine.calls, [], 'the record alone moves nothing')
  agent.send({ type: 'view.changed', state: view({ web: B }, { 'web/0': B }) })
  await agent.pass(1000)
  t.alike(engine.calls, [
    'create demo/web/0@b',
    'stop demo/web/0@a',
    'remove demo/web/0@a',
    'start demo/web/0@b'
  ])
  t.is(agent.status('web/0')?.restarts, 0)
  t.alike(agent.body().failing, [])
})

test('agent - a new revision whose image is nowhere leaves the old one running', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  const B = { revision: 'b' }
  agent.send({
    type: 'view.changed',
    state: view({ web: { ...B, image: 'no/such:1' } }, { 'web/0': B })
  })
  await agent.pass(60_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(agent.status('web/0')?.state, 'failed')
  t.is(agent.status('web/0')?.reason, 'no/such:1 is in no registry.')
})

test('agent - stopAfter: alone for so long it stops, and it runs again when somebody is there', async (t) => {
  const web = { ...A, disconnect: { stopAfterMs: 30_000 } }
  const { engine, agent } = await start(t, view({ web }, { 'web/0': A }))
  agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other']) })
  await agent.pass(60_000)
  agent.send({ type: 'peers.changed', alive: new Set([SELF]) })
  await agent.pass(29_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  await agent.pass(2_000)
  t.alike(engine.running(), [])
  t.is(agent.status('web/0')?.state, 'stopped')
  agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other']) })
  await agent.pass(1_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(agent.status('web/0')?.restarts, 0)
})

test('agent - stopAfter: the time alone goes on over a restart of the daemon, while it was down too', async (t) => {
  const web = { ...A, disconnect: { stopAfterMs: 600_000 } }
  const state = view({ web }, { 'web/0': A })
  const alone = { type: 'peers.changed' as const, alive: new Set([SELF]) }
  const first = await start(t, state)
  first.agent.send(alone)
  await first.agent.pass(130_000)
  const saved = first.agent.saved()
  t.alike(saved?.alone, { boot: 'first', since: 0, forMs: 120_000 })
  first.agent.stop()

  // Down for 7 minutes.
  const shift = 550_000
  const { engine } = first
  const again = await start(t, state, { engine, saved, now: (clock) => clock + shift })
  again.agent.send(alone)
  await again.agent.pass(SEARCH_MS - 1_000)
  t.alike(engine.running(), ['demo/web/0@a'], 'it looks for others first')
  await again.agent.pass(45_000)
  t.alike(engine.running(), [], 'ten minutes since it was cut off')
  t.is(again.agent.status('web/0')?.reason, ALONE)
  again.agent.stop()

  const third = await start(t, state, {
    engine,
    saved: again.agent.saved(),
    now: (clock) => clock + 700_000
  })
  third.agent.send(alone)
  await third.agent.pass(30_000)
  t.alike(engine.running(), [], 'what had stopped does not start while it looks')
  third.agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other']) })
  await third.agent.pass(1_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  third.agent.send(alone)
  await third.agent.pass(500_000)
  t.alike(engine.running(), ['demo/web/0@a'], 'who met somebody counts anew')
})

test('agent - stopAfter: while the machine is off nothing counts, and nobody alone is met by a clock that was', async (t) => {
  const web = { ...A, disconnect: { stopAfterMs: 600_000 } }
  const state = view({ web }, { 'web/0': A })
  const saved: SavedMemory = {
    ...{ slots: {}, revisions: {} },
    alone: { boot: 'before', since: 5_000_000, forMs: 540_000 }
  }
  const { engine, agent } = await start(t, state, { saved })
  agent.send({ type: 'peers.changed', alive: new Set([SELF]) })
  await agent.pass(58_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  await agent.pass(4_000)
  t.alike(engine.running(), [])

  const met = await start(t, state, { saved })
  met.agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other']) })
  await met.agent.pass(1_000)
  met.agent.send({ type: 'peers.changed', alive: new Set([SELF]) })
  await met.agent.pass(120_000)
  t.alike(met.engine.running(), ['demo/web/0@a'], 'it was not alone meanwhile')
})

test('agent - a drained node says when its deadline is over, over a restart of the daemon too', async (t) => {
  const state = view({ web: A }, { 'web/0': A })
  const drained = (op: string, deadlineMs: number | null): State => {
    const availability = { mode: 'draining' as const, reason: '', deadlineMs }
    const node = {
      ...nodeRecord(SELF),
      availability,
      edits: { availability: { op, by: 'x', at: 0 } }
    }
    return { ...state, nodes: new Map(state.nodes).set(SELF, node) }
  }
  const first = await start(t, drained('x.1', 300_000))
  await first.agent.pass(130_000)
  t.is(first.agent.body().overdue, undefined)
  const saved = first.agent.saved()
  t.alike(saved?.drained, { op: 'x.1', boot: 'first', since: 0, forMs: 120_000 })
  first.agent.stop()
  const again = await start(t, drained('x.1', 300_000), {
    saved,
    now: (clock) => clock + 200_000
  })
  await again.agent.pass(99_000)
  t.is(again.agent.body().overdue, undefined)
  await again.agent.pass(2_000)
  t.is(again.agent.body().overdue, 'x.1')
  again.agent.send({ type: 'view.changed', state: drained('x.2', 300_000) })
  await again.agent.pass(1_000)
  t.is(again.agent.body().overdue, undefined, 'another drain begins anew')
  again.agent.send({ type: 'view.changed', state: drained('x.3', null) })
  await again.agent.pass(900_000)
  t.is(again.agent.body().overdue, undefined, 'one without a deadline is never over')
})

test('agent - a missing image is pulled, and told so', async (t) => {
  const engine = new FakeEngine()
  engine.registry.add('far/app:1')
  const pulled = later()
  engine.gate.pull = () => pulled.promise
  const { agent } = await start(t, view({ web: { ...A, image: 'far/app:1' } }, { 'web/0': A }), {
    engine
  })
  t.is(agent.status('web/0')?.state, 'pulling')
  pulled.resolve()
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'running')
})

test('agent - a pull that fails is tried again up to every five minutes', async (t) => {
  const { engine, agent } = await start(
    t,
    view({ web: { ...A, image: 'far/app:1' } }, { 'web/0': A })
  )
  t.is(agent.status('web/0')?.state, 'failed')
  await agent.pass(30_000)
  t.alike(agent.body().failing, ['demo/web@a'])
  await agent.pass(3_600_000)
  engine.calls = []
  await agent.pass(600_000)
  const pulls = engine.calls.filter((c) => c.startsWith('pull')).length
  t.ok(pulls >= 2 && pulls <= 3, `${pulls} pulls in ten minutes`)
  engine.registry.add('far/app:1')
  await agent.pass(300_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(agent.status('web/0')?.reason, null)
})

test('agent - an image that may not be pulled never is; once it is there, it runs within a minute', async (t) => {
  const web = { ...A, image: 'far/app:1', pull: 'never' as const }
  const { engine, agent, heard } = await start(t, view({ web }, { 'web/0': A }))
  engine.registry.add('far/app:1')
  t.is(agent.status('web/0')?.state, 'failed')
  t.is(
    agent.status('web/0')?.reason,
    'image far/app:1 is not on this node and `pull` is never: `docker load` it here'
  )
  await agent.pass(600_000)
  t.absent(engine.calls.some((call) => call.startsWith('pull')))
  t.is(heard.images, 0)
  engine.load('far/app:1')
  await turns()
  t.is(heard.images, 1, 'who looks for images hears of it')
  await agent.pass(65_000)
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - once it may be pulled it is, by the container that is made next', async (t) => {
  const web = { ...A, image: 'far/app:1' }
  const { engine, agent } = await start(t, view({ web: { ...web, pull: 'never' } }, { 'web/0': A }))
  engine.registry.add('far/app:1')
  agent.send({ type: 'view.changed', state: view({ web }, { 'web/0': A }) })
  await agent.pass(65_000)
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - an engine error is the reason shown, and is tried again', async (t) => {
  const engine = new FakeEngine()
  let taken = true
  engine.gate.start = async () => {
    if (taken) throw new BrumeError('PORT_IN_USE', 'Port 80 is in use.')
  }
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  t.is(agent.status('web/0')?.state, 'failed')
  t.is(agent.status('web/0')?.reason, 'Port 80 is in use.')
  taken = false
  await agent.pass(1000)
  t.is(agent.status('web/0')?.state, 'running')
  t.is(engine.calls.filter((c) => c.startsWith('create')).length, 1)
})

test('agent - no image for this machine is said, not tried', async (t) => {
  const { engine, agent } = await start(
    t,
    view({ web: { ...A, image: null, images: { arm64: 'x' } } }, { 'web/0': A })
  )
  t.alike(engine.calls, [])
  t.is(agent.status('web/0')?.state, 'failed')
  t.is(agent.status('web/0')?.reason, 'demo/web names no image for amd64')
})

test('agent - a lost placement is handed over: grace, then a yes, then stop', async (t) => {
  const asked: string[] = []
  let yes = false
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }), {
    asksRuns: async (node, key, placement) => {
      asked.push(`${node} ${key} ${placement}`)
      return yes
    }
  })
  agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other']) })
  agent.send({ type: 'view.changed', state: moved() })
  await agent.pass(9_900)
  t.is(asked.length, 0, 'nobody is asked in the grace')
  t.is(agent.status('web/0')?.state, 'retiring')
  t.is(agent.status('web/0')?.placement, null)
  await agent.pass(20_000)
  t.ok(asked.length >= 9 && asked.length <= 25, `asked ${asked.length} times in 20 s`)
  t.is(asked[0], 'other demo/web/0 place-other-a')
  t.alike(engine.running(), ['demo/web/0@a'])
  yes = true
  await agent.pass(3000)
  t.alike(engine.running(), [])
  t.alike(agent.body().containers, [])
})

test('agent - nobody can be asked: the copy runs on', async (t) => {
  let asked = 0
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }), {
    asksRuns: async () => {
      asked++
      throw new BrumeError('NO_PEER', 'No link.')
    }
  })
  agent.send({ type: 'view.changed', state: moved() })
  await agent.pass(60_000)
  t.is(asked, 0, 'a node that is not alive is not asked')
  agent.send({ type: 'peers.changed', alive: new Set(['other']) })
  await agent.pass(60_000)
  t.ok(asked > 20)
  t.alike(engine.running(), ['demo/web/0@a'])
  agent.send({ type: 'view.changed', state: view({ web: A }, {}) })
  await agent.pass(60_000)
  t.alike(engine.running(), ['demo/web/0@a'], 'placed nowhere')
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'running')
  t.alike(engine.calls, ['create demo/web/0@a', 'start demo/web/0@a'], 'it is ours again')
})

test('agent - a yes for a placement that is not the newest stops nothing', async (t) => {
  const answers: ((yes: boolean) => void)[] = []
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }), {
    asksRuns: () => new Promise((resolve) => answers.push(resolve))
  })
  agent.send({ type: 'peers.changed', alive: new Set([SELF, 'other', 'third']) })
  agent.send({ type: 'view.changed', state: moved() })
  await agent.pass(10_100)
  t.is(answers.length, 1)
  agent.send({
    type: 'view.changed',
    state: view({ web: A }, { 'web/0': { node: 'third', revision: 'a' } })
  })
  answers[0]?.(true)
  await agent.pass(5000)
  t.is(answers.length, 2, 'the node placed now is asked')
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - a copy that no slot asks for stops at once', async (t) => {
  const two = { web: { ...A, replicas: 2 } }
  const { engine, agent } = await start(t, view(two, { 'web/0': A, 'web/1': A }))
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(100)
  t.alike(engine.running(), ['demo/web/0@a'])
  agent.send({ type: 'view.changed', state: view({}, { 'web/0': A }) })
  await agent.pass(100)
  t.alike(engine.running(), [])
})

test('agent - a copy that still starts when its placement moves is ended at once', async (t) => {
  const engine = new FakeEngine()
  const started = later()
  engine.gate.start = () => started.promise
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  agent.send({ type: 'view.changed', state: moved() })
  started.resolve()
  await agent.pass(100)
  t.is(engine.containers.size, 0)
  t.alike(agent.body().containers, [])
})

test('agent - what waits for its files is called off when it is not wanted', async (t) => {
  const files = {
    digest: '0'.repeat(64),
    bytes: 1,
    core: '0'.repeat(64),
    blockOffset: 0,
    blockLength: 1,
    byteOffset: 0
  }
  const { engine, agent } = await start(t, view({ web: { ...A, files } }, { 'web/0': A }), {
    filesDir: () => new Promise(() => {})
  })
  t.is(agent.status('web/0')?.state, 'starting')
  agent.send({ type: 'view.changed', state: view({}, {}) })
  await agent.pass(100)
  t.alike(agent.body().containers, [])
  t.alike(engine.calls, [])
  for (let i = 0; i < 6; i++) {
    agent.send({ type: 'view.changed', state: view({ web: { ...A, files } }, { 'web/0': A }) })
    await agent.pass(20)
    t.is(agent.status('web/0')?.state, 'starting')
    agent.send({ type: 'view.changed', state: view({ web: { ...A, files } }, {}) })
    await agent.pass(20)
  }
  t.alike(agent.body().failing, [], 'calling off is no failure')
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(100)
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - health: counted by the machine’s clock, and restarted when bad', async (t) => {
  const engine = new FakeEngine()
  engine.exitCode = 1
  const { agent } = await start(
    t,
    view({ web: { ...A, healthcheck: HEALTHCHECK } }, { 'web/0': A }),
    { engine }
  )
  await agent.pass(4_000)
  t.is(agent.status('web/0')?.healthy, null, 'failures in the start period do not count')
  t.is(agent.runs('web/0', 'place-self-a'), false, 'not a yes before it is healthy')
  engine.exitCode = 0
  await agent.pass(1_000)
  t.is(agent.status('web/0')?.healthy, true)
  t.is(agent.runs('web/0', 'place-self-a'), true)
  t.is(agent.runs('web/0', 'place-older'), false)
  engine.exitCode = 1
  engine.calls = []
  await agent.pass(4_100)
  t.is(agent.status('web/0')?.healthy, true, 'two failures are not three')
  await agent.pass(2_000)
  t.alike(engine.calls, ['stop demo/web/0@a', 'start demo/web/0@a'])
  t.is(agent.status('web/0')?.restarts, 1)
  t.is(agent.status('web/0')?.healthy, null)
  await agent.pass(6_500)
  t.is(engine.calls.length, 2, 'the new run has its own start period and failures')
  engine.exitCode = 0
  await agent.pass(2_100)
  t.is(agent.status('web/0')?.healthy, true)
  engine.exitCode = 1
  engine.die(idOf(engine, 'web'), 1)
  await agent.pass(1_100)
  t.is(agent.status('web/0')?.state, 'running')
  t.is(agent.status('web/0')?.healthy, null, 'what the run before was does not count')
})

test('agent - health: restart no leaves an unhealthy container', async (t) => {
  const { engine, agent } = await start(
    t,
    view(
      { web: { ...A, restart: 'no', healthcheck: { ...HEALTHCHECK, startPeriodMs: 0 } } },
      { 'web/0': A }
    )
  )
  engine.exitCode = 1
  await agent.pass(60_000)
  t.is(agent.status('web/0')?.healthy, false)
  t.is(agent.runs('web/0', 'place-self-a'), false)
  t.is(engine.calls.length, 2)
})

test('agent - the engine goes and comes back: everything runs again', async (t) => {
  const { engine, agent, reports } = await start(t, view({ web: A }, { 'web/0': A }))
  engine.crash()
  await agent.pass(1)
  t.is(reports.at(-1)?.problem, 'The engine does not answer.')
  t.is(agent.runs('web/0', 'place-self-a'), false, 'not known now, so no yes')
  const opens = agent.opens()
  await agent.pass(600_000)
  const tries = agent.opens() - opens
  t.ok(tries > 20 && tries < 40, `${tries} tries in ten minutes`)
  t.is(reports.filter((r) => r.problem !== null).length, 1, 'told once')
  engine.isUp = true
  await agent.pass(31_000)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(reports.at(-1)?.problem, null)
  t.alike(agent.body().failing, [], 'not the revision’s fault')
  await agent.pass(1000)
  engine.crash()
  await agent.pass(1)
  engine.isUp = true
  await agent.pass(600)
  t.alike(engine.running(), ['demo/web/0@a'], 'waits are short again')
})

test('agent - the engine goes in the middle of a step', async (t) => {
  const engine = new FakeEngine()
  engine.gate.start = () => new Promise(() => {})
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  engine.crash()
  await agent.pass(1)
  delete engine.gate.start
  engine.isUp = true
  await agent.pass(1000)
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - a list begun before a step ended is not believed about it', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, {}))
  const slow = later()
  engine.gate.list = () => slow.promise
  agent.send({ type: 'container.changed' })
  await agent.pass(50)
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(50)
  t.is(agent.status('web/0')?.state, 'starting')
  delete engine.gate.list
  slow.resolve()
  await agent.pass(100)
  t.alike(engine.calls, ['create demo/web/0@a', 'start demo/web/0@a'])
  t.is(agent.status('web/0')?.state, 'running')
  t.is(agent.status('web/0')?.restarts, 0, 'its absence there is no death')
})

test('agent - a step in flight is not taken again when the engine is listed', async (t) => {
  const engine = new FakeEngine()
  const started = later()
  engine.gate.start = () => started.promise
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  agent.send({ type: 'container.changed' })
  await agent.pass(200)
  t.alike(engine.calls, ['create demo/web/0@a', 'start demo/web/0@a'])
  started.resolve()
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'running')
})

test('agent - a new revision does not wait for what the old one did', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  for (let i = 0; i < 7; i++) await agent.untilBackAfterDeath(1)
  engine.die(idOf(engine, 'web'), 1)
  await agent.pass(100)
  const B = { revision: 'b' }
  agent.send({ type: 'view.changed', state: view({ web: B }, { 'web/0': B }) })
  await agent.pass(200)
  t.alike(engine.running(), ['demo/web/0@b'])
  t.alike(agent.body().failing, [])
})

test('agent - placed here again while it stops: made again at once, no restart counted', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  const stopped = later()
  engine.gate.stop = () => stopped.promise
  agent.send({ type: 'view.changed', state: view({}, {}) })
  await agent.pass(20)
  t.is(agent.status('web/0')?.state, 'stopping')
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  stopped.resolve()
  await agent.pass(100)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(agent.status('web/0')?.restarts, 0)
})

test('agent - a container that somebody removed is made again', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  await engine.remove(idOf(engine, 'web'))
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'restarting')
  await agent.pass(500)
  t.alike(engine.running(), ['demo/web/0@a'])
  t.is(agent.status('web/0')?.restarts, 1)
})

test('agent - each loss has its own grace', async (t) => {
  let asked = 0
  const { agent } = await start(t, view({ web: A }, { 'web/0': A }), {
    asksRuns: async () => ++asked > 0
  })
  agent.send({ type: 'peers.changed', alive: new Set(['other']) })
  agent.send({ type: 'view.changed', state: moved() })
  await agent.pass(9_000)
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(100)
  agent.send({ type: 'view.changed', state: moved() })
  await agent.pass(9_900)
  t.is(asked, 0)
  await agent.pass(200)
  t.is(asked, 1)
})

test('agent - the engine is not there at first', async (t) => {
  const engine = new FakeEngine()
  engine.isUp = false
  const { agent, reports } = await start(t, view({ web: A }, { 'web/0': A }), { engine })
  t.is(reports.at(-1)?.problem, 'The engine does not answer.')
  engine.isUp = true
  await agent.pass(31_000)
  t.alike(engine.running(), ['demo/web/0@a'])
})

test('agent - a node with no engine says so and runs nothing', async (t) => {
  const { agent, reports } = await start(t, view({ web: A }, { 'web/0': A }), {
    openEngine: async () => null
  })
  t.alike(reports, [{ kind: 'none', version: null, problem: null }])
  t.alike(agent.body(), { containers: [], failing: [] })
})

test('agent - stopping the daemon leaves containers, and the next one knows their restarts', async (t) => {
  const state = view({ web: A }, { 'web/0': A })
  const first = await start(t, state)
  await first.agent.untilBackAfterDeath(1)
  await first.agent.pass(1000)
  const before = first.agent.status('web/0')
  first.agent.stop()
  t.alike(first.engine.running(), ['demo/web/0@a'])
  first.engine.calls = []
  const second = await start(t, state, { engine: first.engine, saved: first.saved() })
  t.alike(first.engine.calls, [])
  t.is(second.agent.status('web/0')?.restarts, 1)
  t.is(second.agent.status('web/0')?.since, before?.since)
})

test('agent - idle: nothing is published and the engine is listed once a minute', async (t) => {
  const { engine, agent, published } = await start(t, view({ web: A }, { 'web/0': A }))
  const [bodies, lists] = [published.length, engine.lists]
  await agent.pass(600_000)
  t.is(published.length, bodies)
  t.ok(engine.lists - lists <= 10, `${engine.lists - lists} lists in ten minutes`)
  agent.send({ type: 'view.changed', state: view({ web: A }, { 'web/0': A }) })
  await agent.pass(100)
  t.is(published.length, bodies)
})

test('agent - a burst of engine events is one list', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  const lists = engine.lists
  for (let i = 0; i < 50; i++) agent.send({ type: 'container.changed' })
  await agent.pass(1000)
  t.is(engine.lists - lists, 1)
})

test('agent - an event while the engine is listed leads to another list', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  const slow = later()
  engine.gate.list = () => slow.promise
  agent.send({ type: 'container.changed' })
  await agent.pass(50)
  engine.die(idOf(engine, 'web'), 1)
  delete engine.gate.list
  slow.resolve()
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'restarting')
})

test('agent - a stop that fails is tried again, not in a hot loop', async (t) => {
  const { engine, agent } = await start(t, view({ web: A }, { 'web/0': A }))
  let stops = 0
  engine.gate.stop = async () => {
    if (++stops < 4) throw new BrumeError('ENGINE_FAILED', 'Busy.')
  }
  agent.send({ type: 'view.changed', state: view({}, {}) })
  await agent.pass(300)
  t.is(stops, 1)
  await agent.pass(10_000)
  t.alike(engine.running(), [])
})

test('agent - news of other nodes start what waits for them', async (t) => {
  const web = { ...A, dependsOn: { db: 'started' as const } }
  const db: ContainerStatus = {
    ...{ application: 'demo', microservice: 'db', slot: 0, revision: 'd', placement: 'p' },
    ...{ state: 'starting', healthy: null, since: 0, image: null, ports: [], reason: null },
    restarts: 0
  }
  let said: StatusBody = { containers: [db], failing: [] }
  const { engine, agent } = await start(
    t,
    view({ web, db: { revision: 'd' } }, { 'web/0': A, 'db/0': { node: 'other', revision: 'd' } }),
    { readStatus: () => new Map([['other', said]]) }
  )
  agent.send({ type: 'peers.changed', alive: new Set(['other']) })
  await agent.pass(1_000)
  t.alike(engine.running(), [])
  t.is(agent.status('web/0')?.reason, 'waits for demo/db to run')
  said = { containers: [{ ...db, state: 'running' }], failing: [] }
  agent.send({ type: 'gossip.changed' })
  await agent.pass(100)
  t.is(agent.status('web/0')?.state, 'running')
  said = { containers: [], failing: [] }
  agent.send({ type: 'gossip.changed' })
  await agent.pass(1_000)
  t.is(agent.status('web/0')?.state, 'running', 'what went away takes nothing with it')
})

test('agent - the new copy of a slot with a volume is up after the old one; its volumes are told, also when all is over', async (t) => {
  const data = { source: 'data', container: '/data', readOnly: false }
  const at = (revision: string) =>
    view({ web: { revision, volumes: [data] } }, { 'web/0': { revision } })
  const { engine, agent } = await start(t, at('a'))
  t.alike(agent.body().volumes, ['demo/web/0/data'])
  engine.calls = []
  agent.send({ type: 'view.changed', state: at('b') })
  await agent.pass(2_000)
  t.alike(engine.calls, [
    'create demo/web/0@b',
    'stop demo/web/0@a',
    'remove demo/web/0@a',
    'start demo/web/0@b'
  ])
  agent.send({ type: 'view.changed', state: view({}, {}) })
  await agent.pass(2_000)
  t.alike(agent.body().containers, [])
  t.alike(agent.body().volumes, ['demo/web/0/data'])
})

/** A promise and what resolves it. */
function later(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
const slot = (microservice: string, number: number, revision: string) => ({
  application: 'demo',
  microservice,
  slot: number,
  revision
})
const moved = () => view({ web: A }, { 'web/0': { node: 'other', revision: 'a' } })
const idOf = (engine: FakeEngine, microservice: string): string =>
  [...engine.containers.values()].find((c) => c.microservice === microservice)?.id ?? 'none'

/** Lets everything that waits for no clock happen. */
async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function start(
  t: Assert,
  state: State | null,
  options: Omit<Partial<AgentComponents>, 'now'> & {
    engine?: FakeEngine
    saved?: SavedMemory | null
    /** Boot ms, where its clock began before the test did. */
    now?: (clock: number) => number
  } = {}
) {
  const clock = new SimulatedClock()
  const wallNow = () => 1_700_000_000_000 + clock.now()
  const {
    engine = new FakeEngine(wallNow),
    saved = null,
    now = (ms: number) => ms,
    ...over
  } = options
  let kept = saved
  let opens = 0
  let random = 1
  const published: StatusBody[] = []
  const heard = { images: 0 }
  const reports: { kind: string; version: string | null; problem: string | null }[] = []
  const silent = { info() {}, warn() {}, error() {} }
  const actor = createActor(agentMachine, {
    clock,
    input: {
      self: SELF,
      openEngine: async () => {
        opens++
        return engine
      },
      filesDir: async () => '/files',
      resolver: async () => null,
      serviceEnv: async () => ({}),
      drained: async () => undefined,
      asksRuns: async () => false,
      readStatus: () => new Map(),
      publishStatus: (body) => published.push(body),
      reportImages: () => heard.images++,
      reportEngine: (report) => reports.push(report),
      store: {
        load: async () => kept,
        save: async (memory) => {
          kept = memory
        }
      },
      now: () => now(clock.now()),
      boot: 'first',
      wallNow,
      random: () => (random = (random * 16807) % 2147483647) / 2147483647,
      log: silent,
      ...over
    }
  })
  t.teardown(() => actor.stop())
  const body = (): StatusBody => published.at(-1) ?? { containers: [], failing: [] }
  const status = (ref: string): ContainerStatus | undefined =>
    body().containers.find((c) => `${c.microservice}/${c.slot}` === ref)
  /** Lets `ms` go by, with all that happens meanwhile. */
  const pass = async (ms: number): Promise<void> => {
    const end = clock.now() + ms
    await turns()
    while (clock.now() < end) {
      clock.increment(Math.min(end - clock.now(), ms > 20_000 ? 100 : 10))
      await turns(ms > 20_000 ? 3 : 6)
    }
    await turns()
  }
  const agent = {
    body,
    status,
    pass,
    send: actor.send.bind(actor),
    stop: () => actor.stop(),
    saved: () => kept,
    opens: () => opens,
    runs: (ref: string, placement: string) =>
      agentRuns(actor.getSnapshot().context, `demo/${ref}`, placement),
    /** Ends `web` and gives the ms until it runs again. */
    async untilBackAfterDeath(exitCode: number): Promise<number> {
      engine.die(idOf(engine, 'web'), exitCode)
      const died = clock.now()
      while (engine.running().length === 0) {
        if (clock.now() - died > 100_000) throw new Error('it does not come back')
        await pass(20)
      }
      const waited = clock.now() - died
      await pass(100)
      return waited
    }
  }
  actor.start()
  if (state !== null) agent.send({ type: 'view.changed', state })
  await pass(200)
  return { engine, agent, clock, published, reports, heard, saved: () => kept }
}
