import test from 'brittle'
import type { ReplicaJson } from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { containersIn, createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { idle, writeApp } from './apps.ts'
import { allRunning, kept, running, said, untilRunning } from './look.ts'

test(
  'one engine - three nodes share it, none touches what is not its own',
  { timeout: 180_000 },
  async (t) => {
    const lab = await createLab(2, t)
    const fleet = await createFleet(t, lab, { on: [0, 0, 0] })
    const [one, two, three] = fleet.nodes as [FleetNode, FleetNode, FleetNode]
    const socket = one.dockerSocket as string
    const stranger = await startStranger(socket)
    const dir = one.host.dir
    for (const name of ['left', 'right']) {
      const file = await writeApp(dir, name, [{ name: 'idle', ...idle, replicas: 3 }])
      const deployed = await one.brume('deploy', '-f', file)
      t.is(deployed.code, 0, said(deployed))
    }
    await untilRunning(three, 6)
    const before = await allRunning(fleet)
    t.is(before.length, 6)
    for (const node of fleet.nodes) t.is((await running(node)).length, 2, node.name)

    await two.kill()
    await one.until<ReplicaJson[]>(
      ['ps'],
      (rows) => rows.filter((r) => r.node !== 'n2' && r.state === 'running').length === 6,
      60_000
    )
    t.alike(kept(before, await allRunning(fleet)), before, 'those of a dead daemon are left alone')
    await two.start()
    await untilRunning(one, 6, { ms: 60_000 })
    await untilRunning(two, 6, { ms: 60_000 })
    const merged = await allRunning(fleet)
    t.is(merged.length, 6)

    const removed = await two.brume('rm', 'left')
    t.is(removed.code, 0, said(removed))
    const left = await allRunning(fleet)
    t.is(left.length, 3)
    t.alike(kept(left, merged), left, 'the other application did not notice')
    t.ok(left.every(({ labels }) => labels['brume.application'] === 'right'))
    const all = await containersIn(socket)
    t.is(all.length, 4, 'nothing stopped is left')
    t.ok(all.some(({ id, running }) => id === stranger && running))
  }
)

/** A container that is nobody's. @returns its id */
async function startStranger(socket: string): Promise<string> {
  const made = await dockerApi(socket, 'POST', '/containers/create?name=stranger', {
    Image: idle.image,
    Cmd: idle.command
  })
  const { Id } = made.body as { Id: string }
  await dockerApi(socket, 'POST', `/containers/${Id}/start`)
  return Id
}
