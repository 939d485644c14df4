import test from 'brittle'
import type { NodeRecord, PlacementRecord } from '../../../core/state/state.ts'
import type { ContainerStatus } from '../../../core/gossip-records.ts'
import { place, type PlaceInput, type Plan } from '../../../roles/controller/place.ts'
import { rebalance } from '../../../roles/controller/rebalance.ts'
import {
  carriedOut,
  container,
  DATA,
  DRAINED,
  facts,
  FILES,
  home,
  microservice,
  MIB,
  node,
  placement,
  USB,
  world
} from '../../sim/worlds.ts'

const abc = [node('a'), node('b'), node('c')]
const web = (over = {}, revision?: string) => microservice('web', over, revision)

test('place - new replicas go to different nodes', (t) => {
  const plan = place(world({ nodes: abc, microservices: [web({ replicas: 3 })] }))
  t.alike(on(plan), { 'web/0': 'a', 'web/1': 'b', 'web/2': 'c' })
  t.is(plan.againInMs, null)
})

test('place - among equals, the zone with fewer replicas, then the least used node, then the id', (t) => {
  const zones = [
    node('a', { labels: { zone: 'x' } }),
    node('b', { labels: { zone: 'x' } }),
    node('c', { labels: { zone: 'y' } })
  ]
  const spread = place(world({ nodes: zones, microservices: [web({ replicas: 2 })] }))
  t.alike(on(spread), { 'web/0': 'a', 'web/1': 'c' })
  const used = place(
    world({
      nodes: abc,
      microservices: [microservice('api'), web()],
      placements: [placement('api', 0, 'a')],
      runs: { a: [container('api', 0)] }
    })
  )
  t.alike(on(used), { 'web/0': 'b' })
})

test('place - among equals, the node of which the least is reserved, then the one with fewer replicas', (t) => {
  const takes = (cpus: number | null, mib: number | null) => ({
    resources: { cpus, memoryBytes: mib === null ? null : mib * MIB }
  })
  const chosen = (web: object, db: object, on: Partial<Parameters<typeof world>[0]> = {}) => {
    const { set } = place(
      world({
        nodes: [node('a'), node('b')],
        microservices: [microservice('api', db), microservice('web', web)],
        placements: [placement('api', 0, 'a')],
        runs: { a: [container('api', 0)] },
        ...on
      })
    )
    return set.map((s) => `${s.node}: ${s.reason}`)
  }
  t.alike(chosen({}, {}), ['b: b fits, and has fewer replicas than a'])
  t.alike(chosen({}, takes(1, null)), ['b: b fits, and has less reserved than a'])
  const crowded = {
    microservices: [
      microservice('api', takes(null, 512)),
      microservice('db', { replicas: 2 }),
      microservice('web', takes(null, 64))
    ],
    placements: [placement('api', 0, 'a'), placement('db', 0, 'b'), placement('db', 1, 'b')],
    runs: { a: [container('api', 0)], b: [container('db', 0), container('db', 1)] }
  }
  t.alike(
    chosen({}, {}, crowded),
    ['b: b fits, and has less reserved than a'],
    'with more replicas'
  )
  const large = { facts: { a: facts({ cpus: 64 }), b: facts({ cpus: 4 }) } }
  t.alike(
    chosen(takes(2, null), takes(2, null), large),
    ['a: a fits, and has less reserved than b'],
    'of a large node two cores are less'
  )
  t.alike(chosen({ node: 'b' }, {}), ['b: only b fits'])
})

test('place - a device: where it is plugged in; unplugged, where another is, or nowhere until it is back', (t) => {
  const plugged = (a: boolean, b: boolean, more: Partial<Parameters<typeof world>[0]> = {}) =>
    world({
      nodes: [node('a'), node('b')],
      microservices: [web({ devices: [USB] })],
      facts: {
        a: facts({ devices: { [USB.host]: a } }),
        b: facts({ devices: { [USB.host]: b } })
      },
      ...more
    })
  t.alike(on(place(plugged(false, true))), { 'web/0': 'b' })
  const runs = { placements: [placement('web', 0, 'b')], runs: { b: [container('web', 0)] } }
  const moved = place(plugged(true, false, runs))
  t.alike(on(moved), { 'web/0': 'a' })
  t.is(moved.set[0]?.reason, 'b lacks device /dev/ttyUSB0')
  const none = place(plugged(false, false, runs))
  t.is(none.rm.length, 1)
  t.is(none.waiting[0]?.reason, '2 nodes: 2 lack device /dev/ttyUSB0')
  const back = place(plugged(true, true, { runs: runs.runs }))
  t.alike(on(back), { 'web/0': 'b' }, 'what runs still is adopted')
  const unseen = world({
    ...{ nodes: [node('a'), node('b')], microservices: [web({ devices: [USB] })], ...runs }
  })
  t.alike(place(unseen).set, [], 'nobody has looked yet: it stays')
})

