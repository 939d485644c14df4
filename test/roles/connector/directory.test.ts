import fc from 'fast-check'
import test from 'brittle'
import type { ContainerStatus, StatusBody } from '../../../core/gossip-records.ts'
import { slotKey, type PlacementRecord } from '../../../core/state/state.ts'
import {
  directory,
  nearestFirst,
  placeOf,
  type DirectoryInput,
  type Replica,
  type Vicinity
} from '../../../roles/connector/directory.ts'
import { emptyState } from '../../../core/state/read.ts'
import { microservice, node } from '../../sim/worlds.ts'

const CHECK = {
  command: ['true'],
  shell: false,
  intervalMs: 1_000,
  timeoutMs: 1_000,
  retries: 1,
  startPeriodMs: 0
}

const NODES = ['a', 'b', 'c']
const STATES = ['starting', 'running', 'restarting', 'stopping', 'retiring', 'failed'] as const

const container = fc.record({
  slot: fc.integer({ min: 0, max: 3 }),
  state: fc.constantFrom(...STATES),
  healthy: fc.constantFrom(true, false, null),
  exposes: fc
    .subarray([80, 5432, 53])
    .map((all) => all.map((n) => ({ container: n, protocol: 'tcp' as const })))
})

const world = fc.record({
  checked: fc.boolean(),
  alive: fc.subarray(NODES),
  placed: fc.array(fc.constantFrom(...NODES, null), { minLength: 4, maxLength: 4 }),
  on: fc.array(fc.array(container, { maxLength: 3 }), { minLength: 3, maxLength: 3 })
})

test('directory - only what is alive, runs, is well and still asked for is in an answer', (t) => {
  let served = 0
  fc.assert(
    fc.property(world, (given) => {
      const input = inputOf(given)
      const { replicas } = directory(input).get('app/web') ?? { replicas: [] }
      served += replicas.length
      for (const replica of replicas) {
        const reports = input.status.get(replica.node)?.containers ?? []
        const good = reports.filter(
          ({ slot, state, healthy }) =>
            slot === replica.slot &&
            (state === 'running' || state === 'retiring') &&
            healthy !== false &&
            (!given.checked || healthy === true)
        )
        if (!input.alive.has(replica.node) || good.length === 0) return false
        if (!input.state.placements.has(slotKey(replica))) return false
      }
      return true
    })
  )
  t.ok(served > 0, `${served} answers`)
})

test('directory - a service outside is where nodes are in reach that dial it', (t) => {
  fc.assert(
    fc.property(
      fc.subarray(NODES),
      fc.subarray(NODES),
      fc.constantFrom(null, ...NODES),
      fc.boolean(),
      (alive, labelled, pinned, negated) => {
        const nodes = new Map(
          NODES.map((id) => [
            id,
            node(id, { labels: labelled.includes(id) ? { site: 'plant' } : {} })
          ])
        )
        const spec = {
          host: '192.168.0.7',
          ports: [{ port: 502, protocol: 'tcp' as const }],
          node: pinned,
          constraints: [negated ? 'site!=plant' : 'site=plant'],
          allow: ['bills']
        }
        const record = { application: 'app', name: 'plc', spec, op: 'a.1', by: 'a', at: 0 }
        const state = { ...emptyState(), nodes, services: new Map([['app/plc', record]]) }
        const found = directory({ state, alive: new Set(alive), status: new Map() }).get('app/plc')
        const expected = NODES.filter(
          (id) =>
            alive.includes(id) &&
            labelled.includes(id) !== negated &&
            (pinned === null || pinned === id)
        )
        t.alike(
          found?.replicas.map(({ node }) => node),
          expected
        )
        t.is(new Set(found?.replicas.map(({ slot }) => slot)).size, expected.length)
      }
    ),
    { numRuns: 50 }
  )
})

test('directory - a placed replica that runs and is well is never left out', (t) => {
  fc.assert(
    fc.property(world, (given) => {
      const input = inputOf(given)
      const { replicas } = directory(input).get('app/web') ?? { replicas: [] }
      for (const node of input.alive) {
        for (const { slot, state, healthy } of input.status.get(node)?.containers ?? []) {
          const mine = input.state.placements.get(`app/web/${slot}`)?.node === node
          if (mine && state === 'running' && healthy === true) {
            if (!replicas.some((each) => each.slot === slot && each.node === node)) return false
          }
        }
      }
      return true
    })
  )
  t.pass('in no world')
})

