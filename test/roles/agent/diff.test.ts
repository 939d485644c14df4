import test from 'brittle'
import { isStopped } from '../../../core/state/policies.ts'
import { microserviceKey, slotKey, type State } from '../../../core/state/state.ts'
import { ADOPTION_GRACE_MS, ANSWER_GOOD_MS, diff, STEADY_MS } from '../../../roles/agent/diff.ts'
import { ALONE, refusalOf, startsAgain } from '../../../roles/agent/duty.ts'
import type { EngineContainer } from '../../../roles/agent/engine.ts'
import {
  healthNoted,
  listed,
  observe,
  stepBegun,
  stepDone,
  type World
} from '../../../roles/agent/memory.ts'
import { report } from '../../../roles/agent/report.ts'
import type { Step } from '../../../roles/agent/steps.ts'
import { specWith } from '../../helpers/spec.ts'
import { HEALTHCHECK, SELF, view } from './views.ts'
import { check, world } from './worlds.ts'

test('diff - every world has a plan: a reason a step, a step a slot', (t) => {
  check(world({ steps: true }), (w) => {
    const plan = diff(w)
    for (const step of plan.steps) {
      if (step.reason.length < 5) return 'a step without a reason'
      const busy = w.memory.slots.get(step.slot)?.step ?? null
      if ((busy !== null) !== (step.kind === 'cancel')) return 'a second step in a slot'
      if (busy?.cancelled || (busy && busy.listAwaited !== null)) return 'called off twice'
      const placed = w.view.placements.get(step.slot)
      if (step.kind === 'create' && step.revision !== placed?.revision) return 'not what is placed'
    }
    for (const [key, { step }] of w.memory.slots) {
      if (step?.kind !== 'ask' || step.cancelled || step.listAwaited !== null) continue
      const useless = w.view.placements.get(key)?.op !== step.placement
      const off = plan.steps.some((s) => s.slot === key && s.kind === 'cancel')
      if (useless && !off) return 'asks for what is past'
    }
    if (new Set(plan.steps.map((s) => s.slot)).size !== plan.steps.length) return 'two in a slot'
    if (plan.againInMs !== null && !(plan.againInMs > 0)) return 'due in the past'
    return null
  })
  t.pass()
})

test('diff - the order of what it is given does not matter', (t) => {
  check(world({ steps: true }), (w) => {
    const turned: World = {
      ...w,
      containers: w.containers.toReversed(),
      memory: { ...w.memory, slots: new Map([...w.memory.slots].reverse()) },
      view: { ...w.view, placements: new Map([...w.view.placements].reverse()) }
    }
    const same = JSON.stringify(diff(w)) === JSON.stringify(diff(turned))
    return same ? null : 'another plan'
  })
  t.pass()
})

test('diff - a running copy that is asked for ends for its placement’s revision, or after a yes', (t) => {
  check(world({ steps: true }), (w) => {
    for (const step of diff(w).steps) {
      for (const container of touched(step, w)) {
        if (container.state !== 'running') continue
        if (step.kind === 'remove') return 'removed while it runs'
        const why = mayEnd(step, container, w)
        if (why !== null) return why
      }
    }
    return null
  })
  t.pass()
})

test('diff - what runs as placed is left alone', (t) => {
  check(world({ steps: false }), (w) => {
    for (const step of diff(w).steps)
      for (const c of touched(step, w)) {
        const placed = w.view.placements.get(slotKey(c))
        const asPlaced = placed?.node === SELF && placed.revision === c.revision
        const record = w.view.microservices.get(`demo/${c.microservice}`)
        const known = record !== undefined && !isStopped(record.spec)
        if (known && asPlaced && c.state === 'running' && step.kind !== 'restart')
          return `${step.kind} of an adopted container`
      }
    return null
  })
  t.pass()
})