const NEVER = { image: 'local/app:1', pull: 'never' as const }
const hasImage = (...has: boolean[]) =>
  Object.fromEntries(
    has.map((is, i) => [
      'abc'.charAt(i),
      facts({ images: { 'local/app:1': is, 'local/app:0': true } })
    ])
  )

test('place - an image that may not be pulled: where it is, and nowhere until it is somewhere', (t) => {
  const nodes = [node('a'), node('b')]
  const microservices = [web({ ...NEVER, replicas: 2, placing: { maxPerNode: 1 } })]
  const one = place(world({ nodes, microservices, facts: hasImage(false, true) }))
  t.alike(on(one), { 'web/0': 'b' })
  t.is(
    one.waiting[0]?.reason,
    '2 nodes: 1 does not have image local/app:1 (pull: never), 1 has 1 of it already (maxReplicasPerNode)'
  )
  const both = place(world({ nodes, microservices, facts: hasImage(true, true) }))
  t.alike(on(both), { 'web/0': 'a', 'web/1': 'b' })
  const none = place(world({ nodes, microservices: [web(NEVER)], facts: hasImage(false, false) }))
  t.is(none.waiting[0]?.reason, '2 nodes: 2 do not have image local/app:1 (pull: never)')
  const unseen = place(world({ nodes, microservices: [web(NEVER)] }))
  t.is(
    unseen.waiting[0]?.reason,
    '2 nodes: 2 have not looked for image local/app:1 yet (nodes do once what is deployed asks for it)'
  )
})

test('place - an image that went: what runs stays; what does not run goes where it is, or stays', (t) => {
  const of = (has: boolean[], runs: ContainerStatus[]) =>
    place(
      world({
        ...{ nodes: [node('a'), node('b')], microservices: [web(NEVER)] },
        ...{ placements: [placement('web', 0, 'a')], facts: hasImage(...has), runs: { a: runs } }
      })
    )
  const isQuiet = ({ set, rm, waiting }: Plan) => set.length + rm.length + waiting.length === 0
  t.ok(isQuiet(of([false, true], [container('web', 0)])))
  t.ok(isQuiet(of([false, true], [container('web', 0, { state: 'restarting' })])))
  const failed = container('web', 0, { state: 'failed' })
  const moved = of([false, true], [failed])
  t.alike(on(moved), { 'web/0': 'b' })
  t.is(moved.set[0]?.reason, 'a does not have image local/app:1 (pull: never)')
  const nowhere = of([false, false], [failed])
  t.alike([nowhere.set, nowhere.rm], [[], []])
  t.ok(nowhere.waiting[0]?.reason.startsWith('a does not have image local/app:1 (pull: never); '))
  t.ok(isQuiet(of([true, true], [failed])), 'what fails for another reason stays')
})

test('place - a copy that runs is adopted where its image has gone', (t) => {
  const strayed = world({
    ...{ nodes: [node('a'), node('b')], microservices: [web(NEVER)] },
    ...{ placements: [placement('web', 0, 'a')], facts: hasImage(true, false) },
    runs: { b: [container('web', 0), container('web', 1)] }
  })
  t.alike(on(place(strayed)), { 'web/0': 'b' })
  const all = { ...strayed, state: world({ nodes: [node('a'), node('b')] }).state }
  all.state.microservices = new Map([['app/web', web({ ...NEVER, replicas: 'all' })]])
  t.alike(on(place(all)), { 'web/0': 'a', 'web/1': 'b' })
})

test('place - a node that is back with a copy that runs has it again, though its image has gone', (t) => {
  const back = world({
    ...{ nodes: [node('a'), node('b')], microservices: [web(NEVER)], facts: hasImage(false, true) },
    placements: [{ ...placement('web', 0, 'b'), moved: { from: 'a', why: 'silent' } }],
    runs: { a: [container('web', 0)], b: [container('web', 0, { state: 'starting' })] }
  })
  t.alike(on(place(back)), { 'web/0': 'a' })
})

test('place - a new revision whose image is not where the slot is goes to where it is, or waits', (t) => {
  const of = (has: boolean[], over = {}, silent = {}) =>
    place(
      world({
        ...{ nodes: [node('a'), node('b')], microservices: [web({ ...NEVER, ...over }, 'r2')] },
        ...{ placements: [placement('web', 0, 'a')], facts: hasImage(...has), silent },
        runs: { a: [container('web', 0)] }
      })
    )
  const moved = of([false, true])
  t.alike(on(moved), { 'web/0': 'b' })
  t.is(moved.set[0]?.reason, 'a does not have image local/app:1 (pull: never)')
  const nowhere = of([false, false])
  t.alike([nowhere.set, nowhere.rm], [[], []], 'what ran before runs on')
  t.is(
    nowhere.waiting[0]?.reason,
    'the new revision waits: 2 nodes: 2 do not have image local/app:1 (pull: never)'
  )
  const everywhere = of([false, true], { replicas: 'all' })
  t.alike(on(everywhere), { 'web/1': 'b' })
  t.is(
    everywhere.waiting[0]?.reason,
    'the new revision waits: a does not have image local/app:1 (pull: never)'
  )
  t.alike(on(of([true, true])), { 'web/0': 'a' })
  const silent = of([false, false], {}, { a: 1_000 })
  t.alike(on(silent), { 'web/0': 'a' }, 'who is silent has not looked for what is new')
})

