/** Nodes are emptied and filled again, replicas moved, and all of it can be asked why. */
import test from 'brittle'
import type { EventJson, ExplainJson, NodeJson, ReplicaJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { idle, writeApp } from './apps.ts'
import { allRunning, kept, running, said } from './look.ts'

const LATE_MS = 60_000

test('drain - a node is emptied and filled again', { timeout: 300_000 }, async (t) => {
  const fleet = await createFleet(t, await createLab(4, t))
  const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
  const app = await writeApp(one.host.dir, 'shop', [
    { name: 'web', ...idle, replicas: 3 },
    { name: 'plc', ...idle, node: 'n3' }
  ])
  const deployed = await one.brume('deploy', '-f', app)
  t.is(deployed.code, 0, said(deployed))

  await t.test('node cordon - it keeps what it has and gets nothing', async (t) => {
    const cordoned = await two.brume('node', 'cordon', 'n2', '--reason', 'disk swap')
    t.is(cordoned.code, 0, said(cordoned))
    const before = await running(two)
    t.is((await one.brume('scale', 'shop/web', '5')).code, 0)
    t.alike(kept(before, await running(two)), before)
    t.is((await running(two)).length, before.length)
    const [web] = await one.json<ExplainJson[]>('explain', 'shop/web')
    t.is(web?.nodes.find(({ node }) => node === 'n2')?.refusal, 'is cordoned (disk swap)')
    t.ok(
      web?.replicas.every(({ placed }) => placed !== null && placed !== ''),
      'each says why it is there'
    )
    t.is((await one.brume('node', 'undrain', 'n2')).code, 0)
  })

  await t.test('node drain - what can goes elsewhere first, what cannot is named', async (t) => {
    const before = await running(three)
    t.ok(before.length > 1)
    const drained = await one.brume('node', 'drain', 'n3', '--reason', 'new roof')
    t.is(drained.code, 1, 'one is pinned')
    t.ok(
      drained.stderr.includes('shop/plc/0 stays: n3 is drained (new roof); pinned to it'),
      said(drained)
    )
    const left = await running(three)
    t.is(left.length, 1)
    const rows = await two.json<ReplicaJson[]>('ps', 'shop/web')
    t.is(rows.filter(({ state }) => state === 'running').length, 5)
    const nodes = await two.json<NodeJson[]>('nodes')
    t.is(nodes.find(({ name }) => name === 'n3')?.availability.mode, 'draining')
  })

  await t.test('node drain - with a deadline what cannot go stops', async (t) => {
    const drained = await one.brume('node', 'drain', 'n3', '--deadline', '2s')
    t.is(drained.code, 0, said(drained))
    t.alike(await running(three), [])
    const undrained = await one.brume('node', 'undrain', 'n3')
    t.is(undrained.code, 0, said(undrained))
    await waitUntil(async () => (await running(three)).length === 1, LATE_MS)
  })

  await t.test('rebalance - what came back is filled when somebody asks', async (t) => {
    const before = await allRunning(fleet)
    const dry = await two.brume('rebalance', '--dry-run')
    t.ok(/shop\/web\/\d/.test(dry.stdout), said(dry))
    t.alike(kept(before, await allRunning(fleet)), before, 'nothing moved yet')
    const done = await two.brume('rebalance')
    t.is(done.code, 0, said(done))
    await waitUntil(async () => {
      const rows = await two.json<ReplicaJson[]>('ps', 'shop/web')
      const on = (name: string): number =>
        rows.filter((r) => r.node === name && r.state === 'running').length
      return rows.length === 5 && ['n1', 'n2', 'n3'].every((name) => on(name) >= 1 && on(name) <= 2)
    }, LATE_MS)
  })

  await t.test('move - a replica goes where a person says', async (t) => {
    const rows = await two.json<ReplicaJson[]>('ps', 'shop/web')
    const on1 = rows.find(({ node }) => node === 'n1') as ReplicaJson
    const moved = await two.brume('move', `shop/web/${on1.slot}`, 'n2')
    t.is(moved.code, 0, said(moved))
    await waitUntil(async () => {
      const now = await one.json<ReplicaJson[]>('ps', 'shop/web')
      return (
        now.some((r) => r.slot === on1.slot && r.node === 'n2' && r.state === 'running') &&
        now.length === 5
      )
    }, LATE_MS)
    const impossible = await two.brume('move', 'shop/plc', 'n1')
    t.is(impossible.code, 0)
    const [plc] = await two.json<ExplainJson[]>('explain', 'shop/plc')
    t.ok(plc?.replicas[0]?.reason?.includes('asked to move to n1, which is not n3'))
    t.is((await two.brume('move', 'shop/plc', '--undo')).code, 0)
  })

  await t.test('events - tell what happened, and why', async (t) => {
    const { stdout } = await one.brume('events', '--json', '--tail', '1000')
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as EventJson)
    const texts = events.map(({ text }) => text)
    for (const words of ['n2 is cordoned: disk swap', 'n3 is drained: new roof']) {
      t.ok(texts.includes(words), words)
    }
    t.ok(texts.some((text) => /^shop\/web\/\d moves from n3 to n\d: n3 is drained/.test(text)))
    t.ok(texts.some((text) => /asked to move to n2$/.test(text)))
  })
})
