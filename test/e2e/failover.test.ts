import test from 'brittle'
import type { NodeJson, ReplicaJson, StatusJson } from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { HELLO_FILES, idle, writeApp } from './apps.ts'
import { allRunning, kept, named, running, said, untilRunning } from './look.ts'

const LATE_MS = 60_000

test('failover - nodes that are cut off, die, and come back', { timeout: 300_000 }, async (t) => {
  const fleet = await createFleet(t, await createLab(4, t))
  const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]

  await t.test('failover - a node that is cut off is replaced and goes on by itself', async (t) => {
    const web = await writeApp(one.host.dir, 'web', [{ name: 'idle', ...idle, replicas: 2 }])
    const deployed = await one.brume('deploy', '-f', web)
    t.is(deployed.code, 0, said(deployed))
    const [row] = (await one.json<ReplicaJson[]>('ps', 'web')).filter((r) => r.node !== 'n1')
    const lost = named(fleet, row?.node)
    const others = fleet.nodes.filter((node) => node !== lost)
    const before = await allRunning(fleet)
    t.is(before.length, 2)

    const cutMs = performance.now()
    await lost.cut()
    await one.until<ReplicaJson[]>(
      ['ps', 'web'],
      (rows) => rows.filter((r) => r.node !== lost.name && r.state === 'running').length === 2,
      LATE_MS
    )
    t.comment(`replaced ${Math.round(performance.now() - cutMs)} ms after the cut`)
    const replaced = (await Promise.all(others.map(running))).flat()
    t.is(replaced.length, 2)
    t.alike(kept(before, await allRunning(fleet)), before, 'the cut-off node keeps its container')

    const alone = await lost.until<NodeJson[]>(
      ['nodes'],
      (nodes) =>
        others.every(({ name }) => nodes.some((n) => n.name === name && n.state !== 'alive')),
      LATE_MS
    )
    t.is(alone.find((n) => n.name === lost.name)?.state, 'alive')
    const own = await writeApp(lost.host.dir, 'island', [
      { name: 'idle', ...idle, node: lost.name }
    ])
    const offline = await lost.brume('deploy', '-f', own)
    t.is(offline.code, 4, offline.stderr.trim().split('\n').at(-1))
    const islanders = await lost.json<ReplicaJson[]>('ps', 'island')
    t.alike(
      islanders.map((r) => [r.node, r.state]),
      [[lost.name, 'running']]
    )
    const split = await allRunning(fleet)
    t.is(split.length, 4)

    await lost.heal()
    const healMs = performance.now()
    await untilTogether(fleet.nodes, LATE_MS)
    for (const node of fleet.nodes) {
      await untilRunning(node, 2, { application: 'web', ms: LATE_MS })
      await untilRunning(node, 1, { application: 'island', ms: LATE_MS })
    }
    t.comment(
      `one view again ${Math.round(performance.now() - healMs)} ms after the cut was healed`
    )
    const after = await allRunning(fleet)
    t.is(after.length, 3, 'one copy a slot')
    t.alike(slotsOf(after), ['island/idle/0', 'web/idle/0', 'web/idle/1'])
    t.alike(kept(after, split), after, 'nothing was started again')
    for (const node of fleet.nodes) {
      t.is(
        (await node.json<StatusJson>('status')).leader,
        (await one.json<StatusJson>('status')).leader
      )
    }
    for (const name of ['web', 'island']) {
      const removed = await one.brume('rm', name)
      t.is(removed.code, 0, said(removed))
    }
  })

  await t.test('bundles - outlive the node they came from', async (t) => {
    const web = {
      name: 'web',
      image: 'local/node:20',
      files: HELLO_FILES,
      command: ['node', 'server.js'],
      ports: ['80']
    }
    const file = await writeApp(one.host.dir, 'hello', [{ ...web, replicas: 1 }])
    const deployed = await one.brume('deploy', '-f', file)
    await Promise.all([one.cut(), one.kill()])
    t.is(deployed.code, 0, said(deployed))
    await two.until<ReplicaJson[]>(
      ['ps', 'hello'],
      (rows) => rows.filter((r) => r.node !== 'n1' && r.state === 'running').length === 1,
      LATE_MS
    )
    await three.until<NodeJson[]>(
      ['nodes'],
      (nodes) => nodes.some((n) => n.name === 'n1' && n.state !== 'alive'),
      LATE_MS
    )
    const scaled = await three.brume('scale', 'hello/web=5')
    t.is(scaled.code, 4, `n1 is offline: ${said(scaled)}`)
    const rows = await two.json<ReplicaJson[]>('ps', 'hello')
    const there = rows.filter((r) => r.node !== 'n1')
    t.is(there.length, 5, JSON.stringify(rows))
    for (const row of there) {
      const answer = await named(fleet, row.node).get(row.ports[0]?.host ?? 0)
      t.ok(answer.startsWith(`hello from replica ${row.slot} on `))
    }
    await one.start()
    await one.heal()
    await untilTogether(fleet.nodes, LATE_MS)
    await untilRunning(one, 5, { application: 'hello', ms: LATE_MS })
  })

  await t.test('power cut - a node starts all it had, with nobody in sight', async (t) => {
    const had = (await two.json<ReplicaJson[]>('ps')).filter((r) => r.node === 'n2')
    t.ok(had.length > 0)
    await Promise.all([one.cut(), two.cut(), three.cut()])
    await two.kill()
    const socket = two.dockerSocket as string
    const before = await running(two)
    for (const { id } of before) await dockerApi(socket, 'POST', `/containers/${id}/kill`)
    t.alike(await running(two), [])

    const startMs = performance.now()
    await two.start()
    await two.until<ReplicaJson[]>(
      ['ps'],
      (rows) => {
        const mine = rows.filter((r) => r.node === 'n2' && r.state === 'running')
        return had.every((h) => mine.some((r) => slotOf(r) === slotOf(h)))
      },
      LATE_MS
    )
    const tookMs = Math.round(performance.now() - startMs)
    t.ok(tookMs <= 20_000, `all runs again ${tookMs} ms after the start`)
    const slots = new Set(slotsOf(await running(two)))
    for (const row of had) t.ok(slots.has(slotOf(row)), slotOf(row))
  })
})

const slotOf = (r: Pick<ReplicaJson, 'application' | 'microservice' | 'slot'>): string =>
  `${r.application}/${r.microservice}/${r.slot}`

function slotsOf(containers: { labels: Record<string, string> }[]): string[] {
  return containers
    .map(({ labels }) =>
      ['application', 'microservice', 'slot'].map((key) => labels[`brume.${key}`]).join('/')
    )
    .sort()
}