test('place - files: where somebody in reach has them; else it waits for who has', (t) => {
  const of = (holds: Record<string, string[]>, more: Partial<Parameters<typeof world>[0]> = {}) =>
    place(world({ nodes: abc, microservices: [web({ files: FILES })], holds, ...more }))
  t.alike(on(of({ b: [FILES.digest] })), { 'web/0': 'a' }, 'others get them from b')
  t.is(of({}).waiting[0]?.reason, '3 nodes: 3 cannot get its files: no node in reach has them')
  const away = of({ c: [FILES.digest] }, { silent: { c: 40_000 } })
  t.is(
    away.waiting[0]?.reason,
    '3 nodes: 1 is silent since 40 s, 2 cannot get its files: they are on c, silent since 40 s'
  )
  t.is(away.againInMs, null, 'its news are waited for')
  const runs = { placements: [placement('web', 0, 'a')], runs: { a: [container('web', 0)] } }
  t.alike(of({}, runs).waiting, [], 'what runs has them')
  const renewed = of({}, { ...runs, microservices: [web({ files: FILES }, 'r2')] })
  t.alike([renewed.set, renewed.rm], [[], []])
  t.is(
    renewed.waiting[0]?.reason,
    'the new revision waits: 3 nodes: 3 cannot get its files: no node in reach has them'
  )
})

test('place - a label to spread over goes before nodes, wishes for company before both', (t) => {
  const racks = [
    node('a', { labels: { rack: '1' } }),
    node('b', { labels: { rack: '1' } }),
    node('c', { labels: { rack: '2' } })
  ]
  const spread = place(
    world({ nodes: racks, microservices: [web({ replicas: 4, placing: { spread: 'rack' } })] })
  )
  t.alike(on(spread), { 'web/0': 'a', 'web/1': 'c', 'web/2': 'b', 'web/3': 'c' })
  const beside = (placing: object): Record<string, string> =>
    on(
      place(
        world({
          nodes: abc,
          microservices: [microservice('db'), web({ replicas: 2, placing })],
          placements: [placement('db', 0, 'b')],
          runs: { b: [container('db', 0)] }
        })
      )
    )
  t.alike(beside({ near: ['db'] }), { 'web/0': 'b', 'web/1': 'b' })
  t.alike(beside({ apart: ['db'] }), { 'web/0': 'a', 'web/1': 'c' })
  const few = place(
    world({ nodes: abc, microservices: [web({ replicas: 4, placing: { maxPerNode: 1 } })] })
  )
  t.is(few.set.length, 3)
  t.alike(waits(few), { 'web/3': '3 nodes: 3 have 1 of it already (maxReplicasPerNode)' })
})

test('place - a slot that runs somewhere is placed there', (t) => {
  const plan = place(
    world({ nodes: abc, microservices: [web()], runs: { c: [container('web', 0)] } })
  )
  t.alike(on(plan), { 'web/0': 'c' })
})

test('place - an unplaced slot does not wait for the mesh to settle', (t) => {
  const plan = place(world({ nodes: abc, microservices: [web()], settledMs: 0 }))
  t.alike(on(plan), { 'web/0': 'a' })
})

const placedOnB = { microservices: [web()], placements: [placement('web', 0, 'b')] }

test('place - a silent node keeps its slot until lostAfter, and the plan says when that is', (t) => {
  const plan = place(world({ nodes: abc, ...placedOnB, silent: { b: 3200 } }))
  t.alike(on(plan), {})
  t.is(plan.againInMs, 1800)
  const then = place(world({ nodes: abc, ...placedOnB, silent: { b: 5000 } }))
  t.alike(on(then), { 'web/0': 'a' })
  t.is(then.set[0]?.reason, 'b is silent since 5 s')
})

test('place - a node that was given up is replaced at once, and counts for no side', (t) => {
  const lost = [
    node('a'),
    node('b', { lost: true }),
    node('c', { lost: true }),
    node('d', { lost: true })
  ]
  const silent = { b: 100, c: 100, d: 100 }
  const plan = place(world({ nodes: lost, ...placedOnB, silent }))
  t.alike(on(plan), { 'web/0': 'a' })
  t.is(plan.set[0]?.reason, 'b is given up')
  t.alike(on(place(world({ nodes: lost, ...placedOnB }))), {}, 'unless it is heard')
})

