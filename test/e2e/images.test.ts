/** What may not be pulled runs where it is already. */
import test from 'brittle'
import type { PlanResult, ReplicaJson } from '../../apps/api.ts'
import { dockerApi } from '../helpers/docker-api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { HELLO, idle, writeApp } from './apps.ts'
import { kept, running, said } from './look.ts'

const IMAGE = 'local/only-here:1'

test(
  'images - one that may not be pulled: its replicas run where it is, and follow it',
  { timeout: 240_000 },
  async (t) => {
    const fleet = await createFleet(t, await createLab(3, t))
    const [one, two] = fleet.nodes as [FleetNode, FleetNode]
    const local = { name: 'web', ...idle, image: IMAGE, pull: 'never' }

    await t.test('images - one that nobody has is waited for, and said to be', async (t) => {
      const file = await writeApp(one.host.dir, 'shop', [local])
      t.is((await one.brume('deploy', '-d', '-f', file)).code, 0)
      const why = `2 nodes: 2 do not have image ${IMAGE} (pull: never)`
      for (const node of fleet.nodes) {
        await node.until<ReplicaJson[]>(['ps', 'shop'], ([row]) => row?.reason === why)
      }
      t.ok((await two.brume('explain', 'shop/web')).stdout.includes(`does not have image ${IMAGE}`))
    })

    await t.test('images - it comes to one node, and so does the replica', async (t) => {
      const startMs = performance.now()
      await name(two)
      await one.until<ReplicaJson[]>(['ps', 'shop'], ([row]) => row?.state === 'running')
      t.comment(`running ${Math.round(performance.now() - startMs)} ms after its image came`)
      t.is((await running(two)).length, 1)
    })

    await t.test('images - a second replica waits for a second node that has it', async (t) => {
      const apart = { ...local, replicas: 2, maxReplicasPerNode: 1 }
      const file = await writeApp(one.host.dir, 'shop', [apart])
      t.is((await one.brume('deploy', '-d', '-f', file)).code, 0)
      await one.until<ReplicaJson[]>(
        ['ps', 'shop'],
        (rows) => rows[1]?.reason?.includes(`1 does not have image ${IMAGE} (pull: never)`) === true
      )
      const before = await running(two)
      await name(one)
      await two.until<ReplicaJson[]>(
        ['ps', 'shop'],
        (rows) => rows.length === 2 && rows.every(({ state }) => state === 'running')
      )
      t.is((await running(one)).length, 1)

      await unname(two)
      await one.until<ReplicaJson[]>(['explain', 'shop/web'], (told) =>
        JSON.stringify(told).includes(`does not have image ${IMAGE}`)
      )
      t.alike(kept(before, await running(two)), before, 'what runs stays where its image went')
      t.is((await one.brume('rm', 'shop')).code, 0)
    })

    await t.test('files - a plan takes them for sent, and a deploy sends them', async (t) => {
      const { stdout } = await two.brume('plan', '-f', HELLO, '--json')
      const [planned] = JSON.parse(stdout) as PlanResult[]
      const [web] = planned?.microservices ?? []
      t.alike([web?.placements.length, web?.waiting], [3, []], stdout)
      const deployed = await two.brume('deploy', '-f', HELLO)
      t.is(deployed.code, 0, said(deployed))
    })
  }
)

const [REPOSITORY, TAG] = IMAGE.split(':')

async function name({ dockerSocket }: FleetNode): Promise<void> {
  const path = `/images/${idle.image}/tag?repo=${REPOSITORY}&tag=${TAG}`
  await dockerApi(dockerSocket ?? '', 'POST', path)
}

async function unname({ dockerSocket }: FleetNode): Promise<void> {
  await dockerApi(dockerSocket ?? '', 'DELETE', `/images/${IMAGE}`)
}
