/** A slot that depends on others: when it comes up, and that nothing ends it. */
import test from 'brittle'
import type { ContainerStatus } from '../../../core/gossip-records.ts'
import { dependenciesOf } from '../../../core/state/dependencies.ts'
import type { MicroserviceSpec } from '../../../core/state/microservices.ts'
import { slotKey } from '../../../core/state/state.ts'
import { diff } from '../../../roles/agent/diff.ts'
import { ALONE } from '../../../roles/agent/duty.ts'
import type { EngineContainer } from '../../../roles/agent/engine.ts'
import { healthNoted, observe, type World } from '../../../roles/agent/memory.ts'
import { report } from '../../../roles/agent/report.ts'
import type { Step } from '../../../roles/agent/steps.ts'
import { HEALTHCHECK, SELF, view } from './views.ts'
import { check, world } from './worlds.ts'

const WEB = { revision: 'a', dependsOn: { db: 'healthy' as const } }
const DB = { revision: 'd', healthcheck: HEALTHCHECK }

test('order - a slot is made ready, and starts when what it depends on is healthy', (t) => {
  t.alike(steps(of({})), [['create', false]])
  const made = of({ containers: [container('web', 'created')] })
  t.alike(steps(made), [])
  t.alike(shown(made), [
    'starting',
    true,
    'waits for demo/db to be healthy; no node in reach has one'
  ])
  const said = (over: Partial<ContainerStatus>) =>
    of({ containers: [container('web', 'created')], other: [status(over)] })
  t.alike(steps(said({ state: 'starting' })), [])
  t.is(shown(said({ state: 'starting' }))[2], 'waits for demo/db to be healthy')
  t.alike(steps(said({ healthy: false })), [])
  t.alike(steps(said({ healthy: null })), [], 'it is not known yet')
  t.alike(steps(said({ healthy: true })), [['start', true]])
  t.alike(steps(said({ healthy: true, state: 'retiring' })), [['start', true]])
})

test('order - started: runs anywhere in reach, or has done its work', (t) => {
  const web = { revision: 'a', dependsOn: { db: 'started' as const } }
  const said = (over: Partial<ContainerStatus>, alive = ['other']) =>
    of({ web, other: [status(over)], alive })
  t.alike(steps(said({ state: 'starting' })), [['create', false]])
  t.alike(steps(said({ healthy: false })), [['create', true]])
  t.alike(steps(said({ state: 'stopped' })), [['create', true]], 'a job that ended')
  t.alike(steps(said({ state: 'stopped', reason: ALONE })), [['create', false]])
  t.alike(steps(said({}, [])), [['create', false]], 'of whom nothing is heard does not count')
  t.is(shown(said({}, []))[2], 'waits for demo/db to run; no node in reach has one')
})

test('order - one that is here counts as the engine shows it', (t) => {
  const db = container('db', 'running')
  const w = of({ containers: [db] })
  t.alike(steps(w), [['create', false]])
  const memory = healthNoted(w.memory, 'demo/db/0', db.id, { healthy: true, failures: 0, since: 0 })
  t.alike(steps({ ...w, memory }), [['create', true]])
  const unchecked = of({ db: { revision: 'd' }, containers: [db] })
  t.alike(steps(unchecked), [['create', true]], 'whose health nobody looks at: it runs')
})

test('order - what came up is held by nobody: neither its restart nor another revision', (t) => {
  const ran = of({ containers: [container('web', 'running')] })
  t.alike(steps(ran), [], 'it runs though what it depends on does not')
  const ended = observed({ ...ran, containers: [container('web', 'exited')], now: 6_000 })
  t.alike(steps({ ...ended, now: 60_000 }), [['start', true]], 'it ended by itself')
  const web = { ...WEB, revision: 'b' }
  const other = of({ web, containers: [container('web', 'running')] })
  t.alike(steps(other), [['create', true]], 'another revision comes up beside it')
  const stopFirst = { ...web, update: { order: 'stopFirst' as const } }
  const between = of({ web: stopFirst, containers: [container('web', 'running')] })
  const swapped = observed({ ...between, containers: [container('web', 'created', 'b')] })
  t.alike(steps(swapped), [['start', true]], 'and in place of it')
})

test('order - after a reboot it waits: nobody saw it run', (t) => {
  const rebooted = of({ containers: [container('web', 'exited')] })
  t.alike(steps(rebooted), [])
  t.alike(shown(rebooted).slice(0, 2), ['starting', true])
})

test('order - what was stopped, or has no replicas, is waited for and says so', (t) => {
  const why = (over: Partial<MicroserviceSpec>) => shown(of({ db: { ...DB, ...over } }))[2]
  t.is(why({ stopped: true }), 'waits for demo/db to be healthy, which is stopped')
  t.is(why({ replicas: 0 }), 'waits for demo/db to be healthy, which has 0 replicas')
})

test('order - what is gone, or waits for it in turn, is not waited for', (t) => {
  t.alike(steps(of({ db: null })), [['create', true]])
  const db = { ...DB, dependsOn: { web: 'started' as const } }
  t.alike(steps(of({ db })), [['create', true]])
  const itself = { revision: 'a', dependsOn: { web: 'started' as const } }
  t.alike(steps(of({ web: itself })), [['create', true]])
  const bad = { revision: 'a', dependsOn: { db: 'soon' } as unknown as { db: 'healthy' } }
  t.alike(steps(of({ web: bad })), [['create', true]], 'apply takes any: what is none is none')
})

test('order - a job that ended does not wait to begin again', (t) => {
  const web = { ...WEB, restart: 'on-failure' as const }
  const w = of({ web, containers: [container('web', 'exited')] })
  t.alike(shown(w).slice(0, 2), ['stopped', undefined])
})