test('place - a node of which there is no sign at all has been silent long enough', (t) => {
  const input = world({ nodes: abc, ...placedOnB, silent: { b: 1 } })
  t.alike(on(place({ ...input, silentMs: new Map() })), { 'web/0': 'a' })
})

test('place - replace: auto needs half of the nodes that fit on this side', (t) => {
  const nodes = [...abc, node('d')]
  const half = place(world({ nodes, ...placedOnB, silent: { b: 9000, c: 9000 } }))
  t.alike(on(half), { 'web/0': 'a' }, 'a tie prefers availability')
  const less = place(world({ nodes, ...placedOnB, silent: { b: 9000, c: 9000, d: 9000 } }))
  t.alike(on(less), {})
  t.alike(waits(less), {
    'web/0': 'b is silent since 9 s; only 1 of the 4 nodes that fit are in reach'
  })
})

test('place - members that cannot run it, are pending or removed do not count for that half', (t) => {
  const nodes = [
    ...abc,
    node('d', { state: 'removed' }),
    node('e', { state: 'pending' }),
    node('f', { role: 'viewer' }),
    node('g')
  ]
  const silent = { b: 9000, c: 9000, d: 9000, e: 9000, f: 9000, g: 9000 }
  const none = facts({ engine: { kind: 'none', version: null, problem: null } })
  const alone = { c: none, g: facts({ arch: 'arm64' }) }
  const microservices = [web({ image: null, images: { amd64: 'local/web' } })]
  const placements = [placement('web', 0, 'b')]
  t.alike(on(place(world({ nodes, microservices, placements, silent, facts: alone }))), {
    'web/0': 'a'
  })
})

test('place - a pinned slot stays with its silent node', (t) => {
  const plan = place(
    world({ nodes: abc, ...placedOnB, microservices: [web({ node: 'b' })], silent: { b: 60_000 } })
  )
  t.alike(on(plan), {})
  t.alike(waits(plan), { 'web/0': 'b is silent since 60 s; pinned to it' })
})

test('place - what came back is not rebalanced', (t) => {
  const plan = place(
    world({
      nodes: abc,
      microservices: [web({ replicas: 2 })],
      placements: [placement('web', 0, 'a'), placement('web', 1, 'a')],
      runs: { a: [container('web', 0), container('web', 1)] }
    })
  )
  t.alike(on(plan), {})
})

test('place - a placed node that does not run the slot loses it to one that does', (t) => {
  const input = world({
    nodes: abc,
    ...placedOnB,
    runs: { c: [container('web', 0, { state: 'retiring', placement: null })] }
  })
  t.alike(on(place(input)), { 'web/0': 'c' })
  const failed = withContainer(input, 'b', container('web', 0, { state: 'failed' }))
  t.alike(on(place(failed)), { 'web/0': 'c' })
})

for (const state of ['pulling', 'starting', 'running', 'restarting', 'stopping'] as const) {
  test(`place - a placed node that is ${state} keeps the slot`, (t) => {
    const runs = { b: [container('web', 0, { state })], c: [container('web', 0)] }
    t.alike(on(place(world({ nodes: abc, ...placedOnB, runs }))), {})
  })
}

test('place - a node that has the slot back and still says retiring keeps it', (t) => {
  const retiring = container('web', 0, { state: 'retiring' })
  const runs = { b: [retiring], c: [container('web', 0)] }
  t.alike(on(place(world({ nodes: abc, ...placedOnB, runs }))), {})
})

test('place - a copy that is unhealthy, of other content or on an unfit node is not adopted', (t) => {
  const odd = [
    world({ nodes: abc, ...placedOnB, runs: { c: [container('web', 0, { healthy: false })] } }),
    world({ nodes: abc, ...placedOnB, runs: { c: [container('web', 0, { revision: 'r0' })] } }),
    world({
      nodes: [node('a'), node('b', { labels: { zone: 'x' } }), node('c')],
      ...placedOnB,
      microservices: [web({ constraints: ['zone=x'] })],
      runs: { c: [container('web', 0)] }
    })
  ]
  for (const input of odd) t.alike(on(place(input)), {})
})

test('place - nothing is adopted or replaced for a second after the mesh changed', (t) => {
  const adopt = world({ nodes: abc, ...placedOnB, runs: { c: [container('web', 0)] } })
  const replace = world({ nodes: abc, ...placedOnB, silent: { b: 9000 } })
  for (const input of [adopt, replace]) {
    const early = place({ ...input, settledMs: 400 })
    t.alike(on(early), {})
    t.is(early.againInMs, 600)
    t.is(Object.keys(on(place({ ...input, settledMs: 1000 }))).length, 1)
  }
})

