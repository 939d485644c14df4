/** What a replica keeps outlives it, and holds it where that is, until a person says otherwise. */
import test from 'brittle'
import type { ExplainJson, LeaveResult, ReplicaJson } from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { createFleet, untilTogether, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { idle, writeApp } from './apps.ts'
import { named, running, said, untilRunning } from './look.ts'

const LATE_MS = 60_000
/** Says at each start how many there were on this volume. */
const counts = 'echo x >>/data/starts; echo "start $(wc -l </data/starts)"; '

test('volumes - data stays, and with it the replica', { timeout: 300_000 }, async (t) => {
  const fleet = await createFleet(t, await createLab(3, t))
  const [one, two] = fleet.nodes as [FleetNode, FleetNode]
  const [sh = '', flag = '', run = ''] = idle.command
  const db = { ...idle, command: [sh, flag, counts + run], volumes: ['data:/data'] }
  const app = await writeApp(one.host.dir, 'shop', [
    { name: 'db', ...db, disconnect: { lostAfter: '3s', replace: 'auto' } },
    { name: 'web', ...idle, replicas: 2 }
  ])
  const deployed = await one.brume('deploy', '-f', app)
  t.is(deployed.code, 0, said(deployed))
  const [first] = await untilRunning(one, 1, { application: 'shop/db' })
  const at = named(fleet, first?.node)
  const other = at === one ? two : one
  const starts = async (node: FleetNode): Promise<number> => {
    const { stdout } = await node.brume('logs', '--tail', '1', 'shop/db')
    return Number(/start (\d+)/.exec(stdout)?.[1] ?? 0)
  }
  const isUp = (node: FleetNode, count: number): Promise<void> =>
    waitUntil(async () => {
      const [row] = await other.json<ReplicaJson[]>('ps', 'shop/db')
      return row?.state === 'running' && row.node === node.name && (await starts(other)) === count
    }, LATE_MS)
  await isUp(at, 1)

  await t.test(
    'volumes - data survives restart, stop and start, and a killed daemon',
    async (t) => {
      t.is((await other.brume('restart', 'shop/db')).code, 0)
      await isUp(at, 2)
      t.is((await other.brume('stop', 'shop/db')).code, 0)
      await waitUntil(async () => (await running(at)).length === 1, LATE_MS)
      t.is((await other.brume('start', 'shop/db')).code, 0)
      await isUp(at, 3)
      const [row] = await other.json<ExplainJson[]>('explain', 'shop/db')
      t.is(row?.replicas[0]?.placed, `its volume data is on ${at.name}`)
      await at.kill()
      await at.start()
      await isUp(at, 3)
    }
  )

  await t.test('volumes - drain names what they hold', async (t) => {
    t.is((await other.brume('node', 'drain', at.name, '--detach')).code, 0)
    const why = `${at.name} is drained; its volume data is there`
    const holds = ([row]: ReplicaJson[]): boolean => row?.reason?.startsWith(why) === true
    await other.until<ReplicaJson[]>(['ps', 'shop/db'], holds)
    t.is((await other.brume('node', 'undrain', at.name)).code, 0)
  })

  await t.test('volumes - a dead node is waited for; move goes on without it', async (t) => {
    await at.cut()
    await at.kill()
    const why = new RegExp(`^${at.name} is silent since \\d+ s; its volume data is there`)
    const waits = ([row]: ReplicaJson[]): boolean =>
      row?.state === 'unknown' && why.test(row.reason ?? '')
    await other.until<ReplicaJson[]>(['ps', 'shop/db'], waits, LATE_MS)
    // What has no volume is replaced meanwhile.
    await untilRunning(other, 2, { application: 'shop/web', ms: LATE_MS })
    const moved = await other.brume('move', 'shop/db', other.name)
    t.is(moved.code, 0, said(moved))
    await isUp(other, 1)
    await at.heal()
    await at.start()
    await untilTogether([one, two], LATE_MS)
    await isUp(other, 1)
  })

  await t.test('leave - names the volumes it keeps', async (t) => {
    // The other one confirms the order.
    const left = await two.json<LeaveResult>('leave', '--purge')
    const place = `brume-${two.id.slice(0, 6)}-shop.db.0.data`
    t.alike(left.volumes, [{ volume: 'shop/db/0/data', place }])
    const found = await dockerApi(two.dockerSocket ?? '', 'GET', `/volumes/${place}`)
    t.is(found.status, 200)
  })
})
