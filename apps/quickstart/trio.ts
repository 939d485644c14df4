/** Three nodes on this machine, and everything that was started for them: one place to end it all. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrumeError } from '../../core/errors.ts'
import { startBootstrapNode } from '../../core/swarm.ts'
import type { Owner } from '../../roles/agent/engine.ts'
import { forgetNames } from '../../roles/connector/name-service.ts'
import { leaveRange } from '../../roles/connector/packet-rules.ts'
import type { InitResult } from '../api.ts'
import { isAlive } from '../cli/background.ts'
import { createClient, type Client } from '../client.ts'
import { openEngine } from '../daemon/engines.ts'
import { ask } from './cli.ts'
import type { EngineKind } from './engine.ts'

export const HOUSES = ['house-1', 'house-2'] as const
export const UTILITY = 'utility'
export const NAMES = [...HOUSES, UTILITY] as const
export type NodeName = (typeof NAMES)[number]

export interface Trio {
  /** HOST:PORT of the DHT these three meet in. */
  readonly bootstrap: string
  /** Where the mesh key lies for those who join. */
  readonly keyFile: string
  dirOf(name: NodeName): string
  clientOf(name: NodeName): Client
  /** `init` for the first, `join` for the others: what the CLI is given, and its answer. */
  enter(name: NodeName, args: string[]): Promise<InitResult>
  saveKey(key: string): Promise<void>
  /** As when somebody pulls the plug: the daemon and all it runs are gone, the disk is not. */
  powerOff(name: NodeName): Promise<void>
  /** As when the line to it is cut: nobody hears of it, and it of nobody. What it runs goes on. */
  cutOff(name: NodeName): Promise<void>
  /** Undoes `cutOff`. */
  reconnect(name: NodeName): void
  /** Leaves nothing: daemons, containers, processes, files. */
  end(): Promise<void>
}

/** How long what was asked of Docker before its daemon died may still come true. */
const LATE_MS = 250
const GONE_MS = 10_000

export async function openTrio(engine: EngineKind, signal: AbortSignal): Promise<Trio> {
  const root = await mkdtemp(join(tmpdir(), 'brume-'))
  const dht = await startBootstrapNode('127.0.0.1').catch(async (error: unknown) => {
    await rm(root, { recursive: true })
    throw error
  })
  const owners = new Map<NodeName, Owner>()
  /** Daemons that were stopped, which answer nothing, not even who they are. */
  const stopped = new Map<NodeName, number>()
  const dirOf = (name: NodeName): string => join(root, name)
  const clientOf = (name: NodeName): Client => createClient(dirOf(name))

  const powerOff = async (name: NodeName): Promise<void> => {
    const pid = stopped.get(name) ?? (await clientOf(name).hello())?.pid
    if (pid !== undefined) await kill(pid)
    stopped.delete(name)
    const owner = owners.get(name)
    if (owner !== undefined) await removeContainers(engine, owner, dirOf(name))
  }

  return {
    bootstrap: dht.address,
    keyFile: join(root, 'key'),
    dirOf,
    clientOf,
    async enter(name, args) {
      const result = await ask<InitResult>(args, { signal, finishes: true })
      owners.set(name, { mesh: result.mesh, node: result.id })
      return result
    },
    saveKey: (key) => writeFile(join(root, 'key'), `${key}\n`, { mode: 0o600 }),
    powerOff,
    async cutOff(name) {
      const daemon = await clientOf(name).hello()
      if (daemon === null) throw new BrumeError('QUICKSTART_FAILED', `${name} has no daemon`)
      stopped.set(name, daemon.pid)
      process.kill(daemon.pid, 'SIGSTOP')
    },
    reconnect(name) {
      const pid = stopped.get(name)
      if (pid !== undefined) process.kill(pid, 'SIGCONT')
      stopped.delete(name)
    },
    async end() {
      const left: PromiseSettledResult<void>[] = await Promise.allSettled(NAMES.map(powerOff))
      const names = engine === 'docker' ? [leaveNames(NAMES.map(dirOf))] : []
      left.push(...(await Promise.allSettled(names)))
      await dht.close()
      const failed = left.find((outcome) => outcome.status === 'rejected')
      // What could not be ended is known by its files only: they stay.
      if (failed) throw failed.reason
      await rm(root, { recursive: true, force: true })
    }
  }
}

async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  const until = performance.now() + GONE_MS
  while (isAlive(pid)) {
    if (performance.now() > until) {
      throw new BrumeError('QUICKSTART_FAILED', `daemon ${pid} does not end`, {
        next: `kill -9 ${pid}`
      })
    }
    await sleep(20)
  }
}

/** What their daemons set on this machine; one that was killed early has said so nowhere yet. */
async function leaveNames(dirs: string[]): Promise<void> {
  for (const dir of dirs) await forgetNames(dir)
  await leaveRange()
}

/** Opens the engine as that node would, and so sees what is its own and nothing else. */
async function removeContainers(kind: EngineKind, owner: Owner, dir: string): Promise<void> {
  const engine = await openEngine(kind, owner, dir)
  if (engine === null) return
  try {
    for (let emptyLooks = 0; emptyLooks < 2;) {
      const containers = await engine.list()
      await Promise.all(containers.map(({ id }) => engine.remove(id)))
      emptyLooks = containers.length === 0 ? emptyLooks + 1 : 0
      await sleep(LATE_MS)
    }
    await engine.clear()
  } finally {
    await engine.close()
  }
}