test('place - a new revision is set where the slot is, silent or not, all at once', (t) => {
  const input = world({
    nodes: abc,
    microservices: [web({ replicas: 3 }, 'r2')],
    placements: ['a', 'b', 'c'].map((id, slot) => placement('web', slot, id)),
    silent: { c: 2000 },
    settledMs: 0
  })
  const plan = place(input)
  t.alike(on(plan), { 'web/0': 'a', 'web/1': 'b', 'web/2': 'c' })
  t.ok(plan.set.every((s) => s.revision === 'r2'))
})

test('place - scaling sets the new slots and touches no other', (t) => {
  const input = world({
    nodes: abc,
    microservices: [web({ replicas: 3 })],
    placements: [placement('web', 0, 'b'), placement('web', 1, 'b')],
    runs: { b: [container('web', 0), container('web', 1)] }
  })
  t.alike(on(place(input)), { 'web/2': 'a' })
})

test('place - a new revision that no longer has room moves, or waits where it is', (t) => {
  const big = web({ resources: { cpus: 3, memoryBytes: null } }, 'r2')
  const parts = {
    microservices: [microservice('api', { resources: { cpus: 2, memoryBytes: null } }), big],
    placements: [placement('api', 0, 'a'), placement('web', 0, 'a')]
  }
  t.alike(on(place(world({ nodes: [node('a'), node('b')], ...parts }))), { 'web/0': 'b' })
  const alone = place(world({ nodes: [node('a')], ...parts }))
  t.alike(on(alone), {})
  t.alike(alone.rm, [])
  t.alike(waits(alone), { 'web/0': 'the new revision waits: a has 2 cpus free of 3' })
})

test('place - a node an operator ruled out loses the slot', (t) => {
  const relabelled = place(
    world({
      nodes: [node('a'), node('b', { labels: { zone: 'x' } })],
      microservices: [web({ constraints: ['zone=x'] })],
      placements: [placement('web', 0, 'a')],
      runs: { a: [container('web', 0)] }
    })
  )
  t.alike(on(relabelled), { 'web/0': 'b' })
  t.is(relabelled.set[0]?.reason, 'a has no label zone=x')
  const removed = place(
    world({ nodes: [node('a'), node('b', { state: 'removed' })], ...placedOnB, silent: { b: 0 } })
  )
  t.alike(on(removed), { 'web/0': 'a' }, 'a removed node is not waited for')
})

test('place - a slot whose node was ruled out and that fits nowhere is taken off and waits', (t) => {
  const input = world({
    nodes: abc,
    microservices: [web({ constraints: ['zone=x'] })],
    placements: [placement('web', 0, 'a')]
  })
  const plan = place(input)
  t.alike(plan.rm, [
    { application: 'app', microservice: 'web', slot: 0, reason: 'a has no label zone=x' }
  ])
  t.alike(waits(plan), { 'web/0': '3 nodes: 3 have no label zone=x' })
})

test('place - an engine with a problem gets nothing new and keeps what it has', (t) => {
  const broken = facts({ engine: { kind: 'docker', version: null, problem: 'no answer' } })
  const none = facts({ engine: { kind: 'none', version: null, problem: null } })
  const nodes = [node('a')]
  for (const b of [broken, none, null]) {
    const fresh = place(world({ nodes, microservices: [web()], facts: { a: b } }))
    t.alike(on(fresh), {})
    t.is(fresh.waiting.length, 1)
    const kept = place(
      world({
        nodes: [node('a'), node('b')],
        microservices: [web()],
        placements: [placement('web', 0, 'a')],
        facts: { a: b }
      })
    )
    t.alike([on(kept), kept.rm], [{}, []])
  }
})

test('place - a node where the revision keeps failing is chosen last', (t) => {
  const failing = { a: ['app/web@r1'] }
  const plan = place(
    world({ nodes: [node('a'), node('b')], microservices: [web({ replicas: 2 })], failing })
  )
  t.alike(on(plan), { 'web/0': 'b', 'web/1': 'b' })
  const only = place(world({ nodes: [node('a')], microservices: [web()], failing }))
  t.alike(on(only), { 'web/0': 'a' })
})

test('place - a fixed host port is taken once a node, and the running replica keeps it', (t) => {
  const ports = [{ container: 80, host: 8080, protocol: 'tcp' as const }]
  const fresh = place(
    world({ nodes: [node('a'), node('b')], microservices: [web({ replicas: 3, ports })] })
  )
  t.alike(on(fresh), { 'web/0': 'a', 'web/1': 'b' })
  t.alike(waits(fresh), { 'web/2': '2 nodes: 2 have port 8080/tcp in use' })
  const clash = place(
    world({
      nodes: [node('a'), node('b')],
      microservices: [web({ replicas: 2, ports })],
      placements: [placement('web', 0, 'a'), placement('web', 1, 'a')],
      runs: { a: [container('web', 1)] }
    })
  )
  t.alike(on(clash), { 'web/0': 'b' })
})

