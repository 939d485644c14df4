/** The smart grid of the examples, on hosts of their own: meters, an aggregator, and the utility elsewhere. */
import test from 'brittle'
import { fileURLToPath } from 'node:url'
import type { ReplicaJson } from '../../apps/api.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'
import { said, untilRunning } from './look.ts'

const SMART_GRID = fileURLToPath(new URL('../../apps/examples/smart-grid', import.meta.url))

interface Summary {
  from: string
  seq: number
  houses: number
  late: number
}

test(
  'smart grid - the street goes on while the utility is cut off, and all of it comes after',
  { timeout: 120_000 },
  async (t) => {
    const roles = ['house', 'house', 'utility']
    const args = (i: number): string[] => ['--label', `role=${roles[i]}`]
    const { nodes } = await createFleet(t, await createLab(4, t), { args })
    const [house, other, utility] = nodes as [FleetNode, FleetNode, FleetNode]
    const deployed = await house.brume('deploy', '-f', SMART_GRID)
    t.is(deployed.code, 0, said(deployed))
    const replicas = await untilRunning(house, 4)
    const nodesOf = (microservice: string): string[] =>
      replicas.flatMap((each) => (each.microservice === microservice ? [each.node ?? ''] : []))
    t.alike(nodesOf('meter').sort(), ['n1', 'n2'])
    t.alike(nodesOf('utility'), ['n3'])
    const page =
      replicas.find(({ microservice }) => microservice === 'utility')?.ports[0]?.host ?? 0
    const summaries = async (): Promise<Summary[]> =>
      JSON.parse(await utility.get(page, '/api/raw')) as Summary[]
    await waitUntil(async () => (await summaries()).some(({ houses }) => houses === 2), 30_000)

    const [at = ''] = nodesOf('aggregator')
    const street = at === 'n1' ? house : other
    t.is(
      await reaches(street, 'meter', 'utility.office.brume'),
      'ENOTFOUND',
      'no reading has a way there'
    )
    t.is(await reaches(street, 'aggregator', 'utility.office.brume'), null)
    t.is(
      await reaches(utility, 'utility', 'aggregator.street.brume'),
      'ENOTFOUND',
      'nor is one asked for'
    )

    await utility.cut()
    const before = await summaries()
    const log = async (): Promise<string> =>
      (await street.brume('logs', '--tail', '1', 'street/aggregator')).stdout
    await waitUntil(async () => /[4-9] kept for it/.test(await log()), 30_000, 500)
    t.alike(await summaries(), before, 'the utility hears nothing')
    const [, last] = /#(\d+)/.exec(await log()) ?? []
    await utility.heal()

    await waitUntil(async () => ((await summaries()).at(-1)?.seq ?? 0) > Number(last), 30_000)
    const after = await summaries()
    t.is(new Set(after.map(({ from }) => from)).size, 1, 'of one aggregator')
    t.alike(
      after.map(({ seq }) => seq),
      after.map((_, i) => i + 1),
      'in order, none missing, none twice'
    )
    const late = after.filter((one) => one.late > 2_000)
    t.ok(late.filter(({ houses }) => houses === 2).length >= 3, 'some came late, of both houses')
    const now = await house.json<ReplicaJson[]>('ps')
    t.alike(
      now.map(({ node }) => node),
      replicas.map(({ node }) => node),
      'nothing moved'
    )
  }
)

/** Why a container of that microservice does not find the name; null where it does. */
async function reaches(on: FleetNode, microservice: string, name: string): Promise<string | null> {
  const containers = await on.containers()
  const one = containers.find(({ labels }) => labels['brume.microservice'] === microservice)
  if (one === undefined) throw new Error(`${on.name} runs no ${microservice}`)
  const script = `require('dns').lookup('${name}', (error) => console.log(error?.code ?? ''))`
  const run = ['-H', `unix://${on.dockerSocket}`, 'exec', one.id, 'node', '-e', script]
  const { code, stdout, stderr } = await on.host.exec('docker', run)
  if (code !== 0) throw new Error(`asking for ${name} failed: ${stderr}`)
  return stdout.trim() || null
}