test('diff - steps lead to what is placed, and then there are none', (t) => {
  check(world({ steps: false }), (start) => {
    let w = start
    for (let round = 0; round < 60; round++) {
      w = { ...w, listedAt: w.now, memory: observe(w, () => 0.5) }
      const plan = diff(w)
      if (plan.steps.length === 0 && plan.againInMs === null) return wrongAtRest(w)
      for (const step of plan.steps) w = take(step, w)
      w = { ...w, memory: listed(w.memory, 1) }
      if (plan.steps.length === 0) w = { ...w, now: w.now + (plan.againInMs ?? 0) }
    }
    return 'no rest'
  })
  t.pass()
})

test('diff - startFirst: the old one ends when the new one is up, and not before', (t) => {
  const B = { revision: 'b', healthcheck: HEALTHCHECK }
  const state = view({ web: B }, { 'web/0': { revision: 'b' } })
  let w = worldOf(state, [copy('a', 'running')])
  t.alike(kinds(w), ['create'])
  const [made] = diff(w).steps
  t.is(made?.kind === 'create' && made.start, true, 'beside the old one')
  w = worldOf(state, [copy('a', 'running'), copy('b', 'running')])
  t.alike(kinds(w), [], 'its health is not known yet')
  t.alike(kinds(health(w, 'b', false)), ['restart'], 'a bad one is tried again, the old one serves')
  const [step] = diff(health(w, 'b', true)).steps
  t.is(step?.kind === 'stop' && step.ids.join(), 'a')
})

test('diff - startFirst without a healthcheck: up is a second of running', (t) => {
  const state = view({ web: { revision: 'b' } }, { 'web/0': { revision: 'b' } })
  const w = worldOf(state, [copy('a', 'running'), copy('b', 'running')])
  t.alike(diff(w), { steps: [], againInMs: STEADY_MS, needsList: false })
  const due = w.now + STEADY_MS
  t.alike(
    diff({ ...w, now: due }),
    { steps: [], againInMs: null, needsList: true },
    'it may have ended'
  )
  t.alike(kinds({ ...w, now: due, listedAt: due }), ['stop'])
})

test('diff - stopFirst, asked for or for a fixed port: made, then the old one ends, then it starts', (t) => {
  for (const over of [
    { update: { order: 'stopFirst' as const } },
    { ports: [{ container: 80, host: 8080, protocol: 'tcp' as const }] }
  ]) {
    const state = view({ web: { revision: 'b', ...over } }, { 'web/0': { revision: 'b' } })
    const [made] = diff(worldOf(state, [copy('a', 'running')])).steps
    t.is(made?.kind === 'create' && made.start, false)
    t.alike(kinds(worldOf(state, [copy('a', 'running'), copy('b', 'created')])), ['stop'])
    t.alike(kinds(worldOf(state, [copy('b', 'created')])), ['start'])
  }
})

test('diff - a revision that was called back takes nobody’s place', (t) => {
  const stopFirst = { update: { order: 'stopFirst' as const } }
  const state = view({ web: { revision: 'a', ...stopFirst } }, { 'web/0': { revision: 'b' } })
  const w = worldOf(state, [copy('a', 'running'), copy('b', 'running')])
  t.alike(kinds({ ...w, now: w.now + 60_000 }), [])
})

test('diff - stopAfter: a node that is alone for so long stops its copy, and runs it again after', (t) => {
  const web = { revision: 'a', disconnect: { stopAfterMs: 60_000 } }
  const state = view({ web }, { 'web/0': { revision: 'a' } })
  const w = worldOf(state, [copy('a', 'running')])
  t.alike(diff({ ...w, aloneMs: 59_000 }), { steps: [], againInMs: 1_000, needsList: false })
  const [step] = diff({ ...w, aloneMs: 60_000 }).steps
  t.alike([step?.kind, step?.reason], ['stop', ALONE])
  const stopped = worldOf(state, [])
  t.alike(diff({ ...stopped, aloneMs: 60_000 }), { steps: [], againInMs: null, needsList: false })
  t.is(report({ ...stopped, aloneMs: 60_000 }, new Map(), 0).containers[0]?.reason, ALONE)
  t.alike(kinds({ ...stopped, aloneMs: null }), ['create'])
  const plain = worldOf(view({ web: { revision: 'a' } }, { 'web/0': { revision: 'a' } }), [])
  t.alike(kinds({ ...plain, aloneMs: 9_000_000 }), ['create'], 'unset: it runs whatever happens')
})