const everywhere = web({ replicas: 'all' })

test('place - replicas: all takes every node that fits, silent ones too', (t) => {
  const nodes = [...abc, node('d', { role: 'viewer' })]
  const plan = place(world({ nodes, microservices: [everywhere], silent: { b: 90_000 } }))
  t.alike(on(plan), { 'web/0': 'a', 'web/1': 'b', 'web/2': 'c' })
})

test('place - a slot of replicas: all stays with its silent node, and goes when a label does', (t) => {
  const zoned = web({ replicas: 'all', constraints: ['zone=x'] })
  const x = { labels: { zone: 'x' } }
  const placements = [placement('web', 0, 'a'), placement('web', 1, 'b')]
  const silent = { b: 90_000 }
  const before = world({
    nodes: [node('a', x), node('b', x)],
    microservices: [zoned],
    placements,
    silent
  })
  const quiet = place(before)
  t.alike([on(quiet), quiet.rm, quiet.waiting], [{}, [], []])
  const nodes = [node('a', x), node('b'), node('c', x)]
  const after = place(world({ nodes, microservices: [zoned], placements, silent }))
  t.alike(on(after), { 'web/2': 'c' }, 'a new node gets a slot number of its own')
  t.is(after.rm[0]?.slot, 1)
})

test('place - replicas: all keeps of two slots on one node the one that runs', (t) => {
  const plan = place(
    world({
      nodes: [node('a')],
      microservices: [everywhere],
      placements: [placement('web', 0, 'a'), placement('web', 1, 'a')],
      runs: { a: [container('web', 1)] }
    })
  )
  t.alike([on(plan), plan.rm.map((r) => r.slot)], [{}, [0]])
})

test('place - slots nobody asks for do not disturb', (t) => {
  const placements = [placement('web', 7, 'a'), placement('gone', 0, 'b'), placement('web', 0, 'z')]
  const plan = place(world({ nodes: abc, microservices: [web()], placements }))
  t.alike([on(plan), plan.rm], [{ 'web/0': 'a' }, []])
})

test('place - carried out, a failover with adoption on return is quiet', (t) => {
  const lost = world({ nodes: abc, ...placedOnB, silent: { b: 5000 } })
  const after = carriedOut(lost, place(lost))
  const back = { ...after, alive: new Set(['a', 'b', 'c']), silentMs: new Map() }
  const starting = withContainer(back, 'a', container('web', 0, { state: 'starting' }))
  const both = withContainer(starting, 'b', container('web', 0, { state: 'retiring' }))
  t.alike(on(place(both)), { 'web/0': 'b' }, 'the old one runs, the replacement does not yet')
  const onlyOld = withContainer(back, 'b', container('web', 0, { state: 'retiring' }))
  t.alike(on(place(onlyOld)), { 'web/0': 'b' }, 'it never started: the old copy is adopted')
})

test('place - disconnect.reconcile says which of two copies stays', (t) => {
  const back = (
    reconcile: 'bestScore' | 'keepOriginal' | 'keepReplacement',
    more: PlacementRecord[] = []
  ): Record<string, string> => {
    const moved = { from: 'b', why: 'silent' as const }
    return on(
      place(
        world({
          nodes: abc,
          microservices: [web({ replicas: 2, disconnect: { reconcile } })],
          placements: [{ ...placement('web', 0, 'a'), moved }, ...more],
          runs: {
            a: [container('web', 0), ...runs(more, 'a')],
            c: runs(more, 'c'),
            b: [container('web', 0, { state: 'retiring' })]
          }
        })
      )
    )
  }
  const second = [placement('web', 1, 'a')]
  t.alike(back('keepReplacement', second), {})
  t.alike(back('keepOriginal', second), { 'web/0': 'b' })
  t.alike(back('bestScore', second), { 'web/0': 'b' }, 'two on one node, none on the other')
  const elsewhere = [placement('web', 1, 'c')]
  t.is(back('bestScore', elsewhere)['web/0'], undefined, 'where it is as good, it stays')
})

test('place - disconnect.replace and lostAfter are each microservice’s own', (t) => {
  const silent = { b: 6_000, c: 6_000 }
  const at = (disconnect: object, nodes = abc): Plan =>
    place(
      world({
        nodes,
        microservices: [web({ disconnect })],
        placements: [placement('web', 0, 'b')],
        silent
      })
    )
  t.alike(on(at({ replace: 'auto' })), {}, 'one of three is in reach')
  t.alike(on(at({ replace: 'always' })), { 'web/0': 'a' })
  t.alike(on(at({ replace: 'never' })), {})
  t.ok(waits(at({ replace: 'never' }))['web/0']?.endsWith('never replaced (disconnect.replace)'))
  const late = at({ replace: 'always', lostAfterMs: 60_000 })
  t.alike([on(late), late.againInMs], [{}, 54_000])
  const lost = abc.map((n) => (n.id === 'b' ? { ...n, lost: true } : n))
  t.alike(on(at({ replace: 'never' }, lost)), { 'web/0': 'a' }, 'an operator’s word goes before it')
})

