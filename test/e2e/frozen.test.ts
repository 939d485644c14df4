import test from 'brittle'
import type { NodeJson } from '../../apps/api.ts'
import { createClient } from '../../apps/client.ts'
import { createFleet, type FleetNode } from '../helpers/fleet.ts'
import { createLab } from '../helpers/lab.ts'
import { waitUntil } from '../helpers/wait.ts'

test('frozen - a daemon that was stopped is missed, and blames nobody when it goes on', async (t) => {
  t.timeout(240_000)
  const lab = await createLab(4, t)
  const { nodes } = await createFleet(t, lab, { engines: false })
  const [one, two, three] = nodes as [FleetNode, FleetNode, FleetNode]
  const others = [two, three]
  const pid = await one.pid()

  process.kill(pid, 'SIGSTOP')
  for (const node of others) {
    await waitUntil(async () => (await stateOf(node, 'n1')) !== 'alive', 30_000)
    t.is(await stateOf(node, node === two ? 'n3' : 'n2'), 'alive', 'the others see each other')
  }
  for (const node of others)
    await waitUntil(async () => (await stateOf(node, 'n1')) === 'lost', 30_000)

  process.kill(pid, 'SIGCONT')
  const seen = new Set<string>()
  const together = async (): Promise<boolean> => {
    const states = await Promise.all(['n2', 'n3'].map((name) => stateOf(one, name)))
    for (const state of states) seen.add(state ?? 'unknown')
    const back = await Promise.all(others.map((node) => stateOf(node, 'n1')))
    return [...states, ...back].every((state) => state === 'alive')
  }
  await waitUntil(together, 60_000)
  t.absent(seen.has('lost'), `it saw the others ${[...seen].join(', ')}`)
})

async function stateOf(node: FleetNode, name: string): Promise<NodeJson['state'] | undefined> {
  const nodes = await createClient(node.dataDir).get<NodeJson[]>('/nodes')
  return nodes.find((each) => each.name === name)?.state
}
