import test from 'brittle'
import {
  EMPTY_MEMORY,
  failingRevisions,
  fromSaved,
  observe,
  stepBegun,
  stepFailed,
  toSaved,
  type Memory,
  type StepFailure,
  type World
} from '../../../roles/agent/memory.ts'
import { RESTART } from '../../../roles/agent/backoff.ts'
import type { Step } from '../../../roles/agent/steps.ts'
import { SELF, view } from './views.ts'

const START: Step = {
  kind: 'start',
  slot: 'demo/web/0',
  ref: { application: 'demo', microservice: 'web', slot: 0 },
  reason: 'a test',
  revision: 'a',
  id: 'c'
}

test('memory - five failures of a revision in five minutes make it failing, four do not', (t) => {
  t.alike(failingRevisions(failed([0, 1, 2, 3])), [])
  t.alike(failingRevisions(failed([0, 1, 2, 3, 299_999])), ['demo/web@a'])
  t.alike(failingRevisions(failed([0, 1, 2, 3, 300_000])), [])
})

test('memory - what is not the revision’s fault does not count', (t) => {
  t.alike(failingRevisions(failed([0, 1, 2, 3, 4], { excused: true })), [])
  t.alike(failingRevisions(failed([0, 1, 2, 3, 4], { cancelled: true })), [])
})

test('memory - failing ends after an hour, or with another revision', (t) => {
  const memory = failed([0, 1, 2, 3, 4])
  t.alike(failingRevisions(observe(worldAt(3_600_003, 'a', memory), () => 0)), ['demo/web@a'])
  t.alike(failingRevisions(observe(worldAt(3_600_004, 'a', memory), () => 0)), [])
  t.alike(failingRevisions(observe(worldAt(5, 'b', memory), () => 0)), [])
})

test('memory - is kept as ages, so that a boot clock may start again', (t) => {
  const memory = failed([1000, 1001, 1002, 1003, 1004])
  const saved = toSaved(memory, [], 61_004)
  const back = fromSaved(JSON.parse(JSON.stringify(saved)) as typeof saved, 0)
  t.is(back.revisions.get('demo/web@a')?.failingSince, -60_000)
  t.alike(failingRevisions(observe(worldAt(3_539_999, 'a', back), () => 0)), ['demo/web@a'])
  t.alike(failingRevisions(observe(worldAt(3_540_000, 'a', back), () => 0)), [])
})

function failed(times: number[], over: Partial<StepFailure> = {}): Memory {
  const failure = { sentence: 'No.', policy: RESTART, excused: false, cancelled: false, ...over }
  return times.reduce<Memory>(
    (memory, at) => stepFailed(stepBegun(memory, START), START, failure, at, 0, 0),
    EMPTY_MEMORY
  )
}

function worldAt(now: number, revision: string, memory: Memory): World {
  return {
    self: SELF,
    view: view({ web: { revision } }, { 'web/0': { revision } }),
    alive: new Set(),
    engine: { kind: 'docker', arch: 'amd64' },
    ...{ aloneMs: null, status: new Map(), listedAt: now },
    containers: [],
    memory,
    now
  }
}