test('place - a cordoned node keeps what it has and gets nothing', (t) => {
  const cordoned = { mode: 'cordoned' as const, reason: 'disk', deadlineMs: null }
  const nodes = [node('a', { availability: cordoned }), node('b')]
  const plan = place(
    world({
      nodes,
      microservices: [web({ replicas: 3 })],
      placements: [placement('web', 0, 'a')],
      runs: { a: [container('web', 0)] }
    })
  )
  t.alike(on(plan), { 'web/1': 'b', 'web/2': 'b' })
  const alone = place(world({ nodes: [nodes[0] as NodeRecord], microservices: [web()] }))
  t.alike(waits(alone), { 'web/0': 'a is cordoned (disk)' })
})

test('place - a node is drained: what can goes elsewhere, the rest waits for the deadline', (t) => {
  const drained = (deadlineMs: number | null, overdue: string[] = [], over = {}): Plan =>
    place(
      world({
        nodes: [
          node('a', {
            availability: { mode: 'draining', reason: '', deadlineMs },
            edits: { availability: DRAINED }
          }),
          node('b')
        ],
        microservices: [web(over)],
        placements: [placement('web', 0, 'a')],
        runs: { a: [container('web', 0)] },
        overdue
      })
    )
  t.alike(on(drained(null)), { 'web/0': 'b' })
  const pinned = drained(60_000, [], { node: 'a' })
  t.alike([on(pinned), waits(pinned)], [{}, { 'web/0': 'a is drained; pinned to it' }])
  const late = drained(60_000, ['a'], { node: 'a' })
  t.alike([on(late), late.rm.map(({ reason }) => reason)], [{}, ['a is drained']])
  const everywhere = drained(null, [], { replicas: 'all' })
  t.alike(
    everywhere.rm.map(({ slot }) => slot),
    [0]
  )
})

test('place - a wish to move is heeded where the node fits, and is not called back', (t) => {
  const wish = (name: string, over = {}): PlaceInput =>
    world({
      nodes: abc,
      microservices: [web(over)],
      placements: [placement('web', 0, 'a')],
      moves: [
        { application: 'app', microservice: 'web', slot: 0, node: name, op: 'm', by: 'a', at: 0 }
      ],
      runs: { a: [container('web', 0)] }
    })
  const input = wish('c')
  const plan = place(input)
  t.alike(on(plan), { 'web/0': 'c' })
  t.alike(plan.set[0]?.moved, { from: 'a', why: 'asked' })
  const after = carriedOut(input, plan)
  const retiring = withContainer(after, 'a', container('web', 0, { state: 'retiring' }))
  t.alike(on(place(retiring)), {}, 'the old copy runs until the new one does')
  const pinned = place(wish('c', { node: 'a' }))
  t.alike(waits(pinned), { 'web/0': 'asked to move to c, which is not a' })
})

const kept = (over = {}) => web({ volumes: [DATA], ...over })
const there = 'its volume data is there (`brume move app/web/0 NODE` starts it elsewhere without)'

test('place - a slot with a volume stays where that is: silent, drained, ruled out or stopped in between', (t) => {
  const with_ = (parts: Partial<Parameters<typeof world>[0]>): Plan =>
    place(
      world({
        nodes: abc,
        microservices: [kept()],
        placements: [placement('web', 0, 'b')],
        homes: [home('web', 0, 'b')],
        runs: { b: [container('web', 0)] },
        volumes: { b: ['app/web/0/data'] },
        ...parts
      })
    )
  t.alike(waits(with_({ silent: { b: 20_000 } })), { 'web/0': `b is silent since 20 s; ${there}` })
  const always = { microservices: [kept({ disconnect: { replace: 'always' } })] }
  t.alike(on(with_({ silent: { b: 20_000 }, ...always })), {}, 'whatever its policy says')

  const draining = { mode: 'draining' as const, reason: '', deadlineMs: 60_000 }
  const drained = node('b', { availability: draining, edits: { availability: DRAINED } })
  const drain = { nodes: [node('a'), drained] }
  t.alike(waits(with_(drain)), { 'web/0': `b is drained; ${there}` })
  const late = with_({ ...drain, overdue: ['b'] })
  t.alike([late.rm.length, waits(late)], [1, { 'web/0': `b is drained; ${there}` }])

  const ruledOut = with_({ microservices: [kept({ constraints: ['zone=x'] })] })
  t.alike([ruledOut.rm.length, on(ruledOut)], [1, {}])
  t.alike(waits(ruledOut), { 'web/0': `b has no label zone=x; ${there}` })

  const elsewhere = { runs: { c: [container('web', 0)] } }
  t.alike(on(with_(elsewhere)), {}, 'another copy does not call it')
  const larger = kept({ resources: { cpus: 64, memoryBytes: null } })
  const renewed = with_({
    microservices: [{ ...larger, revision: 'r2' }],
    facts: { a: facts({ cpus: 99 }) }
  })
  t.alike(waits(renewed), {
    'web/0': `the new revision waits: b has 4 cpus free of 64; ${there}`
  })

  const open = { placements: [], runs: {} }
  const again = with_(open)
  t.alike(on(again), { 'web/0': 'b' })
  t.is(again.set[0]?.reason, 'its volume data is on b')
  const away = with_({ ...open, silent: { b: 40_000 } })
  t.alike([on(away), waits(away)], [{}, { 'web/0': `b is silent since 40 s; ${there}` }])
})

