/** What the Controller gets from the rest of the daemon. */
import { addAbortSignal } from 'node:stream'
import { bootNow } from '../../core/clock.ts'
import { sentenceOf } from '../../core/errors.ts'
import type { FactsBody, HoldsBody, LinksBody } from '../../core/gossip-records.ts'
import { linesOf } from '../../core/lines.ts'
import type { Mesh } from '../../core/mesh.ts'
import type { Op } from '../../core/state/index.ts'
import { MAX_REASON } from '../../core/state/placements.ts'
import { MAX_LINE, MAX_LOG_LINES } from '../../core/state/rollout-ops.ts'
import type { LogLine } from '../agent/engine.ts'
import type { AgentActor } from '../agent/machine.ts'
import { STABLE_MS } from '../controller/indexers.ts'
import type { ControllerComponents, ControllerWorld } from '../controller/machine.ts'
import type { NodeComponents } from '../node.ts'
import { logsOf } from './logs.ts'
import { worldOf } from './world.ts'

/** How long a failed replica's log is waited for. */
const LAST_LINES_MS = 2_000

export function controllerComponents(
  { mesh, log, stableMs }: NodeComponents,
  agent: () => AgentActor | undefined
): ControllerComponents {
  return {
    readWorld: () => controllerWorld(mesh, stableMs),
    async appendPlan(plan, term) {
      const at = Date.now()
      const ops: Op[] = [
        ...plan.rm.map(({ application, microservice, slot }) => ({
          type: 'placement.rm' as const,
          application,
          microservice,
          slot,
          term,
          at
        })),
        ...plan.set.map(({ application, microservice, slot, node, revision, moved, reason }) => ({
          type: 'placement.set' as const,
          application,
          microservice,
          slot,
          node,
          revision,
          ...(moved && { moved }),
          reason: reason.slice(0, MAX_REASON),
          term,
          at
        }))
      ]
      for (const { reason, ...slot } of [...plan.rm, ...plan.set]) log.info(slot, reason)
      if (plan.indexer !== null) {
        const { node, indexer, reason } = plan.indexer
        log.info({ node, indexer }, reason)
        ops.push({ type: 'indexer.set', node, indexer, term, at })
      }
      for (const { failed, ...end } of plan.ends) {
        const about = { application: end.application, microservice: end.microservice }
        log.info(about, `rollout ${end.outcome}${end.reason === '' ? '' : `: ${end.reason}`}`)
        const lines = failed === null ? [] : await lastLines({ mesh, log }, agent, failed)
        ops.push({ type: 'rollout.end', ...end, log: lines, term, at })
      }
      await mesh.append(ops)
    },
    async claimLease(term) {
      await mesh.append([{ type: 'lease.claim', term, at: Date.now() }])
    },
    reportPlan(waiting) {
      for (const { reason, ...slot } of waiting) log.info(slot, `waits: ${reason}`)
    },
    reportFailure(error, retryInMs) {
      log.warn({ error: sentenceOf(error), retryInMs }, 'an append of the Controller failed')
    },
    now: bootNow,
    random: Math.random
  }
}

/** What a replica said last; nothing where its node does not tell in time. */
async function lastLines(
  { mesh, log }: Pick<NodeComponents, 'mesh' | 'log'>,
  agent: () => AgentActor | undefined,
  { slot, node }: { slot: string; node: string }
): Promise<string[]> {
  const options = { follow: false, tail: MAX_LOG_LINES }
  const signal = AbortSignal.timeout(LAST_LINES_MS)
  try {
    const stream =
      node === mesh.self
        ? await logsOf(agent(), slot, options)
        : await mesh.channel.open(node, 'logs', { slot, ...options }, signal)
    const found: string[] = []
    addAbortSignal(signal, stream)
    for await (const text of linesOf(stream)) {
      found.push((JSON.parse(text) as LogLine).line.slice(0, MAX_LINE))
    }
    return found.slice(-MAX_LOG_LINES)
  } catch (error) {
    log.debug({ slot, error: sentenceOf(error) }, 'the log of what failed could not be read')
    return []
  }
}

export function controllerWorld(mesh: Mesh, stableMs = STABLE_MS): ControllerWorld {
  const world = worldOf(mesh)
  const facts = new Map<string, FactsBody>()
  for (const [id, { body }] of mesh.gossip.all('facts')) facts.set(id, body)
  const holds = new Map<string, HoldsBody>()
  for (const [id, { body }] of mesh.gossip.all('holds')) holds.set(id, body)
  const uptimeRank = new Map<string, number>()
  for (const [id, { body }] of mesh.gossip.all('links')) {
    uptimeRank.set(id, (body satisfies LinksBody).uptimeRank)
  }
  return {
    self: mesh.self,
    state: mesh.state,
    ...world,
    silentMs: mesh.silent(world.alive),
    facts,
    holds,
    uptimeRank,
    settledMs: mesh.settledMs,
    aliveMs: mesh.aliveMs(),
    merging: mesh.oplog.merging,
    stableMs
  }
}

/** The same, had this node these bundles too. */
export function holding(world: ControllerWorld, bundles: readonly string[]): ControllerWorld {
  const digests = [...(world.holds.get(world.self)?.digests ?? []), ...bundles]
  return { ...world, holds: new Map([...world.holds, [world.self, { digests }]]) }
}
