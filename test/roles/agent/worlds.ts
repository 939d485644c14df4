/** Random worlds for the Agent's deciders: whatever a view, an engine and a memory may hold at once. */
import fc from 'fast-check'
import type { StatusBody } from '../../../core/gossip-records.ts'
import { slotKey, type State } from '../../../core/state/state.ts'
import type { SlotRef } from '../../../roles/agent/duty.ts'
import type { EngineContainer } from '../../../roles/agent/engine.ts'
import { newSlot, type SlotMemory, type World } from '../../../roles/agent/memory.ts'
import { HEALTHCHECK, SELF, view } from './views.ts'

const NAMES = ['web', 'db']
const SLOTS = [0, 1, 2]
const REFS: SlotRef[] = NAMES.flatMap((microservice) =>
  SLOTS.map((slot) => ({ application: 'demo', microservice, slot }))
)
const NOW = 100_000
const revision = fc.constantFrom('r1', 'r2')
const time = fc.constantFrom(null, NOW - 20_000, NOW - 500, NOW + 700, NOW + 5000)

const condition = fc.constantFrom('started' as const, 'healthy' as const)
/** On what is there, on itself, on what is not: apply takes any. */
const dependsOn = fc.dictionary(fc.constantFrom(...NAMES, 'cache'), condition, {
  minKeys: 1,
  maxKeys: 2
})

const record = fc.record({
  revision,
  dependsOn: fc.oneof(fc.constant(undefined), dependsOn),
  stopped: fc.constantFrom(undefined, undefined, undefined, true),
  replicas: fc.constantFrom(0, 1, 2, 3, 'all' as const),
  restart: fc.constantFrom('always' as const, 'on-failure' as const, 'no' as const),
  image: fc.constantFrom('local/node:20', 'local/node:20', null),
  healthcheck: fc.constantFrom(null, HEALTHCHECK)
})

const placement = fc.record({
  node: fc.constantFrom(SELF, SELF, 'other', 'third'),
  revision,
  op: fc.constantFrom('op1', 'op2')
})

const viewOf: fc.Arbitrary<State> = fc
  .tuple(
    fc.tuple(...NAMES.map(() => fc.option(record, { freq: 5 }))),
    fc.tuple(...REFS.map(() => fc.option(placement, { freq: 3 })))
  )
  .map(([records, placements]) =>
    view(
      Object.fromEntries(NAMES.flatMap((n, i) => (records[i] ? [[n, records[i]]] : []))),
      Object.fromEntries(
        REFS.flatMap((r, i) =>
          placements[i] ? [[`${r.microservice}/${r.slot}`, placements[i]]] : []
        )
      )
    )
  )

const containers: fc.Arbitrary<EngineContainer[]> = fc
  .uniqueArray(
    fc.tuple(
      fc.constantFrom(...REFS),
      fc.constantFrom('r1', 'r2', 'r0'),
      fc.constantFrom(
        'created' as const,
        'running' as const,
        'running' as const,
        'exited' as const
      ),
      fc.constantFrom(0, 1)
    ),
    { selector: ([ref, rev]) => `${slotKey(ref)}@${rev}`, maxLength: 9 }
  )
  .map((all) =>
    all.map(([ref, rev, state, exitCode]) => ({
      ...ref,
      id: `${slotKey(ref)}@${rev}`,
      revision: rev,
      image: 'local/node:20',
      state,
      startedAt: state === 'created' ? null : 1,
      exitCode: state === 'exited' ? exitCode : null,
      ports: [],
      exposes: [],
      filesDir: null,
      address: null
    }))
  )

const status: fc.Arbitrary<StatusBody> = fc
  .array(
    fc.record({
      ref: fc.constantFrom(...REFS),
      state: fc.constantFrom('starting' as const, 'running' as const, 'stopped' as const),
      healthy: fc.constantFrom(null, true, false)
    }),
    { maxLength: 3 }
  )
  .map((all) => ({
    containers: all.map(({ ref, ...over }) => ({
      ...{ ...ref, revision: 'r1', placement: 'op1', since: 0, image: null, ports: [] },
      ...{ reason: null, restarts: 0, ...over }
    })),
    failing: []
  }))

const step: fc.Arbitrary<SlotMemory['step']> = fc.record({
  kind: fc.constantFrom('create', 'start', 'restart', 'stop', 'remove', 'ask'),
  revision,
  placement: fc.constantFrom('op1', 'op2'),
  phase: fc.constant('starting'),
  cancelled: fc.boolean(),
  listAwaited: fc.constantFrom(null, 1)
})

function memoryOf(ref: SlotRef, steps: boolean): fc.Arbitrary<SlotMemory> {
  return fc
    .record({
      revision: fc.option(revision),
      step: steps ? fc.option(step, { freq: 2 }) : fc.constant(null),
      cameUp: fc.constantFrom(false, false, true),
      run: fc.record({ attempts: fc.nat(5), at: time }),
      end: fc.record({ attempts: fc.nat(5), at: time }),
      lostAt: fc.constantFrom(null, NOW - 20_000, NOW - 10_000, NOW - 9_999, NOW),
      askAt: time,
      answer: fc.option(
        fc.record({
          placement: fc.constantFrom('op1', 'op2'),
          yes: fc.boolean(),
          at: fc.constantFrom(NOW, NOW - 900, NOW - 1100)
        })
      ),
      health: fc.option(
        fc.record({
          id: fc.constantFrom('r1', 'r2').map((r) => `${slotKey(ref)}@${r}`),
          healthy: fc.constantFrom(null, true, false),
          failures: fc.nat(3),
          since: fc.constant(0)
        })
      ),
      ran: fc.option(
        revision.map((r) => ({ id: `${slotKey(ref)}@${r}`, revision: r, at: NOW - 1000 }))
      )
    })
    .map((memory) => ({ ...newSlot(ref), ...memory }))
}

/** `steps`: whether some are in flight. */
export const world = ({ steps }: { steps: boolean }): fc.Arbitrary<World> =>
  fc
    .record({
      view: viewOf,
      containers,
      slots: fc.tuple(...REFS.map((ref) => fc.option(memoryOf(ref, steps)))),
      alive: fc.subarray([SELF, 'other', 'third']),
      said: fc.tuple(status, status),
      listedAt: fc.constantFrom(NOW, NOW, NOW - 2_000)
    })
    .map(({ view, containers, slots, alive, said: [other, third], listedAt }) => ({
      self: SELF,
      view,
      alive: new Set(alive),
      listedAt,
      status: new Map([
        ['other', other],
        ['third', third]
      ]),
      engine: { kind: 'docker', arch: 'amd64' },
      aloneMs: null,
      containers,
      memory: {
        slots: new Map(slots.flatMap((slot) => (slot ? [[slotKey(slot), slot]] : []))),
        revisions: new Map()
      },
      now: NOW
    }))

/** Fails with the sentence `property` gives for a world. */
export function check(worlds: fc.Arbitrary<World>, property: (w: World) => string | null): void {
  fc.assert(
    fc.property(worlds, (w) => {
      const broken = property(w)
      if (broken !== null) throw new Error(broken)
    }),
    { numRuns: 1000 }
  )
}
