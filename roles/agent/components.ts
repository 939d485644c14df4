/** What the Agent needs from the rest of the daemon. Implemented in `roles/node/` and in tests. */
import type { FactsBody, StatusBody } from '../../core/gossip-records.ts'
import type { Bundle } from '../../core/state/microservices.ts'
import type { OpId } from '../../core/state/records.ts'
import type { SlotRef } from './duty.ts'
import type { Engine, EngineInfo } from './engine.ts'
import type { SavedMemory } from './memory.ts'

export interface AgentLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface AgentComponents {
  /** Node id. */
  self: string
  /**
   * Null where this node runs no containers by choice. Rejects when the engine is dead or its
   * socket forbidden: the Agent comes back with backoff.
   */
  openEngine: () => Promise<Engine | null>
  /** A directory of this machine with the bundle's files. Waits for peers that hold it. */
  filesDir: (bundle: Bundle, signal: AbortSignal) => Promise<string>
  /** Where containers ask for names, once that answers; null where nobody does. */
  resolver: () => Promise<string | null>
  /** What a process of it is told of what it may reach: variables. It is reached there from then on. */
  serviceEnv: (ref: SlotRef) => Promise<Record<string, string>>
  /** These containers are to end: resolves once nobody is sent to them and their flows are over. */
  drained: (ids: readonly string[]) => Promise<void>
  /**
   * Asks `node` whether it runs the slot healthily under that placement. Settles within seconds;
   * rejects where the node cannot be asked, which counts as no.
   */
  asksRuns: (node: string, slotKey: string, placement: OpId) => Promise<boolean>
  /** What nodes said last of their containers, by node id. */
  readStatus: () => ReadonlyMap<string, StatusBody>
  /** Called on change only. */
  publishStatus: (body: StatusBody) => void
  /** Called on change only; `info` is null while there is no engine. */
  reportEngine: (engine: FactsBody['engine'], info: EngineInfo | null) => void
  /** The engine told that images came or went. */
  reportImages: () => void
  store: {
    load(): Promise<SavedMemory | null>
    save(memory: SavedMemory): Promise<void>
  }
  /** Boot ms: what every duration is counted in. */
  now: () => number
  /** Names this boot of the machine. */
  boot: string
  /** Wall ms, for people. */
  wallNow: () => number
  /** In [0, 1). */
  random: () => number
  log: AgentLog
}
