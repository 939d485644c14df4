/** What the Agent gets from the rest of the daemon, and what others see of its containers. */
import { join } from 'node:path'
import { bootNow } from '../../core/clock.ts'
import { readIfThere, writeWhole } from '../../core/files.ts'
import type { Mesh } from '../../core/mesh.ts'
import { slotKey } from '../../core/state/state.ts'
import type { AgentComponents } from '../agent/components.ts'
import type { SlotRef } from '../agent/duty.ts'
import type { Engine, EngineContainer, EngineVolume } from '../agent/engine.ts'
import type { AgentActor } from '../agent/machine.ts'
import type { SavedMemory } from '../agent/memory.ts'
import type { NodeComponents } from '../node.ts'
import type { Facts } from './facts.ts'
import { statusOf } from './world.ts'

/** A container is asked to end for so long. */
const CLEAR_GRACE_MS = 10_000

export interface Cleared {
  /** What ran, as APP/MICROSERVICE/SLOT. */
  containers: string[]
  /** Those that stay. */
  volumes: EngineVolume[]
}

/** By an engine of its own: the Agent's may be in the middle of a step. */
export async function clearEngine(openEngine: () => Promise<Engine | null>): Promise<Cleared> {
  const engine = await openEngine()
  if (engine === null) return { containers: [], volumes: [] }
  try {
    const containers = await engine.list()
    await Promise.all(
      containers.map(async ({ id }) => {
        await engine.stop(id, CLEAR_GRACE_MS)
        await engine.remove(id)
      })
    )
    await engine.clear()
    return { containers: containers.map(slotKey).sort(), volumes: await engine.volumes() }
  } finally {
    await engine.close()
  }
}

/** Every node that may run a microservice gets its files beforehand: their author may die. */
export function prefetch(mesh: Mesh): void {
  const own = mesh.gossip.get(mesh.self, 'facts')?.body.engine.kind ?? 'none'
  if (own === 'none') return
  for (const { spec } of mesh.state.microservices.values()) {
    if (spec.files === null || mesh.bundles.held.has(spec.files.digest)) continue
    mesh.bundles.fetch(spec.files).catch((error: unknown) => mesh.bundles.report(error))
  }
}

export function agentComponents(
  { mesh, dir, openEngine, log }: NodeComponents,
  facts: Pick<Facts, 'noteEngine' | 'noteOpened' | 'noteImages'>,
  connector: Pick<AgentComponents, 'resolver' | 'serviceEnv' | 'drained'>
): AgentComponents {
  const memoryPath = join(dir, 'agent.json')
  return {
    self: mesh.self,
    async openEngine() {
      const engine = await openEngine()
      facts.noteOpened(engine)
      return engine
    },
    filesDir: (bundle, signal) => mesh.bundles.unpacked(bundle, signal),
    ...connector,
    asksRuns: (node, slot, placement) =>
      mesh.channel.ask<boolean>(node, 'runs', { slot, placement }),
    readStatus: () => statusOf(mesh),
    publishStatus: (body) => mesh.gossip.publish('status', body),
    reportEngine(engine, info) {
      facts.noteEngine(engine, info)
      prefetch(mesh)
    },
    reportImages: facts.noteImages,
    store: {
      async load() {
        const bytes = await readIfThere(memoryPath)
        return bytes === null ? null : (JSON.parse(bytes.toString()) as SavedMemory)
      },
      save: (memory) => writeWhole(memoryPath, JSON.stringify(memory))
    },
    now: bootNow,
    boot: mesh.boot,
    wallNow: Date.now,
    random: Math.random,
    log
  }
}

export const hasAddresses = (agent: AgentActor | undefined): boolean =>
  agent?.getSnapshot().context.containers?.some(({ address }) => address !== null) ?? false

/** What has a process here, or is to have one; null while nobody knows. */
export function processesOf(agent: AgentActor | undefined): SlotRef[] | null {
  const context = agent?.getSnapshot().context
  if (!context?.engine || !context.containers) return null
  if (context.engine.kind !== 'process') return []
  return [...context.memory.slots.values(), ...context.containers]
}

export const runningOn = (agent: AgentActor | undefined): EngineContainer[] =>
  agent?.getSnapshot().context.containers?.filter(({ state }) => state === 'running') ?? []