test('diff - what was placed before the record moved on is made of what it was', (t) => {
  const state = view({ web: { revision: 'b', image: 'x:2' } }, { 'web/0': { revision: 'a' } })
  const of = state.microservices.get('demo/web')?.op ?? ''
  const from = { revision: 'a', spec: specWith({ image: 'x:1' }), op: 'o' }
  state.rollouts.set('demo/web', {
    ...{ application: 'demo', microservice: 'web', of, revision: 'b', from, state: 'running' },
    ...{ promoted: false, reason: null, log: [], op: of, by: SELF, at: 0 }
  })
  const [step] = diff(worldOf(state, [])).steps
  t.is(step?.kind === 'create' && step.spec.image, 'x:1')
})

test('diff - the minute counts: a wait ends exactly when it is due', (t) => {
  const state = view({ web: { revision: 'a' } }, { 'web/0': { node: 'other', revision: 'a' } })
  const running: EngineContainer = {
    id: 'c',
    application: 'demo',
    microservice: 'web',
    slot: 0,
    revision: 'a',
    image: null,
    state: 'running',
    startedAt: 1,
    exitCode: null,
    ports: [],
    exposes: [],
    filesDir: null,
    address: null
  }
  let w: World = {
    self: SELF,
    view: state,
    ...{ alive: new Set(['other']), status: new Map(), listedAt: 5_000 },
    engine: { kind: 'docker', arch: 'amd64' },
    aloneMs: null,
    containers: [running],
    memory: { slots: new Map(), revisions: new Map() },
    now: 5
  }
  w = { ...w, memory: observe(w, () => 0) }
  t.alike(diff(w), { steps: [], againInMs: ADOPTION_GRACE_MS, needsList: false })
  w = { ...w, now: 5 + ADOPTION_GRACE_MS - 1 }
  t.alike(diff(w), { steps: [], againInMs: 1, needsList: false })
  w = { ...w, now: 5 + ADOPTION_GRACE_MS }
  t.is(diff(w).steps[0]?.kind, 'ask')
})

function copy(revision: string, state: EngineContainer['state']): EngineContainer {
  return {
    ...{ id: revision, application: 'demo', microservice: 'web', slot: 0, revision, state },
    ...{
      image: null,
      startedAt: 1,
      exitCode: null,
      ports: [],
      filesDir: null,
      exposes: [],
      address: null
    }
  }
}

function worldOf(view: State, containers: EngineContainer[]): World {
  const w: World = {
    ...{ self: SELF, view, containers, now: 5_000 },
    ...{ alive: new Set(['other']), status: new Map(), listedAt: 5 },
    engine: { kind: 'docker', arch: 'amd64' },
    aloneMs: null,
    memory: { slots: new Map(), revisions: new Map() }
  }
  return { ...w, memory: observe(w, () => 0) }
}

function health(w: World, id: string, healthy: boolean): World {
  const memory = healthNoted(w.memory, 'demo/web/0', id, { healthy, failures: 1, since: 0 })
  return { ...w, memory }
}

const kinds = (w: World): string[] => diff(w).steps.map(({ kind }) => kind)

function touched(step: Step, w: World): EngineContainer[] {
  if (step.kind === 'stop' || step.kind === 'remove')
    return w.containers.filter((c) => step.ids.includes(c.id))
  return step.kind === 'restart' ? w.containers.filter((c) => c.id === step.id) : []
}