test('order - what cannot be made says that, and not that it waits', (t) => {
  const w = of({ web: { ...WEB, image: null } })
  t.is(shown(w)[2], 'demo/web names no image for amd64')
})

test('order - it starts nothing before its time, in any world', (t) => {
  let held = 0
  check(world({ steps: false }), (w) => {
    for (const step of diff(w).steps) {
      if (!starts(step)) continue
      const unmet = unmetIn(w, step.ref.microservice, slotKey(step.ref))
      if (unmet !== null) return `${step.kind} of ${step.slot}, which depends on ${unmet}`
    }
    held += report(w, new Map(), 0).containers.filter(({ waits }) => waits).length
    return null
  })
  t.ok(held > 5, `${held} waited`)
})

test('order - it ends nothing, in any world: all but starts is as if nothing depended', (t) => {
  check(world({ steps: true }), (w) => {
    const microservices = new Map(
      [...w.view.microservices].map(([key, record]) => {
        const spec = { ...record.spec }
        delete spec.dependsOn
        return [key, { ...record, spec }] as const
      })
    )
    const free = { ...w, view: { ...w.view, microservices } }
    const ends = (of: World): string =>
      JSON.stringify(diff(of).steps.filter(({ kind }) => kind !== 'create' && kind !== 'start'))
    return ends(w) === ends(free) ? null : `${ends(w)} and not ${ends(free)}`
  })
  t.pass()
})

/** Brings something up that did not run: `create` may only make it. */
const starts = (step: Step): boolean =>
  step.kind === 'start' || (step.kind === 'create' && step.start)

/** The first dependency that is not up, for a slot that is to come up: said without `order.ts`. */
function unmetIn(w: World, name: string, key: string): string | null {
  const all = w.view.microservices
  const on = (of: string): string[] =>
    Object.keys(dependenciesOf(all.get(`demo/${of}`)?.spec ?? {})).filter((n) =>
      all.has(`demo/${n}`)
    )
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    from === to ||
    (!seen.has(from) && (seen.add(from), on(from).some((next) => reaches(next, to, seen))))
  if (w.memory.slots.get(key)?.cameUp === true) return null
  if (w.containers.some((c) => slotKey(c) === key && c.state === 'running')) return null
  for (const [of, condition] of Object.entries(
    dependenciesOf(all.get(`demo/${name}`)?.spec ?? {})
  )) {
    const record = all.get(`demo/${of}`)
    if (record === undefined || reaches(of, name)) continue
    if (record.spec.stopped === true) return of
    const here = w.containers.filter((c) => c.microservice === of)
    const there = [...w.status]
      .filter(([id]) => w.alive.has(id))
      .flatMap(([, body]) => body.containers.filter((c) => c.microservice === of))
    const isHealthy = (id: string, slot: string): boolean => {
      const health = w.memory.slots.get(slot)?.health
      if (health?.id !== id) return record.spec.healthcheck === null
      return health.healthy ?? record.spec.healthcheck === null
    }
    const isMet =
      condition === 'started'
        ? here.some((c) => c.state === 'running' || (c.state === 'exited' && c.exitCode === 0)) ||
          there.some((c) => c.state === 'running' || c.state === 'stopped')
        : here.some((c) => c.state === 'running' && isHealthy(c.id, slotKey(c))) ||
          there.some(
            (c) => c.state === 'running' && (c.healthy ?? record.spec.healthcheck === null)
          )
    if (!isMet) return of
  }
  return null
}

interface Parts {
  web?: { revision: string } & Partial<MicroserviceSpec>
  db?: ({ revision: string } & Partial<MicroserviceSpec>) | null
  containers?: EngineContainer[]
  /** What another node says. */
  other?: ContainerStatus[]
  alive?: string[]
}

/** `web` is placed here, `db` elsewhere. */
function of({ web = WEB, db = DB, containers = [], other = [], alive = ['other'] }: Parts): World {
  return observed({
    self: SELF,
    view: view(
      { web, ...(db && { db }) },
      {
        'web/0': { revision: web.revision },
        ...(db && { 'db/0': { node: 'other', revision: 'd' } })
      }
    ),
    ...{ containers, alive: new Set(alive), now: 5_000, listedAt: 5_000, aloneMs: null },
    status: new Map([['other', { containers: other, failing: [] }]]),
    engine: { kind: 'docker', arch: 'amd64' },
    memory: { slots: new Map(), revisions: new Map() }
  })
}

const observed = (w: World): World => ({ ...w, memory: observe(w, () => 0) })

const steps = (w: World): [string, boolean][] =>
  diff(w)
    .steps.filter(({ ref }) => ref.microservice === 'web')
    .map((step) => [step.kind, starts(step)])

function shown(w: World): [string | undefined, boolean | undefined, string | null | undefined] {
  const { containers } = report(w, new Map(), 0)
  const found = containers.find(({ microservice }) => microservice === 'web')
  return [found?.state, found?.waits, found?.reason]
}

function container(
  microservice: string,
  state: EngineContainer['state'],
  revision = microservice === 'web' ? 'a' : 'd'
): EngineContainer {
  return {
    ...{ id: `${microservice} ${revision}`, application: 'demo', microservice, slot: 0, revision },
    ...{ state, image: null, startedAt: 1, exitCode: state === 'exited' ? 0 : null },
    ...{ ports: [], filesDir: null, exposes: [], address: null }
  }
}

const status = (over: Partial<ContainerStatus>): ContainerStatus => ({
  ...{ application: 'demo', microservice: 'db', slot: 0, revision: 'd', placement: 'p' },
  ...{ state: 'running', healthy: null, since: 0, image: null, ports: [], reason: null },
  ...{ restarts: 0, ...over }
})