test('place - a slot leaves its volume where a person says so, and where there is none', (t) => {
  const parts = {
    nodes: abc,
    microservices: [kept()],
    homes: [home('web', 0, 'b')],
    volumes: { b: ['app/web/0/data'] }
  }
  const placed = { placements: [placement('web', 0, 'b')], runs: { b: [container('web', 0)] } }
  const written = { op: 'm', by: 'a', at: 0 }
  const wish = (to: string) => ({
    moves: [{ application: 'app', microservice: 'web', slot: 0, node: to, ...written }]
  })
  for (const how of [placed, {}]) {
    const input = world({ ...parts, ...how, ...wish('c'), silent: { b: 20_000 } })
    const plan = place(input)
    t.alike(on(plan), { 'web/0': 'c' }, 'asked to')
    t.alike(plan.set[0]?.moved, { from: 'b', why: 'asked' })
    const next = carriedOut(input, plan)
    const back = { ...next, alive: new Set(['a', 'b', 'c']), silentMs: new Map() }
    t.alike(on(place(back)), {}, 'the node with the old one is back')
  }
  const there = { ...parts, ...placed, silent: { b: 20_000 } }
  const givenUp = [node('a'), node('b', { lost: true }), node('c')]
  t.alike(on(place(world({ ...there, nodes: givenUp }))), { 'web/0': 'a' }, 'node lost')
  const removed = [node('a'), node('b', { state: 'removed' }), node('c')]
  t.alike(on(place(world({ ...there, nodes: removed }))), { 'web/0': 'a' }, 'node rm')
  t.alike(on(place(world({ ...parts, volumes: {} }))), { 'web/0': 'a' }, 'removed by hand')
  const bind = web({ volumes: [{ source: '/srv', container: '/srv', readOnly: true }] })
  t.alike(on(place(world({ ...parts, microservices: [bind] }))), { 'web/0': 'a' }, 'no named one')
  const refused = place(world({ ...parts, ...wish('c'), facts: { c: null }, silent: { b: 9_000 } }))
  t.alike(waits(refused), {
    'web/0': 'asked to move to c, which has not told its facts yet'
  })
})

test('rebalance - what has a volume stays where that is', (t) => {
  const moves = (over: object) =>
    rebalance(
      world({
        nodes: [node('a'), node('b')],
        microservices: [web({ replicas: 2, ...over })],
        placements: [placement('web', 0, 'a'), placement('web', 1, 'a')],
        homes: [home('web', 0, 'a'), home('web', 1, 'a')],
        volumes: { a: ['app/web/0/data', 'app/web/1/data'] }
      })
    ).map(({ slot, to }) => [slot, to])
  t.alike(moves({}), [[0, 'b']])
  t.alike(moves({ volumes: [DATA] }), [])
})

test('place - replicas: all gives each node the slot whose volumes it has', (t) => {
  const input = world({
    nodes: [node('a'), node('b'), node('c')],
    microservices: [kept({ replicas: 'all' })],
    homes: [home('web', 0, 'c'), home('web', 1, 'b')],
    volumes: { b: ['app/web/1/data'], c: ['app/web/0/data'] }
  })
  t.alike(on(place(input)), { 'web/0': 'c', 'web/1': 'b', 'web/2': 'a' })
})

const runs = (placed: PlacementRecord[], on: string): ContainerStatus[] =>
  placed.filter(({ node }) => node === on).map(({ slot }) => container('web', slot))

function on(plan: Plan): Record<string, string> {
  return Object.fromEntries(plan.set.map((s) => [`${s.microservice}/${s.slot}`, s.node]))
}

function waits(plan: Plan): Record<string, string> {
  return Object.fromEntries(plan.waiting.map((s) => [`${s.microservice}/${s.slot}`, s.reason]))
}

function withContainer(
  input: PlaceInput,
  id: string,
  added: ReturnType<typeof container>
): PlaceInput {
  const status = new Map(input.status)
  const old = status.get(id)
  status.set(id, { containers: [...(old?.containers ?? []), added], failing: [] })
  return { ...input, status }
}
