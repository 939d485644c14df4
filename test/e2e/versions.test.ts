/** The version before, as it was released, beside this one in one mesh; then all are upgraded. */
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import test from 'brittle'
import { extract } from 'tar-fs'
import type { NodeJson, ReplicaJson, RolloutJson, StatusJson } from '../../apps/api.ts'
import { VERSION } from '../../apps/version.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { writeApp } from './apps.ts'
import { said } from './look.ts'

const BEFORE = '0.1.0'
const ROOT = join(import.meta.dirname, '../..')
const LATE_MS = 60_000

const web = (revision: string): object => ({
  name: 'web',
  command: ['node', '-e', 'setInterval(() => {}, 1000)'],
  env: { REVISION: revision },
  replicas: 3,
  update: { monitor: '500ms' }
})

test('versions - the one before and this one in one mesh', { timeout: 300_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'brume-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }), { order: 2 })
  const tar = await readFile(join(ROOT, `test/fixtures/brume-${BEFORE}.tar.gz`))
  await pipeline(Readable.from([gunzipSync(tar)]), extract(dir))
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const old = join(dir, 'dist/apps/cli/main.js')

  const cli = (i: number): string | undefined => (i < 2 ? old : undefined)
  const fleet = await createFleet(t, await createLab(4, t), { engines: false, cli })
  const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
  const deploy = async (node: FleetNode, revision: string): ReturnType<FleetNode['brume']> =>
    node.brume('deploy', '-f', await writeApp(node.host.dir, 'shop', [web(revision)]))
  const running = async (node: FleetNode): Promise<number> =>
    (await node.json<ReplicaJson[]>('ps', 'shop')).filter(({ state }) => state === 'running').length

  await t.test('versions - side by side they make one view, and use what both know', async (t) => {
    const nodes = await three.json<NodeJson[]>('nodes')
    t.alike(nodes.map(({ version }) => version).sort(), [BEFORE, BEFORE, VERSION])
    t.is((await three.json<StatusJson>('status')).format.active, 1)
    const first = await deploy(three, '1')
    t.is(first.code, 0, said(first))
    const second = await deploy(three, '2')
    t.is(second.code, 0, said(second))
    for (const node of fleet.nodes) t.is(await running(node), 3, node.name)
    t.alike(await three.json<RolloutJson[]>('rollout', 'status'), [])
    const lengths = await Promise.all(fleet.nodes.map((node) => node.json<StatusJson>('status')))
    t.is(new Set(lengths.map(({ oplog }) => oplog.tentative)).size, 1, 'views of one length')
    const refused = await three.brume('restart', 'shop')
    t.ok(
      refused.stderr.includes('the mesh still uses format 1, in which there is no restart'),
      said(refused)
    )
    const early = await three.brume('upgrade')
    t.ok(early.stderr.includes('format 2 is not known on every member: n1, n2'), said(early))
  })

  await t.test(
    'versions - upgraded node by node, what runs goes on, and the rest comes with one word',
    async (t) => {
      await one.upgrade()
      await two.upgrade()
      await untilTogether(fleet.nodes, LATE_MS)
      await three.until<NodeJson[]>(
        ['nodes'],
        (all) => all.every((n) => n.version === VERSION),
        LATE_MS
      )
      t.is(await running(three), 3)
      const upgraded = await one.brume('upgrade')
      t.is(upgraded.code, 0, said(upgraded))
      await three.until<StatusJson>(['status'], ({ format }) => format.active === 2, LATE_MS)
      const third = await deploy(two, '3')
      t.is(third.code, 0, said(third))
      const [rollout] = await three.json<RolloutJson[]>('rollout', 'status')
      t.alike([rollout?.state, rollout?.renewed], ['done', 3])
    }
  )
})
