import test from 'brittle'
import type {
  DescribeJson,
  ExplainJson,
  NodeJson,
  ReplicaJson,
  StatusJson
} from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { createFleet, type Container, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { HELLO, idle, writeApp } from './apps.ts'
import { allRunning, kept, named, running, said, untilRunning } from './look.ts'

test(
  'deploy - one application on three nodes with three engines',
  { timeout: 240_000 },
  async (t) => {
    const fleet = await createFleet(t, await createLab(4, t))
    const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]

    await t.test('deploy - three replicas run on three nodes, in containers', async (t) => {
      const startMs = performance.now()
      const deployed = await one.brume('deploy', '-f', HELLO)
      t.comment(
        `deployed in ${Math.round(performance.now() - startMs)} ms, start of the CLI included`
      )
      t.is(deployed.code, 0, said(deployed))

      const rows = await two.json<ReplicaJson[]>('ps', 'hello')
      t.alike(
        rows.map(({ slot, state }) => [slot, state]),
        [
          [0, 'running'],
          [1, 'running'],
          [2, 'running']
        ]
      )
      t.alike(nodesOf(rows), ['n1', 'n2', 'n3'])
      for (const node of fleet.nodes) t.is((await running(node)).length, 1, node.name)
    })

    await t.test(
      'deploy - every replica answers on its published port, from its bundle',
      async (t) => {
        for (const row of await three.json<ReplicaJson[]>('ps', 'hello/web')) {
          const node = named(fleet, row.node)
          const [container] = await running(node)
          const said = await node.get(row.ports[0]?.host ?? 0)
          t.is(said, `hello from replica ${row.slot} on ${container?.id.slice(0, 12)}\n`)
        }
      }
    )

    await t.test('deploy - every node tells the same', async (t) => {
      const views = await Promise.all(
        fleet.nodes.map(async (node) => ({
          nodes: (await node.json<NodeJson[]>('nodes'))
            .map((n) => [n.name, n.state, n.engine])
            .sort(),
          described: (await node.json<DescribeJson>('describe', 'hello')).microservices.map((m) => [
            m.name,
            m.revision,
            m.replicas.map((r) => [r.slot, r.node, r.state])
          ]),
          leader: (await node.json<StatusJson>('status')).leader
        }))
      )
      t.alike(
        views[0]?.nodes,
        ['n1', 'n2', 'n3'].map((name) => [name, 'alive', 'docker'])
      )
      t.alike(views[1], views[0])
      t.alike(views[2], views[0])
      t.is((await two.json<StatusJson>('status')).name, 'n2')
    })

    await t.test('logs - of a replica on any node, from any node', async (t) => {
      for (const node of fleet.nodes) {
        for (const slot of [0, 1, 2]) {
          const { code, stdout, stderr } = await node.brume('logs', `hello/web/${slot}`)
          t.is(code, 0, stderr)
          t.is(stdout.split('\n')[0], `replica ${slot} listens on port 80`, `slot ${slot}`)
        }
        const { stdout } = await node.brume('logs', 'hello/web', '--tail', '1')
        t.is(stdout.trim().split('\n').length, 3)
      }
    })

    await t.test('scale - up and down, and what stays is not restarted', async (t) => {
      const before = await allRunning(fleet)
      t.is((await three.brume('scale', 'hello/web=5')).code, 0)
      const five = await allRunning(fleet)
      t.is(five.length, 5)
      t.alike(kept(before, five), before)

      t.is((await two.brume('scale', 'hello/web=2')).code, 0)
      const fewer = await allRunning(fleet)
      t.is(fewer.length, 2)
      t.alike(kept(fewer, five), fewer)
    })

    await t.test(
      'dependsOn - a replica waits, says for what, and stays when that goes',
      async (t) => {
        const file = await writeApp(one.host.dir, 'chain', [
          {
            ...{ name: 'db', ...idle, node: 'n1' },
            devices: ['/dev/full:/dev/scanner'],
            healthcheck: {
              test: ['CMD', 'test', '-f', '/up', '-a', '-c', '/dev/scanner'],
              ...{ interval: '200ms', retries: 1000 }
            }
          },
          { name: 'web', ...idle, node: 'n2', dependsOn: { db: 'healthy' } }
        ])
        const deploying = one.brume('deploy', '-f', file)
        const why = 'waits for chain/db to be healthy'
        await three.until<ReplicaJson[]>(['ps'], (rows) => {
          const web = rows.find(({ microservice, node }) => microservice === 'web' && node === 'n2')
          return web?.state === 'waiting' && web.reason === why
        })
        const [web] = await three.json<ExplainJson[]>('explain', 'chain/web')
        t.is(web?.replicas[0]?.reason, why)
        await touch(one, (await of(one, 'db'))[0]?.id ?? '', '/up')
        const deployed = await deploying
        t.is(deployed.code, 0, said(deployed))
        t.ok(deployed.stderr.includes(`chain/web/0 waiting on n2: ${why}`), deployed.stderr)
        const before = await of(two, 'web')
        t.is(before.length, 1)
        t.is((await one.brume('stop', 'chain/db')).code, 0)
        t.alike(await of(one, 'db'), [])
        t.alike(kept(before, await of(two, 'web')), before)
        t.is((await one.brume('rm', 'chain')).code, 0)
      }
    )

    await t.test('devices - nodes are counted that lack what is asked for', async (t) => {
      const none = ['/dev/brume-there-is-none']
      const file = await writeApp(one.host.dir, 'far', [{ name: 'plc', ...idle, devices: none }])
      t.is((await one.brume('deploy', '-d', '-f', file)).code, 0)
      const why = `3 nodes: 3 lack device ${none[0]}`
      await three.until<ReplicaJson[]>(['ps', 'far'], ([row]) => row?.reason === why)
      t.is((await one.brume('rm', 'far')).code, 0)
    })

    await t.test(
      'adoption - the daemon dies or is stopped, its containers do not notice',
      async (t) => {
        t.is((await one.brume('scale', 'hello/web=3')).code, 0)
        const before = await allRunning(fleet)
        t.is(before.length, 3)

        await two.kill()
        t.alike(await allRunning(fleet), before)
        await two.start()
        await untilRunning(two, 3)

        t.is((await three.brume('down')).code, 0)
        t.alike(await allRunning(fleet), before)
        await three.start()
        await untilRunning(three, 3)
        await untilRunning(one, 3)
        t.alike(await allRunning(fleet), before)
      }
    )

    await t.test('rm - no container stays, of this application only', async (t) => {
      const other = await writeApp(one.host.dir, 'other', [{ name: 'idle', ...idle, replicas: 3 }])
      t.is((await one.brume('deploy', '-f', other)).code, 0)
      const removed = await three.brume('rm', 'hello')
      t.is(removed.code, 0, said(removed))
      const left = (await Promise.all(fleet.nodes.map((node) => node.containers()))).flat()
      t.alike(
        left.map(({ labels }) => labels['brume.application']),
        ['other', 'other', 'other']
      )
      t.is((await two.brume('rm', 'other')).code, 0)
      for (const node of fleet.nodes) t.alike(await node.containers(), [], node.name)
      t.alike(await one.json('ps'), [])
    })
  }
)

const nodesOf = (rows: ReplicaJson[]): (string | null)[] => rows.map(({ node }) => node).sort()

/** Running containers of a microservice of `chain`. */
const of = async (node: FleetNode, microservice: string): Promise<Container[]> =>
  (await running(node)).filter(
    ({ labels }) =>
      labels['brume.application'] === 'chain' && labels['brume.microservice'] === microservice
  )

async function touch(node: FleetNode, container: string, path: string): Promise<void> {
  const call = (path: string, body: object) =>
    dockerApi(node.dockerSocket ?? '', 'POST', path, body)
  const made = await call(`/containers/${container}/exec`, { Cmd: ['touch', path] })
  await call(`/exec/${(made.body as { Id: string }).Id}/start`, { Detach: true })
}
