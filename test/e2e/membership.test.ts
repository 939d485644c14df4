/** Real daemons in namespaces: let in, taken out while away, leaving without a trace. */
import { existsSync } from 'node:fs'
import test from 'brittle'
import type {
  DroppedJson,
  InviteMade,
  NodeJson,
  NodeRemoved,
  ReplicaJson,
  StatusJson
} from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { isThere } from '../helpers/leftovers.ts'
import { waitUntil } from '../helpers/wait.ts'
import { writeApp } from './apps.ts'
import { said } from './look.ts'

const stateOf = (nodes: NodeJson[], name: string): string | undefined =>
  nodes.find((node) => node.name === name)?.state

test(
  'membership - an invite lets in, a removed node is out however it comes, one that leaves leaves nothing',
  { timeout: 240_000 },
  async (t) => {
    const lab = await createLab(5, t)
    const fleet = await createFleet(t, lab, { engines: false, on: [0, 1, 2] })
    const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]

    const guest = fleet.guest('n4', 3)
    const { invite } = await one.json<InviteMade>(
      'invite',
      'new',
      '--role',
      'node',
      '--label',
      'zone=yard'
    )
    const enter = ['--name', 'n4', '--bootstrap', fleet.bootstrap, '--engine', 'process']
    const joined = await guest.brume('join', invite, ...enter)
    t.is(joined.code, 0, said(joined))
    const nodes = await one.json<NodeJson[]>('nodes')
    t.alike(nodes.find(({ name }) => name === 'n4')?.labels, { zone: 'yard' })
    const forbidden = await guest.brume('node', 'rm', 'n1')
    t.is(forbidden.code, 1)
    t.ok(forbidden.stderr.includes('this node is a node: only admins'), forbidden.stderr)

    const file = await writeApp(one.host.dir, 'app', [
      { name: 'idle', image: 'none', command: ['sleep', '100000'], replicas: 4 }
    ])
    const deployed = await one.brume('deploy', '-f', file)
    t.is(deployed.code, 0, said(deployed))

    // The thief is out of reach when it is removed, and goes on deploying.
    const oldKey = (await three.json<{ key: string }>('key')).key
    await three.cut()
    await one.until<NodeJson[]>(['nodes'], (all) => stateOf(all, 'n3') === 'lost', 30_000)
    const removed = await one.brume('node', 'rm', 'n3', '--json')
    t.is(removed.code, 0, said(removed))
    t.alike((JSON.parse(removed.stdout) as NodeRemoved).offline, [])
    await two.until<NodeJson[]>(['nodes', '-a'], (all) => stateOf(all, 'n3') === 'removed', 5_000)
    const loot = await writeApp(three.host.dir, 'loot', [
      { name: 'idle', image: 'none', command: ['sleep', '100000'] }
    ])
    t.is((await three.brume('deploy', '-d', '-f', loot)).code, 4)
    await three.heal()
    await three.until<StatusJson>(['status'], ({ role }) => role !== undefined, 5_000)
    await waitUntil(
      async () => (await three.brume('deploy', '-d', '-f', loot)).stderr.includes('removed'),
      60_000
    )
    await waitUntil(async () => (await three.json<ReplicaJson[]>('ps')).length === 0, 20_000)
    const apps = await one.json<{ name: string }[]>('apps')
    t.alike(
      apps.map(({ name }) => name),
      ['app']
    )
    await one.until<ReplicaJson[]>(
      ['ps'],
      (rows) => rows.length === 4 && rows.every((r) => r.state === 'running' && r.node !== 'n3'),
      30_000
    )

    // With a fresh pair of keys and the key it knew.
    const fresh = fleet.guest('fresh', 2)
    const again = ['--name', 'fresh', '--bootstrap', fleet.bootstrap, '--engine', 'process']
    const refused = await fresh.brume('join', oldKey, ...again)
    t.is(refused.code, 1)
    t.ok(refused.stderr.includes('this mesh key is an old one'), refused.stderr)
    t.absent(existsSync(fresh.dataDir))
    const dropped = await one.json<DroppedJson[]>('node', 'dropped')
    t.ok(dropped.every(({ node }) => node === 'n3'))

    const pid = await two.pid()
    const left = await two.brume('leave', '--purge')
    t.is(left.code, 0, said(left))
    t.absent(await isThere(pid))
    t.absent(existsSync(two.dataDir), 'nothing of it is left')
    const seen = await one.until<NodeJson[]>(
      ['nodes', '-a'],
      (all) => stateOf(all, 'n2') === 'removed'
    )
    t.is(seen.length, 4)
    await one.until<ReplicaJson[]>(
      ['ps'],
      (rows) => rows.every((r) => r.state === 'running' && ['n1', 'n4'].includes(r.node ?? '')),
      30_000
    )
    const last = await one.brume('leave')
    t.is(last.code, 1)
    t.ok(last.stderr.includes('last admin'), last.stderr)
    t.ok(last.stderr.includes('brume node role n4 admin'), last.stderr)
  }
)
