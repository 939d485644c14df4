/** Who belongs to the mesh, and what each may do. */
import type { NodeField, NodeRecord } from '../../../../core/state/state.ts'
import { at, ZONES, type Operation } from './operation.ts'

export const nodes: Operation[] = [
  {
    name: 'label',
    weight: 2,
    act(world, host, random) {
      const node = random.pick([...host.mesh.state.nodes.values()])
      const labels: Record<string, string> = random.chance(0.7) ? { zone: random.pick(ZONES) } : {}
      world.administer(host, `label ${node.name} ${JSON.stringify(labels)}`, [
        { type: 'node.set', node: node.id, labels, ...seen(node, 'labels'), at: at() }
      ])
      return true
    }
  },
  {
    name: 'role',
    weight: 1,
    act(world, host, random) {
      const node = random.pick([...host.mesh.state.nodes.values()])
      const role = random.pick(['admin', 'admin', 'operator', 'node'] as const)
      const controller = random.chance(0.8)
      world.administer(host, `${node.name} is ${role}${controller ? ', may lead' : ''}`, [
        {
          type: 'node.set',
          node: node.id,
          role,
          controller,
          ...seen(node, 'role', 'controller'),
          at: at()
        }
      ])
      return true
    }
  },
  {
    name: 'lost',
    weight: 1,
    act(world, host, random) {
      const { mesh } = host
      const alive = mesh.alive()
      const silent = [...mesh.state.nodes.values()].filter(
        ({ id, state, lost }) => state === 'member' && !lost && !alive.has(id)
      )
      if (silent.length === 0) return false
      const node = random.pick(silent)
      world.administer(host, `${node.name} is lost`, [
        { type: 'node.set', node: node.id, lost: true, ...seen(node, 'lost'), at: at() }
      ])
      return true
    }
  },
  {
    name: 'approve',
    weight: 3,
    act(world, host, random) {
      const pending = [...host.mesh.state.nodes.values()].filter((n) => n.state === 'pending')
      if (pending.length === 0) return false
      const { id, name, op } = random.pick(pending)
      world.administer(host, `approve ${name}`, [
        { type: 'node.approve', node: id, over: op, at: at() }
      ])
      return true
    }
  },
  {
    name: 'rm node',
    weight: 1,
    act(world, host, random) {
      const { mesh } = host
      if (mesh.me?.role !== 'admin') return false
      const others = [...mesh.state.nodes.values()].filter(
        ({ id, state }) => id !== host.id && state === 'member'
      )
      // Two at the least are left on every side.
      if (others.length < 3) return false
      const { id, name } = random.pick(others)
      const keepKey = random.chance(0.3)
      const ops = host.as(() => mesh.removal(id, keepKey))
      world.administer(host, `rm node ${name}${keepKey ? ', keeping the key' : ''}`, ops)
      return true
    }
  },
  {
    name: 'leave',
    weight: 1,
    act(world, host) {
      const members = [...host.mesh.state.nodes.values()].filter(({ state }) => state === 'member')
      if (members.length < 4 || host.leaving) return false
      world.leave(host, false)
      return true
    }
  }
]

/** Without rivals: who sets a node here has not looked at conflicts. */
function seen(
  { edits }: NodeRecord,
  ...fields: NodeField[]
): { over: string | null; beside: string[] } {
  const [over = null, ...beside] = fields.flatMap((field) => edits[field]?.op ?? [])
  return { over, beside }
}
