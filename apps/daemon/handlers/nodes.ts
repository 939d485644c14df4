import type { Mesh } from '../../../core/mesh.ts'
import { LABEL_KEY, NAME } from '../../../core/state/names.ts'
import { keys } from '../../../core/state/keys.ts'
import { availability as availabilityShape } from '../../../core/state/nodes.ts'
import { ROLES, type DroppedRecord, type NodeRecord } from '../../../core/state/state.ts'
import { BrumeError } from '../../../core/errors.ts'
import { LOST_AFTER_MS } from '../../../roles/node.ts'
import type { DroppedJson, NodeChange, NodeJson, NodeRemoved, NodeResult } from '../../api.ts'
import type { Daemon } from '../daemon.ts'
import { resolveNode } from '../references.ts'
import { nodeSet } from '../seen.ts'
import type { Route } from '../socket.ts'
import { mustBeAdmin, mustKnowFormat, mustOperate, offlineNodes } from '../world.ts'

export const nodes = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/nodes',
    async handle(): Promise<NodeJson[]> {
      const { mesh } = daemon.member()
      return [...mesh.state.nodes.values()].map(nodeJson(mesh))
    }
  },
  {
    method: 'POST',
    path: '/nodes/:node',
    async handle(request): Promise<NodeResult> {
      const { mesh } = daemon.member()
      mustOperate(mesh)
      const change = checked(await request.json<NodeChange>())
      if (change.role !== undefined) mustBeAdmin(mesh)
      if (change.availability !== undefined) mustKnowFormat(mesh, 'cordoning or draining')
      const node = resolveNode(mesh.state, request.params['node'] ?? '')
      mustBeMember(node)
      if (change.name !== undefined) mustBeFree(mesh, change.name, node)
      const { labels, ...fields } = change
      const next = labels === undefined ? {} : { labels: relabelled(node, labels) }
      await mesh.append([await nodeSet(mesh, node, { ...fields, ...next })])
      return result(mesh, node.id)
    }
  },
  {
    method: 'POST',
    path: '/nodes/:node/approve',
    async handle({ params }): Promise<NodeResult> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const node = resolveNode(mesh.state, params['node'] ?? '')
      if (node.state !== 'pending') {
        throw new BrumeError('NOT_PENDING', `${node.displayName} does not wait to be let in`, {
          next: 'brume nodes'
        })
      }
      const over = node.op
      await mesh.append([{ type: 'node.approve', node: node.id, over, at: Date.now() }])
      return result(mesh, node.id)
    }
  },
  {
    method: 'DELETE',
    path: '/nodes/:node',
    async handle({ params, query }): Promise<NodeRemoved> {
      const { mesh } = daemon.member()
      mustBeAdmin(mesh)
      const node = resolveNode(mesh.state, params['node'] ?? '')
      if (node.id === mesh.self) {
        throw new BrumeError('ITSELF', 'a node does not remove itself', { next: 'brume leave' })
      }
      if (node.state === 'removed') {
        throw new BrumeError('NODE_REMOVED', `${node.displayName} is removed already`)
      }
      const keepKey = query.get('keep-key') === '1'
      await mesh.append(mesh.removal(node.id, keepKey))
      return { ...result(mesh, node.id), key: keepKey ? null : await mesh.keyRing.show() }
    }
  },
  {
    method: 'GET',
    path: '/dropped',
    async handle({ query }): Promise<DroppedJson[]> {
      const { mesh } = daemon.member()
      const { state } = mesh
      const asked = query.get('node')
      const of = asked === null ? [...state.dropped.keys()] : [resolveNode(state, asked).id]
      const found = await Promise.all(
        of.map((id) => mesh.oplog.list<DroppedRecord>(keys.droppedOf(id)))
      )
      return found.flat().map(({ node, op, type, at }) => ({
        node: state.nodes.get(node)?.displayName ?? node,
        op,
        type,
        at: new Date(at).toISOString()
      }))
    }
  }
]

function result(mesh: Mesh, id: string): NodeResult {
  const record = mesh.state.nodes.get(id)
  if (record === undefined) throw new BrumeError('UNKNOWN_NODE', 'the node is gone meanwhile')
  return { node: nodeJson(mesh)(record), offline: offlineNodes(mesh) }
}

/** Who is alive is asked once for all rows. */
function nodeJson(mesh: Mesh): (record: NodeRecord) => NodeJson {
  const alive = mesh.alive()
  const silent = mesh.silent(alive)
  const heard = mesh.lastHeardMs()
  return (record) => {
    const facts = mesh.gossip.get(record.id, 'facts')?.body ?? null
    return {
      name: record.displayName,
      id: record.id,
      role: record.role,
      labels: record.labels,
      engine: facts?.engine.kind ?? null,
      state: stateOf(record, alive.has(record.id), silent.get(record.id) ?? Infinity),
      version: facts?.version ?? null,
      lastHeardMs: record.id === mesh.self ? 0 : (heard.get(record.id) ?? null),
      controller: record.controller,
      availability: record.availability ?? { mode: 'active', reason: '', deadlineMs: null },
      dropped: mesh.state.dropped.get(record.id) ?? 0,
      names: facts?.names ?? null
    }
  }
}

/** The CLI has checked it; other clients of the socket may not have. */
function checked(change: NodeChange): NodeChange {
  const bad = (message: string): BrumeError => new BrumeError('BAD_REQUEST', message)
  const { name, labels, role, controller, lost, availability } = change ?? {}
  if (name !== undefined && !NAME.test(String(name))) throw bad(`"${name}" is no name of a node`)
  if (role !== undefined && !ROLES.includes(role)) throw bad(`"${String(role)}" is no role`)
  for (const [key, value] of Object.entries(labels?.set ?? {})) {
    if (!LABEL_KEY.test(key) || typeof value !== 'string' || value.length > 256) {
      throw bad(`"${key}" is no label`)
    }
  }
  if (availability !== undefined && !availabilityShape.check(availability)) {
    throw bad('`availability` is not what this version expects')
  }
  const flags = {
    ...(controller !== undefined && { controller }),
    ...(lost !== undefined && { lost })
  }
  if (Object.values(flags).some((v) => typeof v !== 'boolean')) throw bad('expected true or false')
  return {
    ...(name !== undefined && { name }),
    ...(labels !== undefined && { labels }),
    ...(role !== undefined && { role }),
    ...(availability !== undefined && { availability }),
    ...flags
  }
}

function relabelled(
  { labels }: NodeRecord,
  { set = {}, remove = [] }: Partial<NonNullable<NodeChange['labels']>>
): Record<string, string> {
  const kept = Object.entries(labels).filter(([key]) => !remove.includes(key))
  return { ...Object.fromEntries(kept), ...set }
}

function mustBeMember({ state, displayName }: NodeRecord): void {
  if (state === 'member') return
  throw new BrumeError('NODE_REMOVED', `${displayName} is ${state}, not a member`, {
    next: state === 'pending' ? `brume node approve ${displayName}` : 'brume nodes'
  })
}

function mustBeFree({ state }: Mesh, name: string, { id }: NodeRecord): void {
  const other = [...state.nodes.values()].find((n) => n.name === name && n.state !== 'removed')
  if (other === undefined || other.id === id) return
  throw new BrumeError('NAME_TAKEN', `a node is called "${name}" already`, { next: 'brume nodes' })
}

function stateOf(record: NodeRecord, alive: boolean, silentMs: number): NodeJson['state'] {
  if (record.state !== 'member') return record.state
  if (alive) return 'alive'
  if (record.lost) return 'lost'
  return silentMs < LOST_AFTER_MS ? 'silent' : 'lost'
}
