/**
 * What happens in the mesh, as lines for people: read off what changes in the view, so that every node
 * tells the same of what it has seen. The last ones are kept for as long as the daemon runs.
 */
import { EventEmitter } from 'node:events'
import type { Mesh } from '../../core/mesh.ts'
import type { State } from '../../core/state/state.ts'
import type { EventJson } from '../api.ts'
import { nodeName } from './world.ts'

const KEPT = 1_000

export interface EventLog {
  /** Oldest first. */
  readonly all: readonly EventJson[]
  on(event: 'event', listener: (event: EventJson) => void): void
  off(event: 'event', listener: (event: EventJson) => void): void
}

/** Ends with the mesh. */
export function keepEvents(mesh: Mesh, now: () => number = Date.now): EventLog {
  const all: EventJson[] = []
  const emitter = new EventEmitter<{ event: [EventJson] }>()
  // Every waiting CLI listens.
  emitter.setMaxListeners(0)
  let before = mesh.state
  mesh.on('view', () => {
    const at = new Date(now()).toISOString()
    for (const found of changes(before, mesh.state)) {
      const event = { at, ...found }
      all.push(event)
      if (all.length > KEPT) all.shift()
      emitter.emit('event', event)
    }
    before = mesh.state
  })
  return {
    all,
    on: (event, listener) => void emitter.on(event, listener),
    off: (event, listener) => void emitter.off(event, listener)
  }
}

type Change = Omit<EventJson, 'at'>

/** In the order people read: who leads, which nodes there are, what is asked, where it runs. */
export function changes(before: State, after: State): Change[] {
  if (before === after) return []
  return [
    ...leads(before, after),
    ...nodes(before, after),
    ...rollouts(before, after),
    ...placements(before, after)
  ]
}

function leads(before: State, after: State): Change[] {
  const { lease } = after
  if (lease === null || (lease.term === before.lease?.term && lease.node === before.lease.node)) {
    return []
  }
  const name = nodeName(after, lease.node)
  return [{ kind: 'leader', subject: name, text: `${name} leads, term ${lease.term}` }]
}

function nodes(before: State, after: State): Change[] {
  if (before.nodes === after.nodes) return []
  return [...after.nodes.values()].flatMap((node): Change[] => {
    const old = before.nodes.get(node.id)
    if (old === node) return []
    const subject = node.displayName
    const say = (text: string): Change => ({ kind: 'node', subject, text: `${subject} ${text}` })
    const found: Change[] = []
    if (old?.state !== node.state) {
      found.push(
        say(
          { member: 'is a member', pending: 'waits to be let in', removed: 'is removed' }[
            node.state
          ]
        )
      )
    }
    if (old !== undefined && old.lost !== node.lost)
      found.push(say(node.lost ? 'is given up' : 'is back'))
    const mode = node.availability?.mode ?? 'active'
    if (old !== undefined && (old.availability?.mode ?? 'active') !== mode) {
      const reason = node.availability?.reason ?? ''
      const words = {
        active: 'may get replicas again',
        cordoned: 'is cordoned',
        draining: 'is drained'
      }
      found.push(say(`${words[mode]}${reason === '' ? '' : `: ${reason}`}`))
    }
    return found
  })
}

function rollouts(before: State, after: State): Change[] {
  if (before.rollouts === after.rollouts) return []
  return [...after.rollouts].flatMap(([subject, rollout]): Change[] => {
    const old = before.rollouts.get(subject)
    const isNew =
      old?.revision !== rollout.revision || (old.state !== 'running' && rollout.state === 'running')
    if (!isNew && old?.state === rollout.state) return []
    const revision = rollout.revision.slice(0, 8)
    const why = rollout.reason === null ? '' : `: ${rollout.reason}`
    const words = {
      running: `takes revision ${revision}`,
      paused: `stands still on its way to ${revision}${why}`,
      done: `has revision ${revision} everywhere`,
      rolledBack: `goes back from ${revision}${why}`
    }
    return [{ kind: 'rollout', subject, text: `${subject} ${words[rollout.state]}` }]
  })
}

function placements(before: State, after: State): Change[] {
  if (before.placements === after.placements) return []
  const found: Change[] = []
  for (const [subject, placed] of after.placements) {
    const old = before.placements.get(subject)
    if (old?.node === placed.node && old.revision === placed.revision) continue
    const why = placed.reason === undefined || placed.reason === '' ? '' : `: ${placed.reason}`
    const to = nodeName(after, placed.node)
    const text =
      old === undefined
        ? `${subject} is placed on ${to}${why}`
        : old.node === placed.node
          ? `${subject} takes its new revision on ${to}${why}`
          : `${subject} moves from ${nodeName(after, old.node)} to ${to}${why}`
    found.push({ kind: 'placement', subject, text })
  }
  for (const [subject, old] of before.placements) {
    if (after.placements.has(subject)) continue
    const text = `${subject} has no place on ${nodeName(after, old.node)} any more`
    found.push({ kind: 'placement', subject, text })
  }
  return found
}