function mayEnd(step: Step, container: EngineContainer, w: World): string | null {
  const key = slotKey(container)
  const record = w.view.microservices.get(
    microserviceKey({ application: container.application, name: container.microservice })
  )
  const placed = w.view.placements.get(key)
  const replicas = record?.spec.replicas ?? 0
  const asked =
    record &&
    !isStopped(record.spec) &&
    (placed || (replicas !== 'all' && container.slot < replicas))
  if (!asked) return null
  const memory = w.memory.slots.get(key)
  if (placed?.node === SELF) {
    if (step.kind === 'restart')
      return memory?.health?.healthy === false && memory.health.id === container.id
        ? null
        : 'a healthy one restarted'
    if (container.revision === placed.revision) return 'stopped though it is placed here'
    const next = w.containers.find((c) => slotKey(c) === key && c.revision === placed.revision)
    return next ? null : 'stopped before the next is made'
  }
  if (!placed) return 'stopped though placed nowhere'
  const { answer = null, lostAt = null } = memory ?? {}
  if (lostAt === null || w.now - lostAt < ADOPTION_GRACE_MS) return 'stopped in the grace'
  if (!answer?.yes || answer.placement !== placed.op) return 'stopped without a yes'
  return w.now - answer.at > ANSWER_GOOD_MS ? 'stopped for an old yes' : null
}

/** The step, done at once and with success. */
function take(step: Step, w: World): World {
  let { containers } = w
  const set = (id: string, change: Partial<EngineContainer>) => {
    containers = containers.map((c) => (c.id === id ? { ...c, ...change } : c))
  }
  let started: string | undefined
  switch (step.kind) {
    case 'create': {
      const id = `${step.slot}@${step.revision}`
      const state = step.start ? 'running' : 'created'
      const made = { ...step.ref, id, revision: step.revision, image: null, state } as const
      const rest = {
        startedAt: 1,
        exitCode: null,
        ports: [],
        filesDir: null,
        exposes: [],
        address: null
      }
      containers = [...containers, { ...made, ...rest }]
      if (step.start) started = id
      break
    }
    case 'start':
    case 'restart':
      set(step.id, { state: 'running', exitCode: null })
      started = step.id
      break
    case 'stop':
    case 'remove':
      containers = containers.filter((c) => !step.ids.includes(c.id))
      break
    case 'ask':
    case 'cancel':
  }
  const begun = stepBegun(w.memory, step)
  const memory = stepDone(begun, step, { started, yes: true }, w.now, 0, 0.5)
  return { ...w, containers, memory }
}

function wrongAtRest(w: World): string | null {
  for (const [key, placed] of w.view.placements) {
    const record = w.view.microservices.get(`demo/${placed.microservice}`)
    if (
      !record ||
      isStopped(record.spec) ||
      placed.node !== SELF ||
      record.revision !== placed.revision
    )
      continue
    if (refusalOf(record, w.engine) !== null) continue
    const all = w.containers.filter((c) => slotKey(c) === key)
    const copy = all.find((c) => c.revision === placed.revision) ?? all[0]
    const said = report(w, new Map(), 0).containers.find((c) => slotKey(c) === key)
    // What it depends on stays away: it is ready, and no more.
    if (said?.waits === true && copy !== undefined && copy.state !== 'running') continue
    if (!copy) return 'nothing was made'
    const health = w.memory.slots.get(key)?.health
    const isUp =
      copy.state === 'running' &&
      (record.spec.healthcheck === null || (health?.id === copy.id && health.healthy === true))
    const isDone = copy.state === 'exited' && copy.exitCode === 0
    if (all.length > 1 && (isUp || isDone)) return 'two copies at rest'
    if (copy.revision !== placed.revision) return 'another revision at rest'
    const ended = copy.state === 'exited' && !startsAgain(record.spec, copy.exitCode)
    if (copy.state !== 'running' && !ended) return `${copy.state} at rest`
  }
  for (const c of w.containers) {
    const record = w.view.microservices.get(`demo/${c.microservice}`)
    if (!record || isStopped(record.spec)) return 'a container nobody asks for'
    const placed = w.view.placements.get(slotKey(c))
    if (placed && placed.node !== SELF && w.alive.has(placed.node)) return 'never handed over'
  }
  return null
}