test('directory - the ports it publishes, and those the images of who serves listen on', (t) => {
  const said = (slot: number, exposes: number[]): Given['on'][number][number] => ({
    slot,
    state: 'running',
    healthy: true,
    exposes: exposes.map((container) => ({ container, protocol: 'tcp' }))
  })
  const of = (alive: string[]): number[] | undefined =>
    directory(
      inputOf({
        checked: false,
        alive,
        placed: ['a', 'b', null, null],
        on: [[said(0, [5432])], [said(1, [5432, 80])], []]
      })
    )
      .get('app/web')
      ?.ports.map(({ container }) => container)
  t.alike(of(['a', 'b']), [80, 5432])
  t.alike(of(['a']), [5432], 'what is not in reach says nothing')
})

test('directory - the same answer whatever the order of what is known', (t) => {
  fc.assert(
    fc.property(world, (given) => {
      const input = inputOf(given)
      const turned = {
        ...input,
        alive: new Set([...input.alive].reverse()),
        status: new Map([...input.status].reverse())
      }
      const text = (of: DirectoryInput): string => JSON.stringify([...directory(of)])
      return text(input) === text(turned)
    })
  )
  t.pass('in no world another')
})

test('directory - here first, then my zone, then the quicker link, then the less used', (t) => {
  const zones: Record<string, string> = { a: 'left', b: 'left', c: 'right', d: 'right' }
  const rtts: Record<string, number> = { b: 5, c: 1, d: 40 }
  const doubted = new Set<string>()
  const vicinity = (self: string, used: Record<string, number> = {}): Vicinity => ({
    self,
    zoneOf: (node) => zones[node] ?? null,
    rttMs: (node) => rtts[node] ?? null,
    flowsTo: ({ node }) => used[node] ?? 0,
    isDoubtful: (node) => doubted.has(node)
  })
  const all = ['d', 'c', 'b', 'a'].map((node, slot) => replica(node, slot))
  const order = (of: Vicinity, replicas = all): string =>
    nearestFirst(replicas, of)
      .map(({ node }) => node)
      .join('')
  t.is(order(vicinity('a')), 'abcd')
  t.is(order(vicinity('x')), 'cbda', 'one that no link tells of is last')
  rtts['b'] = 1.0
  zones['b'] = 'right'
  t.is(order(vicinity('a', { c: 2 })), 'abcd')
  t.is(order(vicinity('a', { b: 2 })), 'acbd')
  t.is(order(vicinity('a'), [replica('a', 0, true), replica('d', 1)]), 'da', 'what leaves is last')
  doubted.add('b')
  t.is(order(vicinity('a')), 'acdb', 'who kept a flow waiting is tried last')

  const said = (node: string, leaving = false): string =>
    placeOf(replica(node, 0, leaving), vicinity('a', { d: 2 }))
  t.is(said('a'), 'runs here')
  t.is(said('d'), '40 ms away, 2 under way')
  t.ok(said('b').includes('waiting'))
  t.ok(said('d', true).includes('about to end'))
  t.is(placeOf(replica('a', 0), vicinity('b')), 'no link tells how far')
  t.is(placeOf(replica('d', 0), vicinity('c')), 'in zone right as well, 40 ms away')
  rtts['d'] = 0.5873119999996561
  t.is(said('d'), '0.59 ms away, 2 under way')
})

const replica = (node: string, slot: number, leaving = false): Replica => ({
  application: 'app',
  microservice: 'web',
  slot,
  node,
  leaving
})

function inputOf({ checked, alive, placed, on }: Given): DirectoryInput {
  const record = microservice('web', { replicas: 4, healthcheck: checked ? CHECK : null })
  const placements = new Map<string, PlacementRecord>()
  for (const [slot, node] of placed.entries()) {
    const base = { application: 'app', microservice: 'web', slot, revision: 'r1', term: 1 }
    if (node !== null)
      placements.set(`app/web/${slot}`, { ...base, node, op: `a.${slot}`, by: 'a', at: 0 })
  }
  const status = new Map<string, StatusBody>(
    on.map((containers, i) => [
      NODES[i] ?? '',
      { containers: containers.map(statusOf), failing: [] }
    ])
  )
  const microservices = new Map([['app/web', record]])
  const none = { services: new Map(), nodes: new Map() }
  return { state: { ...none, microservices, placements }, alive: new Set(alive), status }
}

type Given = typeof world extends fc.Arbitrary<infer T> ? T : never

const statusOf = (given: Pick<ContainerStatus, 'slot' | 'state' | 'healthy'>): ContainerStatus => ({
  application: 'app',
  microservice: 'web',
  revision: 'r1',
  placement: null,
  since: 0,
  image: null,
  ports: [],
  reason: null,
  restarts: 0,
  ...given
})
