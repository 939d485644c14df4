/** What happened, and why things are where they are. */
import { BrumeError } from '../../../core/errors.ts'
import type { EventJson, ExplainJson } from '../../api.ts'
import type { Daemon, Member } from '../daemon.ts'
import { resolve } from '../references.ts'
import { replicas } from '../replicas.ts'
import type { Route } from '../socket.ts'
import { nodeName, replicaWorld } from '../world.ts'

export const explain = (daemon: Daemon): Route[] => [
  {
    method: 'GET',
    path: '/explain',
    async handle({ query }): Promise<ExplainJson[]> {
      const member = daemon.member()
      const { state } = member.mesh
      const { application, microservice } = resolve(state, query.get('ref') ?? '')
      const names = [...state.microservices.values()]
        .filter((m) => m.application === application && [null, m.name].includes(microservice))
        .map(({ name }) => name)
      return names.map((name) => explained(member, application, name))
    }
  },
  {
    method: 'GET',
    path: '/events',
    async handle({ query, signal }) {
      const { events } = daemon.member()
      const tail = Number(query.get('tail') ?? 50)
      if (!Number.isSafeInteger(tail) || tail < 0) {
        throw new BrumeError('BAD_REQUEST', `tail: expected a number, got "${query.get('tail')}"`)
      }
      return { lines: lines(events, tail, query.get('follow') === '1', signal) }
    }
  }
]

function explained(member: Member, application: string, microservice: string): ExplainJson {
  const { mesh, node } = member
  const { state } = mesh
  const rows = replicas(replicaWorld(member)).filter(
    (r) => r.application === application && r.microservice === microservice
  )
  return {
    application,
    microservice,
    replicas: rows.map(({ slot, node: on, state: is, reason, wanted }) => ({
      slot,
      node: on,
      state: is,
      placed:
        wanted === null
          ? null
          : (state.placements.get(`${application}/${microservice}/${slot}`)?.reason ?? null),
      reason
    })),
    nodes: (node.verdicts(`${application}/${microservice}`) ?? []).map((verdict) => ({
      node: nodeName(state, verdict.node),
      replicas: verdict.replicas,
      refusal: verdict.refusal
    }))
  }
}

/** What comes faster than it is read waits, up to so many; then the oldest go. */
const MAX_WAITING = 1_000

async function* lines(
  events: Member['events'],
  tail: number,
  follow: boolean,
  signal: AbortSignal
): AsyncGenerator<EventJson, void> {
  const waiting = tail === 0 ? [] : events.all.slice(-tail)
  let wake = (): void => {}
  const note = (event: EventJson): void => {
    waiting.push(event)
    if (waiting.length > MAX_WAITING) waiting.shift()
    wake()
  }
  const end = (): void => wake()
  if (follow) events.on('event', note)
  signal.addEventListener('abort', end)
  try {
    for (;;) {
      for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) yield event
      if (!follow || signal.aborted) return
      await new Promise<void>((resolve) => (wake = resolve))
    }
  } finally {
    events.off('event', note)
    signal.removeEventListener('abort', end)
  }
}
