/** Reads: `ps`, `describe`, references, and the watch a waiting CLI follows. */
import { BrumeError } from '../../../core/errors.ts'
import type { DescribeJson, EventJson, RefJson, ReplicaJson, WatchedReplica } from '../../api.ts'
import type { Daemon, Member } from '../daemon.ts'
import { matches, resolve } from '../references.ts'
import { replicas, toReplicaJson } from '../replicas.ts'
import { rollouts } from '../rollouts.ts'
import type { Route, ServerEvent } from '../socket.ts'
import { replicaWorld, revOf } from '../world.ts'

/** News are gathered for so long before a watch says what they make. */
const GATHER_MS = 30

export const replicaRoutes = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/replicas',
    async handle({ query }): Promise<ReplicaJson[]> {
      const member = daemon.member()
      return select(member, query.get('ref')).map(toReplicaJson)
    }
  },
  {
    method: 'GET',
    path: '/resolve',
    handle: async ({ query }): Promise<RefJson> =>
      resolve(daemon.member().mesh.state, mustHave(query, 'ref'))
  },
  {
    method: 'GET',
    path: '/describe',
    async handle({ query }): Promise<DescribeJson> {
      const member = daemon.member()
      const { state } = member.mesh
      const ref = resolve(state, mustHave(query, 'ref'))
      const key = `${ref.application}/${ref.microservice}`
      if (!state.microservices.has(key) && state.services.has(key)) {
        throw new BrumeError('NO_MICROSERVICE', `${key} is a service outside: no node runs it`, {
          next: `brume services ${key}`
        })
      }
      const rows = replicas(replicaWorld(member)).filter((row) => matches(ref, row))
      const records = [...state.microservices.values()].filter((record) =>
        matches({ ...ref, slot: null }, { ...record, microservice: record.name, slot: 0 })
      )
      return {
        application: ref.application,
        rev: revOf(state, ref.application) ?? '',
        microservices: records.map((record) => ({
          name: record.name,
          revision: record.revision,
          spec: record.spec,
          setBy: state.nodes.get(record.by)?.displayName ?? record.by,
          setAt: new Date(record.at).toISOString(),
          replicas: rows.filter((row) => row.microservice === record.name).map(toReplicaJson)
        }))
      }
    }
  },
  {
    method: 'GET',
    path: '/watch',
    async handle({ query, signal }) {
      const member = daemon.member()
      return { events: watch(member, mustHave(query, 'application'), signal) }
    }
  }
]

function select(member: Member, ref: string | null): WatchedReplica[] {
  const rows = replicas(replicaWorld(member))
  if (ref === null) return rows
  // What is being removed has copies a while longer than it has a record.
  const leftover = rows.filter((row) => row.application === ref)
  if (leftover.length > 0) return leftover
  const resolved = resolve(member.mesh.state, ref)
  return rows.filter((row) => matches(resolved, row))
}

type Row = { application: string }

async function* watch(
  member: Member,
  application: string,
  signal: AbortSignal
): AsyncGenerator<ServerEvent, void> {
  const { mesh } = member
  let news = true
  let wake: () => void = () => {}
  const note = (): void => {
    news = true
    wake()
  }
  const happened: EventJson[] = []
  const noteEvent = (event: EventJson): void => {
    if (!event.subject.startsWith(`${application}/`)) return
    happened.push(event)
    note()
  }
  member.events.on('event', noteEvent)
  const events = ['view', 'gossip', 'peers'] as const
  for (const event of events) mesh.on(event, note)
  signal.addEventListener('abort', note)
  try {
    const last = { rollouts: '', replicas: '' }
    while (!signal.aborted) {
      news = false
      const world = replicaWorld(member)
      if (happened.length > 0) yield { event: 'events', data: happened.splice(0) }
      // In this order: what became of a rollout explains what is wanted now.
      const looks = { rollouts: rollouts(world), replicas: replicas(world) }
      for (const [event, all] of Object.entries(looks) as [keyof typeof looks, Row[]][]) {
        const rows = all.filter((row) => row.application === application)
        const seen = JSON.stringify(rows)
        if (seen !== last[event]) yield { event, data: rows }
        last[event] = seen
      }
      if (!news) await new Promise<void>((resolve) => (wake = resolve))
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS))
    }
  } finally {
    member.events.off('event', noteEvent)
    for (const event of events) mesh.off(event, note)
    signal.removeEventListener('abort', note)
  }
}

function mustHave(query: URLSearchParams, name: string): string {
  const value = query.get(name)
  if (value !== null && value !== '') return value
  throw new BrumeError('BAD_REQUEST', `the query parameter "${name}" is missing`)
}
