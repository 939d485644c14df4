import test from 'brittle'
import type { ApplicationJson, StatusJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { idle, writeApp } from './apps.ts'
import { said } from './look.ts'

const LATE_MS = 60_000

test(
  'recover - two of three that confirm are lost: the survivor goes on, one that returns merges',
  { timeout: 240_000 },
  async (t) => {
    const fleet = await createFleet(t, await createLab(4, t), {
      engines: false,
      env: { BRUME_STABLE_MS: '2000' }
    })
    const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
    const status = (node: FleetNode, holds: (s: StatusJson) => boolean): Promise<StatusJson> =>
      node.until<StatusJson>(['status'], holds, LATE_MS)
    await status(one, ({ indexers }) => indexers.length === 3)
    t.pass('three confirm')

    await two.kill()
    await three.kill()
    const app = await writeApp(one.host.dir, 'web', [{ name: 'idle', ...idle, node: 'n1' }])
    const deployed = await one.brume('deploy', '-f', app)
    t.ok([0, 4].includes(deployed.code ?? -1), said(deployed))
    const { stalled, oplog } = await status(one, (s) => s.stalled !== null)
    t.alike(stalled?.missing.sort(), ['n2', 'n3'])

    const refused = await one.brume('recover', '--yes')
    t.is(refused.code, 1)
    t.ok(refused.stderr.includes('1 of 3 members are in reach'), refused.stderr.trim())
    const startedAt = performance.now()
    const recovered = await one.brume('recover', '--minority', '--yes')
    t.is(recovered.code, 0, said(recovered))
    const after = await status(one, (s) => s.oplog.confirmed > oplog.tentative)
    t.comment(`confirmed again ${Math.round(performance.now() - startedAt)} ms after the command`)
    // A fork that a change of indexers forestalled was made again.
    const { epoch } = after.fork
    t.ok(epoch >= 1, `epoch ${epoch}`)
    t.alike([after.stalled, after.indexers.length], [null, 1])

    await three.start()
    const back = await status(three, (s) => s.fork.epoch === epoch && !s.fork.ahead)
    t.alike(
      back.indexers.map(({ name }) => name),
      ['n1']
    )
    await three.until<ApplicationJson[]>(['apps'], ([app]) => app?.name === 'web', LATE_MS)
    await status(three, (s) => s.oplog.confirmed >= after.oplog.confirmed)
    const removed = await three.brume('rm', 'web', '--detach')
    t.ok([0, 4].includes(removed.code ?? -1), said(removed))
    await one.until<ApplicationJson[]>(['apps'], (apps) => apps.length === 0, LATE_MS)
  }
)
